"""A DPU core as data (targets specification)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

Range = tuple[int, int]


@dataclass(frozen=True)
class Core:
    """One DPUCZDX8G core. Ranges are (lowest, highest); None or 0 marks a unit that is absent."""

    name: str
    isa: int
    fingerprint: int
    peak_ops_per_cycle: int
    pixel_parallel: int
    input_channel_parallel: int
    output_channel_parallel: int
    image_bank_groups: int
    channel_augmentation: int  # input lanes that the first layer may fill, 0 = feature absent
    pool_pixel_parallel: int
    dwconv_pixel_parallel: int  # 0 = no depthwise unit
    eltwise_pixel_parallel: int
    eltwise_types: tuple[str, ...]
    conv_nonlinears: tuple[str, ...]
    dwconv_nonlinears: tuple[str, ...]
    average_pool: bool
    max_pool_kernel: Range
    max_pool_stride: Range
    average_pool_kernel: Range
    average_pool_stride: Range
    conv_kernel: Range = (1, 16)
    conv_stride: Range = (1, 8)
    dwconv_kernel: Range = (1, 16)
    dwconv_stride: Range = (1, 8)
    # Rows that one output row may stand from the next; None where the core states no limit of its own.
    stride_out_h: Range | None = None
    # (left and top, right and bottom); None where the core states no limit of its own
    alu_padding: Range | None = None
    bank_depth: int = 2048
    hp_port_bits: int = 128  # width of a memory port: 64 on Zynq-7000
    conv_write_parallel: int = 1
    mean_reduction: bool = False
    max_reduce: bool = False
    argmax: bool = False
    board: str = ""
    description: str = ""

    @property
    def arch(self) -> str:
        """The B name, such as B1152."""
        return f"B{self.peak_ops_per_cycle}"

    @property
    def dnndk(self) -> bool:
        """Whether the core comes from a DNNDK configuration file (no Vitis AI release serves it)."""
        return bool(self.board)


def core_fields(core: Core) -> dict[str, object]:
    """A core as JSON values; the fingerprint as hexadecimal text."""
    fields = dataclasses.asdict(core)
    fields["fingerprint"] = f"0x{core.fingerprint:016x}"
    fields["arch"] = core.arch
    return fields


def core_differences(first: Core, second: Core) -> tuple[str, ...]:
    """The fields in which two cores differ, one text a field."""
    ignored = ("name", "board", "description")
    a, b = core_fields(first), core_fields(second)
    return tuple(f"{key}: {a[key]} against {b[key]}" for key in a if key not in ignored and a[key] != b[key])
