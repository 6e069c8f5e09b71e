"""From a picture to the network's input: the one preprocessing of training, calibration and board.

Bit for bit the same on every machine: the resize is exact integer arithmetic with one rounding, the
standardisation takes exact integer sums and then one correctly rounded square root and division in
float64. Only the decoding of a lossy file (JPEG) is left to OpenCV. Python 2.7 and 3.5+.

A preprocessing specification is a JSON object that travels in the model's manifest::

    {"id": "gray32-stretch-standardize-v1", "height": 32, "width": 32, "channels": 1,
     "fit": "stretch", "normalize": "standardize", "clip": [-4.0, 3.96875]}

=============  ========================================================================
fit            stretch: the whole picture, aspect given up; pad: to the aspect of the
               network with the mean of the border; crop: centre, to that aspect
transpose      optional; true: the network takes the picture with its columns as rows
normalize      standardize: (v - mean) / standard deviation of the picture, a constant
               picture gives zeros; unit: v / 256; symmetric: (v - 127.5) / 128;
               affine: (v - mean) * scale, one number or one a channel
channels       1: gray; 3: colour, in the order "rgb" (default) or "bgr"; each channel is
               scaled and, where it is, standardised by itself
gray           optional, of colour networks; true: give them gray pictures
clip           [low, high] of the result, or null. -4 .. 127/32 is the range of an int8
               at position 5, so the quantizer's range rule wastes nothing
=============  ========================================================================
"""
from __future__ import division, print_function

import numbers

import numpy as np

from dpuedge.errors import ImageError
from dpuedge.fixed import exact_matmul, shift_round, shift_up
from dpuedge.gray import (  # noqa: F401 - part of this module's interface
    bytes_of,
    decode_gray,
    read_colour,
    read_gray,
    to_colour,
    to_gray,
)

FITS = ("stretch", "pad", "crop")
NORMALIZATIONS = ("standardize", "unit", "symmetric", "affine")
ORDERS = ("rgb", "bgr")
MAX_SIDE = 1 << 14  # of a picture: keeps every sum of the resize exact
MAX_INPUT_SIDE = 1 << 10  # of the network's input: keeps every sum of the standardisation within int64
_WEIGHT_BITS = 14
_ROWS_AT_ONCE = 512

DEFAULT_SPEC = {
    "id": "gray32-stretch-standardize-v1", "height": 32, "width": 32, "channels": 1,
    "fit": "stretch", "normalize": "standardize", "clip": [-4.0, 3.96875],
}


# -- the specification ----------------------------------------------------------------------------------

def check_spec(spec):
    """``spec`` itself if it is a valid preprocessing specification, else ImageError."""
    if not isinstance(spec, dict):
        raise _wrong_spec("object", "a JSON object", type(spec).__name__)
    for key in ("height", "width"):
        value = spec.get(key)
        if not _is_whole(value) or not 1 <= value <= MAX_INPUT_SIDE:
            raise _wrong_spec(key, "a whole number from 1 to %d" % MAX_INPUT_SIDE, value)
    if spec.get("channels") not in (1, 3) or not _is_whole(spec["channels"]):
        raise _wrong_spec("channels", "1 or 3", spec.get("channels"))
    named = (("fit", FITS, None), ("normalize", NORMALIZATIONS, None), ("order", ORDERS, ORDERS[0]))
    for key, known, default in named:
        if spec.get(key, default) not in known:
            raise _wrong_spec(key, " or ".join(known), spec.get(key))
    for key in ("transpose", "gray"):
        if not isinstance(spec.get(key, False), bool):
            raise _wrong_spec(key, "true or false", spec.get(key))
    if spec["normalize"] == "affine":
        _check_affine(spec)
    _check_clip(spec.get("clip"))
    return spec


def input_shape(spec):
    """The network's input for one picture, (1, H, W, C), by a valid specification."""
    sides = (spec["height"], spec["width"])
    return (1,) + (sides[::-1] if spec.get("transpose") else sides) + (spec["channels"],)


def _check_affine(spec):
    for key in ("mean", "scale"):
        values = spec.get(key)
        numeric = isinstance(values, (list, tuple)) and len(values) in (1, spec["channels"]) and all(
            isinstance(value, numbers.Real) and not isinstance(value, bool) and abs(value) <= 1e6 for value in values)
        if not numeric or (key == "scale" and 0 in values):
            raise _wrong_spec(key, "a list of one number or one a channel, scales not zero", values)


def _check_clip(clip):
    if clip is None:
        return
    numeric = isinstance(clip, (list, tuple)) and len(clip) == 2 and all(
        isinstance(end, numbers.Real) and not isinstance(end, bool) and abs(end) <= 1e6 for end in clip)
    if not numeric or not clip[0] < clip[1]:
        raise _wrong_spec("clip", "null or two rising numbers", clip)


def _is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _wrong_spec(key, expected, got):
    return ImageError("wrong preprocessing specification, entry %r" % str(key), expected=expected, got=repr(got),
                      remedy="compile the model again, or mend its manifest")


# -- the resize -----------------------------------------------------------------------------------------

def resize(gray, height, width):
    """uint8 (H, W) scaled to (height, width), uint8: exact integers, one rounding half up.

    Per axis: the mean over the area of each new pixel when shrinking, bilinear with half-pixel
    centres when enlarging. Weights are 14-bit integers that add up to 2**14 for each new pixel.
    """
    if gray.shape == (height, width):
        return gray
    across, down = axis_weights(gray.shape[1], width).T, axis_weights(gray.shape[0], height)
    rows = [exact_matmul(gray[top:top + _ROWS_AT_ONCE], across) for top in range(0, len(gray), _ROWS_AT_ONCE)]
    total = exact_matmul(down, np.concatenate(rows))
    return bytes_of(shift_round(total, 2 * _WEIGHT_BITS))


def axis_weights(size, new_size):
    """Integer weights (new_size, size) of one axis of :func:`resize`; each row adds up to 2**14.

    >>> axis_weights(4, 2).tolist()
    [[8192, 8192, 0, 0], [0, 0, 8192, 8192]]
    """
    cover = _area_cover(size, new_size) if size >= new_size else _linear_cover(size, new_size)
    # Differences of the rounded running sums: no row loses or gains a unit by rounding.
    running = np.cumsum(cover, axis=1, dtype=np.int64)
    total = running[:, -1:]
    running = (2 * shift_up(running, _WEIGHT_BITS) + total) // (2 * total)
    running[:, 1:] -= running[:, :-1].copy()
    return running


def _area_cover(size, new_size):
    """How much of each old pixel each new pixel covers, in units of 1 / new_size of an old pixel."""
    left = np.arange(size, dtype=np.int64)[None, :] * new_size
    start = np.arange(new_size, dtype=np.int64)[:, None] * size
    return np.maximum(np.minimum(left + new_size, start + size) - np.maximum(left, start), 0)


def _linear_cover(size, new_size):
    """Bilinear weights, half-pixel centres, in units of 1 / (2 new_size); the border is repeated."""
    at = (2 * np.arange(new_size, dtype=np.int64) + 1) * size - new_size
    at = np.clip(at, 0, 2 * new_size * (size - 1))
    low, part = at // (2 * new_size), at % (2 * new_size)
    cover = np.zeros((new_size, size), np.int64)
    rows = np.arange(new_size)
    np.add.at(cover, (rows, low), 2 * new_size - part)
    np.add.at(cover, (rows, np.minimum(low + 1, size - 1)), part)
    return cover


def fit_channels(picture, spec):
    """A picture as the specification's channels, each fitted: uint8 (height, width), of colour (3, height, width)."""
    if spec["channels"] == 1:
        return fit(picture, spec)
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ImageError("a colour network takes BGR pictures", got=picture.shape, expected="uint8 (H, W, 3)")
    if spec.get("gray"):
        picture = to_colour(to_gray(picture))
    planes = [fit(picture[..., at], spec) for at in range(3)]
    return np.stack(planes[::-1] if spec.get("order", ORDERS[0]) == "rgb" else planes)


def fit(gray, spec):
    """uint8 (H, W) of any size as uint8 (height, width) of the specification."""
    gray = np.asarray(gray)
    if gray.dtype != np.uint8 or gray.ndim != 2 or not gray.size or max(gray.shape) > MAX_SIDE:
        raise ImageError("cannot scale this picture", got="%s %s" % (gray.dtype, gray.shape),
                         expected="uint8 (H, W) with sides of 1 to %d" % MAX_SIDE)
    height, width = spec["height"], spec["width"]
    if spec["fit"] == "crop":
        gray = _crop(gray, height, width)
    elif spec["fit"] == "pad":
        gray = _pad(gray, height, width)
    return resize(gray, height, width)


def _crop(gray, height, width):
    """The largest centred part with the aspect of height : width."""
    rows, columns = gray.shape
    rows_new = max(min(rows, columns * height // width), 1)
    columns_new = max(min(columns, rows * width // height), 1)
    top, left = (rows - rows_new) // 2, (columns - columns_new) // 2
    return gray[top:top + rows_new, left:left + columns_new]


def _pad(gray, height, width):
    """The smallest picture with the aspect of height : width around it, filled with the border's mean."""
    rows, columns = gray.shape
    rows_new = max(rows, -(-columns * height // width))
    columns_new = max(columns, -(-rows * width // height))
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    mean = (2 * int(border.sum(dtype=np.int64)) + border.size) // (2 * border.size)
    canvas = np.full((rows_new, columns_new), mean, np.uint8)
    top, left = (rows_new - rows) // 2, (columns_new - columns) // 2
    canvas[top:top + rows, left:left + columns] = gray
    return canvas


# -- the values -----------------------------------------------------------------------------------------

def normalize(gray, spec):
    """uint8 (..., H, W) as float32 of the same shape in the network's input scale."""
    values = np.asarray(gray, dtype=np.int64)
    if spec["normalize"] == "standardize":
        result = _standardize(values)
    elif spec["normalize"] == "unit":
        result = values / 256.0
    elif spec["normalize"] == "affine":
        mean, scale = (np.array(spec[key], np.float64).reshape(-1, 1, 1) for key in ("mean", "scale"))
        result = (values - mean) * scale if spec["channels"] == 3 else (values - mean[0]) * scale[0]
    else:
        result = (2 * values - 255) / 256.0
    if spec.get("clip") is not None:
        low, high = spec["clip"]
        result = np.minimum(np.maximum(result, low), high)
    return result.astype(np.float32)


def _standardize(values):
    """(v - mean) / deviation per picture as (n v - sum) / sqrt(n sum(v^2) - sum(v)^2), exact but for
    the last two operations, which IEEE 754 rounds correctly everywhere."""
    count = values.shape[-1] * values.shape[-2]
    total = values.sum(axis=(-2, -1), keepdims=True)
    spread = count * (values * values).sum(axis=(-2, -1), keepdims=True) - total * total
    deviation = np.sqrt(np.maximum(spread, 1).astype(np.float64))
    return (count * values - total).astype(np.float64) / deviation


def read(path, spec):
    """A picture file as :func:`preprocess` takes it: gray, or BGR for a colour network."""
    return read_gray(path) if spec["channels"] == 1 else read_colour(path)


def plain(picture, spec):
    """A decoded picture (a camera's frame) as :func:`preprocess` takes it."""
    return to_gray(picture) if spec["channels"] == 1 else to_colour(picture)


def preprocess(picture, spec):
    """Gray uint8 (H, W), or BGR (H, W, 3) for a colour network, of any size as the network's input, float32
    :func:`input_shape` without the batch.

    ImageError for a wrong picture or a wrong specification.
    """
    check_spec(spec)
    return to_input(fit_channels(picture, spec), spec)


def to_input(fitted, spec):
    """Fitted uint8 (..., height, width), of colour (..., 3, height, width), as the network's input, float32 with
    the channels at the end."""
    values = normalize(fitted, spec)
    values = np.swapaxes(values, -1, -2) if spec.get("transpose") else values
    return np.ascontiguousarray(np.moveaxis(values, -3, -1)) if spec["channels"] == 3 else values[..., None]


def preprocess_batch(grays, spec):
    """Gray uint8 pictures of any sizes as the network's input, float32, one after the other."""
    check_spec(spec)
    fitted = [fit_channels(gray, spec) for gray in grays]
    planes = () if spec["channels"] == 1 else (3,)
    stack = np.stack(fitted) if fitted else np.zeros((0,) + planes + (spec["height"], spec["width"]), np.uint8)
    return to_input(stack, spec)
