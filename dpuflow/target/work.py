"""What the engines of a core are asked to do: one plain record per layer."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class LayerWork:
    """What every layer has: a name, its input and output maps as (height, width, channels)."""

    name: str
    input: tuple[int, int, int]
    output: tuple[int, int, int]


@dataclass(frozen=True)
class ConvWork(LayerWork):
    """A convolution, depthwise or transposed convolution or dense layer with its fused nonlinearity.

    Pads are (top, bottom, left, right). ``shift_cut`` and ``shift_bias`` as the DPU sees them;
    ``shift_bias`` is None without bias. ``multiplier``: output channels per channel of a depthwise
    convolution.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    depthwise: bool = False
    nonlinear: str = "none"
    shift_cut: int = 0
    shift_bias: int | None = None
    multiplier: int = 1
    transposed: bool = False

    @property
    def macs(self) -> int:
        """Multiplications."""
        # a transposed convolution spreads every input pixel over a kernel
        high, wide = self.input[:2] if self.transposed else self.output[:2]
        inputs = 1 if self.depthwise else self.input[2] // self.groups
        return high * wide * self.output[2] * self.kernel[0] * self.kernel[1] * inputs

    @property
    def weight_bytes(self) -> int:
        """Weights and biases, one byte each."""
        inputs = 1 if self.depthwise else self.input[2] // self.groups
        return self.output[2] * (self.kernel[0] * self.kernel[1] * inputs + (self.shift_bias is not None))


@dataclass(frozen=True)
class PoolWork(LayerWork):
    """A max or average pool."""

    kernel: Pair
    stride: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    kind: str = "max"


@dataclass(frozen=True)
class EltwiseWork(LayerWork):
    """A sum or product of maps of one shape."""

    kind: str = "add"
    operands: int = 2
    nonlinear: str = "none"
    shift_read: int = 0
    shift_write: int = 0


@dataclass(frozen=True)
class UpsampleWork(LayerWork):
    """A nearest resize that repeats every pixel ``factor`` times down and across."""

    factor: Pair = (2, 2)
    positions_equal: bool = True


@dataclass(frozen=True)
class ActivationWork(LayerWork):
    """A nonlinearity that no layer before it could take in."""

    kind: str = "relu"


@dataclass(frozen=True)
class MoveWork(LayerWork):
    """A reshape or concat that only places bytes; ``kind`` is the operator's name."""

    positions_equal: bool = True
    kind: str = "reshape"
