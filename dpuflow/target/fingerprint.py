"""Fingerprints: 64 bits that say what a core can do (targets specification, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.errors import ConfigError
from dpuflow.target.arch import Core

TYPE_DPUCZDX8G = 1
# Architecture code -> B number, pixel parallel, channel parallel (targets specification, section 2).
ARCHITECTURES = {
    0: (512, 4, 8), 1: (800, 4, 10), 2: (1024, 8, 8), 3: (1152, 4, 12), 4: (1600, 8, 10), 5: (2304, 8, 12),
    6: (3136, 8, 14), 7: (4096, 8, 16), 8: (128, 4, 4), 9: (144, 2, 6), 10: (256, 2, 8), 11: (64, 2, 4),
}
_TYPES = {1: "DPUCZDX8G", 2: "DPUCAHX8H", 3: "DPUCAHX8L", 4: "DPUCZDI4G", 5: "DPUCVDX8H", 6: "DPUCVDX8G",
          7: "DPUCADF8H", 8: "IPU_PHX", 9: "DPUCV2DX8G"}
TYPE_CODES = {name: code for code, name in _TYPES.items()}


@dataclass(frozen=True)
class _Bits:
    """A feature code's fields by their lowest and highest bit."""

    code: int

    def field(self, low: int, high: int) -> int:
        return int(self.code // 2**low % 2 ** (high - low + 1))

    def flag(self, bit: int) -> bool:
        return self.field(bit, bit) == 1


def _isa0(name: str, fingerprint: int, bits: _Bits) -> Core:
    ops, pixels, channels = ARCHITECTURES[bits.field(0, 3)]
    nonlinears = ["relu"] + ["leaky_relu"] * bits.flag(28) + ["relu6"] * bits.flag(29)
    return Core(
        name, 0, fingerprint, ops, pixels, channels, channels, bits.field(24, 25), 2 * channels * bits.flag(26),
        bits.field(8, 11), bits.field(12, 15), bits.field(16, 19), ("add", "mul") if bits.flag(36) else ("add",),
        tuple(nonlinears), ("relu", *["relu6"] * bits.flag(31)), bits.flag(30), (1, 8), (1, 8), (2, 8), (1, 8),
        mean_reduction=bits.flag(27), max_reduce=bits.flag(37))


def _stride_out_h(pixels: int, write_parallel: int) -> tuple[int, int]:
    """How far apart the ISA1 convolution engine may write two output rows (section 3)."""
    lanes = pixels // write_parallel
    return (1, 4) if write_parallel == 1 or lanes >= 4 else (1, max(lanes, 1))


def _isa1(name: str, fingerprint: int, bits: _Bits) -> Core:
    ops, pixels, channels = ARCHITECTURES[bits.field(0, 3)]
    nonlinears = ["relu"] + ["leaky_relu"] * bits.flag(28) + ["relu6"]
    alu_nonlinears = ["relu"] + ["leaky_relu"] * bits.flag(29) + ["relu6"]
    alu = bits.field(8, 11)
    return Core(
        name, 1, fingerprint, ops, pixels, channels, channels, bits.field(24, 25), 2 * channels * bits.flag(26),
        alu, alu, alu, ("add", "mul"), tuple(nonlinears), tuple(alu_nonlinears), True, (1, 256), (1, 256), (1, 256),
        (1, 256), dwconv_kernel=(1, 256), dwconv_stride=(1, 256), alu_padding=(15, 255),
        conv_write_parallel=2 ** bits.field(32, 33),
        stride_out_h=_stride_out_h(pixels, 2 ** bits.field(32, 33)), max_reduce=True, argmax=bits.flag(30))


def decode_fingerprint(fingerprint: int, name: str = "") -> Core:
    """The core that a fingerprint describes; ConfigError for another type or an unknown code."""
    if not 0 <= fingerprint < 2**64:
        raise ConfigError("not a fingerprint", got=f"{fingerprint.bit_length()} bits", expected="64 bits, not negative")
    kind, isa, bits = fingerprint // 2**56, fingerprint // 2**48 % 256, _Bits(fingerprint % 2**48)
    where = f"fingerprint 0x{fingerprint:016x}"
    if kind != TYPE_DPUCZDX8G:
        raise ConfigError("not a DPUCZDX8G core", where=where, got=_TYPES.get(kind, f"type {kind}"))
    if isa not in (0, 1):
        raise ConfigError("unknown instruction set version", where=where, got=isa, expected="0 or 1")
    if bits.field(0, 3) not in ARCHITECTURES:
        raise ConfigError("unknown architecture code", where=where, got=bits.field(0, 3))
    name = name or f"DPUCZDX8G_ISA{isa}_B{ARCHITECTURES[bits.field(0, 3)][0]}_{fingerprint:016X}"
    core = (_isa0 if isa == 0 else _isa1)(name, fingerprint, bits)
    if core.image_bank_groups < 1 or core.pool_pixel_parallel < 1:
        raise ConfigError("the code describes no working core", where=where,
                          got=f"{core.image_bank_groups} image bank groups, pool parallel {core.pool_pixel_parallel}")
    return core
