"""The captcha networks as data: one list of layers makes the Keras network, the frozen graph and the table.

Pictures come with their width first, (200, 50, 1), so that the time axis is the height of every map:
the DPU's pixel lanes run along it. All networks end with one row of 20 scores per step, 19 symbols
and the blank, for 50 steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

INPUT = (200, 50, 1)
STEPS = 50
CLASSES = 20


@dataclass(frozen=True)
class Conv:
    """A convolution; ``norm`` puts batch normalisation behind it in place of a bias's freedom."""

    name: str
    filters: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    norm: bool = True
    relu: bool = True


@dataclass(frozen=True)
class Pool:
    """A max pool of 2 x 2."""

    name: str


@dataclass(frozen=True)
class Columns:
    """(T, W, C) to (T, W * C): what a step sees, as one row."""

    name: str


@dataclass(frozen=True)
class Dense:
    """The same dense layer at every step."""

    name: str
    units: int
    relu: bool = True


@dataclass(frozen=True)
class Dropout:
    """Dropout in training only."""

    name: str
    share: float


@dataclass(frozen=True)
class Recurrent:
    """A bidirectional LSTM that gives ``units`` values per direction at every step."""

    name: str
    units: int
    dropout: float = 0.25


Layer = Conv | Pool | Columns | Dense | Dropout | Recurrent

# The network of the Keras OCR example (keras.io, "OCR model for reading Captchas"), layer for layer; its
# softmax follows the last dense layer.
CRNN: tuple[Layer, ...] = (
    Conv("Conv1", 32, norm=False), Pool("pool1"), Conv("Conv2", 64, norm=False), Pool("pool2"), Columns("reshape"),
    Dense("dense1", 64), Dropout("dropout", 0.2), Recurrent("bidirectional", 128), Recurrent("bidirectional_1", 64),
    Dense("dense2", CLASSES, relu=False),
)


def twin(widths: Sequence[int]) -> tuple[Layer, ...]:
    """The all-convolutional twin: strided convolutions, then dilated ones along time in place of the LSTMs.

    ``widths``: channels of the five convolutions over the picture and of those along time.
    """
    a, b, c, d, e = widths
    return (
        Conv("conv1", a, stride=(2, 2)), Conv("conv2", b, stride=(2, 2)), Conv("conv3", c, stride=(1, 2)),
        Conv("conv4", d, stride=(1, 2)), Conv("conv5", e, (1, 4), padding="VALID"),
        Conv("time1", e, (3, 1), dilation=(2, 1)), Conv("time2", e, (3, 1), dilation=(4, 1)), Dropout("dropout", 0.1),
        Conv("scores", CLASSES, (1, 1), norm=False, relu=False),
    )


# The channels fill lanes of twelve, the ZedBoard core's, wherever that costs nothing.
NETWORKS: Mapping[str, tuple[Layer, ...]] = {
    "crnn": CRNN,
    "twin_small": twin((12, 24, 24, 24, 36)),
    "twin_medium": twin((12, 36, 48, 60, 60)),
    "twin_large": twin((24, 48, 72, 96, 96)),
}


@dataclass(frozen=True)
class Row:
    """A row of the layer table: name, kind, output shape of one picture, parameters, multiplications."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


def _conv_row(layer: Conv, shape: tuple[int, ...]) -> Row:
    height, width, channels = shape
    if layer.padding == "SAME":
        out = (-(-height // layer.stride[0]), -(-width // layer.stride[1]))
    else:
        out = (height - layer.kernel[0] + 1, width - layer.kernel[1] + 1)
    weights = layer.kernel[0] * layer.kernel[1] * channels * layer.filters
    return Row(layer.name, "conv", (*out, layer.filters), weights + layer.filters * (4 if layer.norm else 1),
               weights * out[0] * out[1])


def _row(layer: Layer, shape: tuple[int, ...]) -> Row:
    if isinstance(layer, Conv):
        return _conv_row(layer, shape)
    if isinstance(layer, Pool):
        return Row(layer.name, "max pool", (shape[0] // 2, shape[1] // 2, shape[2]), 0, 0)
    if isinstance(layer, Columns):
        return Row(layer.name, "reshape", (shape[0], shape[1] * shape[2]), 0, 0)
    if isinstance(layer, Dense):
        weights = shape[-1] * layer.units
        return Row(layer.name, "dense", (*shape[:-1], layer.units), weights + layer.units, weights * shape[0])
    if isinstance(layer, Recurrent):
        weights = 8 * layer.units * (shape[-1] + layer.units)
        return Row(layer.name, "bidirectional LSTM", (shape[0], 2 * layer.units), weights + 8 * layer.units,
                   weights * shape[0])
    return Row(layer.name, "dropout", shape, 0, 0)


def layer_rows(layers: Sequence[Layer]) -> Iterator[Row]:
    """The layer table of a network."""
    shape: tuple[int, ...] = INPUT
    for layer in layers:
        row = _row(layer, shape)
        shape = row.shape
        yield row


def layer_table(layers: Sequence[Layer]) -> str:
    """The layer table as text, with sums."""
    rows = list(layer_rows(layers))
    lines = [f"{row.name:<16} {row.kind:<19} {'x'.join(map(str, row.shape)):<12} {row.parameters:>9,} {row.macs:>12,}"
             for row in rows]
    head = f"{'layer':<16} {'kind':<19} {'output':<12} {'parameters':>9} {'MAC':>12}"
    total = f"{'total':<49} {sum(row.parameters for row in rows):>9,} {sum(row.macs for row in rows):>12,}"
    return "\n".join([head, *lines, total]) + "\n"
