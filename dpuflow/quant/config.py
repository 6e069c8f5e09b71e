"""What the user asks of the quantizer (quantizer specification, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.errors import ConfigError
from dpuflow.ir.graph import Shape
from dpuflow.quant.versions import DEFAULT_VERSION, VERSIONS, Version


@dataclass(frozen=True)
class QuantizeConfig:
    """The vendor's options that change the result, under the vendor's names and defaults.

    The batch of ``input_shapes`` counts in the deploy graph only. None for ``scale_all_avgpool`` and
    ``align_pool`` means what the release in ``version`` does.
    """

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
    scale_all_avgpool: int | None = None
    align_pool: int | None = None
    output_dir: str = "./quantize_results"
    activation_rounding: str = "half_up"
    version: str = DEFAULT_VERSION

    def __post_init__(self) -> None:
        if len(self.input_nodes) != len(self.input_shapes):
            raise ConfigError("input_nodes and input_shapes differ in number", where="--input_shapes",
                              expected=len(self.input_nodes), got=len(self.input_shapes),
                              remedy="separate the shapes of several inputs by ':'")
        for name, value, allowed in (
            ("method", self.method, (0, 1, 2)), ("align_concat", self.align_concat, (0, 1, 2)),
            ("adjust_shift_bias", self.adjust_shift_bias, (0, 1, 2)),
            ("adjust_shift_cut", self.adjust_shift_cut, (0, 1)), ("simulate_dpu", self.simulate_dpu, (0, 1)),
            ("scale_all_avgpool", self.scale_all_avgpool, (None, 0, 1)),
            ("align_pool", self.align_pool, (None, 0, 1, 2)), ("version_compat", self.version, tuple(VERSIONS)),
        ):
            if value not in allowed:
                raise ConfigError("not a value of this option", where=f"--{name}", got=value,
                                  expected=" or ".join(str(one) for one in allowed if one is not None))
        if self.calib_iter < 1:
            raise ConfigError("calibration needs at least one iteration", where="--calib_iter", got=self.calib_iter)
        for name, bits in (("weight_bit", self.weight_bit), ("activation_bit", self.activation_bit)):
            if not 2 <= bits <= 16:
                raise ConfigError("not a supported width", where=f"--{name}", got=bits, expected="2 to 16")
        for node, bits in self.nodes_bit:
            if not 2 <= bits <= 16:
                raise ConfigError("not a supported width", where="--nodes_bit", got=f"{node}:{bits}",
                                  expected="2 to 16")
        for node, method in self.nodes_method:
            if method not in (0, 1, 2):
                raise ConfigError("not a method", where="--nodes_method", got=f"{node}:{method}", expected="0, 1 or 2")

    @property
    def release(self) -> Version:
        """What the release whose files are written does differently."""
        return VERSIONS[self.version]

    @property
    def scales_all_pools(self) -> bool:
        """Whether every average pool gets the DPU's factor."""
        return self.release.scales_all_pools if self.scale_all_avgpool is None else bool(self.scale_all_avgpool)

    @property
    def pool_alignment(self) -> int:
        """0 all pools, 1 output pools only, 2 none."""
        return (0 if self.release.aligns_pools else 2) if self.align_pool is None else self.align_pool

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each input node, batch 1."""
        return {name: (1, *shape[1:]) for name, shape in zip(self.input_nodes, self.input_shapes, strict=True)}

    @property
    def deployed_shapes(self) -> dict[str, Shape]:
        """The shape of each input node with the batch that was given; 1 where it was left open."""
        return {name: (max(shape[0], 1), *shape[1:])
                for name, shape in zip(self.input_nodes, self.input_shapes, strict=True)}


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """``?,32,32,1:?,10,10,3`` as shapes, an open batch as 1; ConfigError for anything else."""
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
        shapes.append(tuple(numbers))
    return tuple(shapes)
