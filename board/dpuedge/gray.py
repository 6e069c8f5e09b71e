"""Reading a picture file, and making it gray or plain BGR, in integers. Python 2.7 and 3.5+."""
from __future__ import division, print_function

import io
import struct
import zlib

import numpy as np

from dpuedge.errors import ImageError
from dpuedge.fixed import shift_floor, shift_round

# Luma of ITU-R BT.601 (0.299, 0.587, 0.114) in 16-bit integers that add up to 2**16.
_BLUE, _GREEN, _RED = 7471, 38470, 19595


# -- files --------------------------------------------------------------------------------------------

def read_gray(path):
    """The picture in file ``path`` as gray, uint8 (H, W).

    ImageError if the file is missing, empty, a directory, truncated or no picture.
    """
    return decode_gray(_bytes(path), path)


def read_colour(path):
    """The picture in file ``path`` as BGR, uint8 (H, W, 3); ImageError as :func:`read_gray`."""
    return _named(to_colour, _decode(_bytes(path), path), path)


def _bytes(path):
    try:
        with io.open(path, "rb") as stream:
            return stream.read()
    except (IOError, OSError) as error:
        raise ImageError("cannot read the picture (%s)" % (error.strerror or error), where=path)


def decode_gray(data, where):
    """The picture in the bytes of a file as gray, uint8 (H, W); ``where`` names it in errors."""
    return _named(to_gray, _decode(data, where), where)


def _decode(data, where):
    if not data:
        raise ImageError("the picture file is empty", where=where)
    if _is_cut(data):
        raise ImageError("the picture file is truncated or damaged", where=where, got="%d bytes" % len(data))
    import cv2  # here, not at the top: preprocessing itself needs no OpenCV
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError("cannot decode the picture (%s)" % " ".join(str(error).split()), where=where)
    if image is None or image.size == 0:
        raise ImageError("not a picture that OpenCV can read, or damaged", where=where, got="%d bytes" % len(data),
                         expected="a PNG, JPEG, BMP, PGM or TIFF file")
    return image


def _named(convert, image, where):
    try:
        return convert(image)
    except ImageError as error:
        error.where = where
        raise


def _is_cut(data):
    """Whether a PNG, JPEG or BMP file ends too early; decoders return half a picture without an error."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return not _png_is_whole(data)
    if data[:2] == b"\xff\xd8":
        return data.rfind(b"\xff\xd9") <= max(data.rfind(b"\xff\xda"), 0)
    return data[:2] == b"BM" and (len(data) < 26 or struct.unpack("<I", data[2:6])[0] > len(data))


def _png_is_whole(data):
    at = 8
    while at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        end = at + 12 + size
        if end > len(data):
            return False
        if zlib.crc32(data[at + 4:end - 4]) & 0xffffffff != struct.unpack(">I", data[end - 4:end])[0]:
            return False
        if kind == b"IEND":
            return True
        at = end
    return False


# -- gray ---------------------------------------------------------------------------------------------

def to_gray(image):
    """Gray uint8 (H, W) of uint8 or uint16 (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA.

    Luma of ITU-R BT.601 in integers, rounded half up; alpha lies on white; of 16-bit pictures the
    high byte counts. ImageError for anything else.

    >>> to_gray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).tolist()
    [[29, 150, 76]]
    """
    image = _plain(image)
    if image.ndim == 2:
        return image
    wide = np.array(image, dtype=np.uint32)
    luma = wide[..., 0] * _BLUE + wide[..., 1] * _GREEN + wide[..., 2] * _RED
    return bytes_of(shift_round(luma, 16))


def to_colour(image):
    """BGR uint8 (H, W, 3) of what :func:`to_gray` takes; a gray picture has three equal channels.

    >>> to_colour(np.array([[7]], np.uint8)).tolist()
    [[[7, 7, 7]]]
    """
    image = _plain(image)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def _plain(image):
    """Uint8 (H, W) or (H, W, 3): no alpha, no 16 bits."""
    image = np.asarray(image)
    if image.dtype == np.uint16:
        image = bytes_of(shift_floor(image, 8))
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4) or not image.size:
        raise ImageError("cannot read this kind of picture", expected="uint8 (H, W) or (H, W, 1, 3 or 4)",
                         got="%s %s" % (image.dtype, image.shape))
    if channels == 1:
        return image.reshape(image.shape[:2])
    return _on_white(image) if channels == 4 else image


def _on_white(image):
    """BGR of a BGRA picture over white, rounded to the nearest (a quotient by 255 has no ties)."""
    wide = np.array(image, dtype=np.uint32)
    colour, alpha = wide[..., :3], wide[..., 3:]
    scaled = colour * alpha + 255 * (255 - alpha) + 128
    return bytes_of(shift_floor(scaled + shift_floor(scaled, 8), 8))


def bytes_of(integers):
    """Integers that already lie in 0..255 as uint8."""
    return np.array(integers, dtype=np.uint8)
