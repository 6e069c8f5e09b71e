"""What the user asks of the quantizer (quantizer specification, section 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from dpuflow.errors import ConfigError
from dpuflow.ir.graph import Shape


@dataclass(frozen=True)
class QuantizeConfig:
    """The vendor's options that change the result, under the vendor's names and defaults."""

    input_nodes: tuple[str, ...]
    output_nodes: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    method: int = 1
    calib_iter: int = 100
    weight_bit: int = 8
    activation_bit: int = 8
    ignore_nodes: tuple[str, ...] = ()
    nodes_bit: tuple[tuple[str, int], ...] = ()
    nodes_method: tuple[tuple[str, int], ...] = ()
    skip_check: bool = False
    align_concat: int = 0
    adjust_shift_bias: int = 1
    adjust_shift_cut: int = 1
    simulate_dpu: int = 1
    scale_all_avgpool: int = field(default=0)

    def __post_init__(self) -> None:
        if len(self.input_nodes) != len(self.input_shapes):
            raise ConfigError("input_nodes and input_shapes differ in number", where="--input_shapes",
                              expected=len(self.input_nodes), got=len(self.input_shapes),
                              remedy="separate the shapes of several inputs by ':'")
        for name, value, allowed in (
            ("method", self.method, (0, 1, 2)), ("align_concat", self.align_concat, (0, 1, 2)),
            ("adjust_shift_bias", self.adjust_shift_bias, (0, 1, 2)),
            ("adjust_shift_cut", self.adjust_shift_cut, (0, 1)), ("simulate_dpu", self.simulate_dpu, (0, 1)),
        ):
            if value not in allowed:
                raise ConfigError("not a value of this option", where=f"--{name}", got=value,
                                  expected=" or ".join(map(str, allowed)))
        if self.calib_iter < 1:
            raise ConfigError("calibration needs at least one iteration", where="--calib_iter", got=self.calib_iter)
        for name, bits in (("weight_bit", self.weight_bit), ("activation_bit", self.activation_bit)):
            if not 2 <= bits <= 16:
                raise ConfigError("not a supported width", where=f"--{name}", got=bits, expected="2 to 16")

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each input node, batch 1."""
        return dict(zip(self.input_nodes, self.input_shapes, strict=True))


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """``?,32,32,1:?,10,10,3`` as shapes with batch 1; ConfigError for anything else."""
    shapes = []
    for part in text.split(":"):
        sizes = [size.strip() for size in part.split(",")]
        if len(sizes) != 4:
            raise ConfigError("an input shape has 4 dimensions", where="--input_shapes", got=part,
                              expected="?,height,width,channels")
        try:
            numbers = [1 if size in ("?", "-1") and at == 0 else int(size) for at, size in enumerate(sizes)]
        except ValueError:
            raise ConfigError("'?' stands for the batch only", where="--input_shapes", got=part,
                              expected="?,height,width,channels") from None
        if min(numbers) < 1:
            raise ConfigError("sizes are positive", where="--input_shapes", got=part)
        shapes.append((1, *numbers[1:]))
    return tuple(shapes)
