"""The named cores: feature codes of every published target, and the DNNDK boards.

Sources: targets specification, sections 2 to 5. The DNNDK boards' fingerprints are inferred from
their configuration files' fields; the files hold none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from dpuflow.target.arch import Core
from dpuflow.target.fingerprint import decode_fingerprint

_ISA0, _ISA1 = 0x0100 << 48, 0x0101 << 48

# Name -> fingerprint.
_FEATURES: Mapping[str, int] = {
    "DPUCZDX8G_ISA1_B512": _ISA1 + 0x56010200,
    "DPUCZDX8G_ISA1_B800": _ISA1 + 0x56010201,
    "DPUCZDX8G_ISA1_B1024": _ISA1 + 0x56010402,
    "DPUCZDX8G_ISA1_B1152": _ISA1 + 0x56010203,
    "DPUCZDX8G_ISA1_B1600": _ISA1 + 0x56010404,
    "DPUCZDX8G_ISA1_B2304": _ISA1 + 0x56010405,
    "DPUCZDX8G_ISA1_B3136": _ISA1 + 0x56010406,
    "DPUCZDX8G_ISA1_B4096": _ISA1 + 0x56010407,
    "DPUCZDX8G_ISA0_B512_MAX": _ISA0 + 0x20F7012200,
    "DPUCZDX8G_ISA0_B512_MIN": _ISA0 + 0x2022010100,
    "DPUCZDX8G_ISA0_B800_MAX": _ISA0 + 0x20F7012201,
    "DPUCZDX8G_ISA0_B800_MIN": _ISA0 + 0x2022010101,
    "DPUCZDX8G_ISA0_B1024_MAX": _ISA0 + 0x20F7014402,
    "DPUCZDX8G_ISA0_B1024_MIN": _ISA0 + 0x2022010102,
    "DPUCZDX8G_ISA0_B1152_MAX": _ISA0 + 0x20F7012203,
    "DPUCZDX8G_ISA0_B1152_MIN": _ISA0 + 0x2022010103,
    "DPUCZDX8G_ISA0_B1600_MAX": _ISA0 + 0x20F7014404,
    "DPUCZDX8G_ISA0_B1600_MIN": _ISA0 + 0x2022010104,
    "DPUCZDX8G_ISA0_B2304_MAX": _ISA0 + 0x20F7014405,
    "DPUCZDX8G_ISA0_B2304_MAX_BG2": _ISA0 + 0x20F6014405,
    "DPUCZDX8G_ISA0_B2304_MIN": _ISA0 + 0x2022010105,
    "DPUCZDX8G_ISA0_B3136_MAX": _ISA0 + 0x20F7014406,
    "DPUCZDX8G_ISA0_B3136_MAX_BG2": _ISA0 + 0x20F6014406,
    "DPUCZDX8G_ISA0_B3136_MIN": _ISA0 + 0x2022010106,
    "DPUCZDX8G_ISA0_B4096_MAX": _ISA0 + 0x20F7014407,
    "DPUCZDX8G_ISA0_B4096_MAX_BG2": _ISA0 + 0x20F6014407,
    "DPUCZDX8G_ISA0_B4096_MAX_EM": _ISA0 + 0x30F7014407,
    "DPUCZDX8G_ISA0_B4096_MIN": _ISA0 + 0x2022010107,
}
# The 2.5 release's codes of the ISA1 targets: the argmax bit (30) is clear.
_ARGMAX_BIT = 1 << 30


@dataclasses.dataclass(frozen=True)
class BoardDesign:
    """A DNNDK board's core, from its configuration file."""

    name: str
    fingerprint: int
    average_pool_kernels: tuple[int, int] = (2, 8)
    hp_port_bits: int = 128


BOARDS: Mapping[str, BoardDesign] = {
    "zedboard": BoardDesign("ZedBoard", 0x01000020E6010103, hp_port_bits=64),
    "pynq-z2": BoardDesign("PYNQ-Z2", 0x01000020F6012203, hp_port_bits=64),
    "ultra96": BoardDesign("Ultra96", 0x01000020F2014404),
    "zcu102": BoardDesign("ZCU102", 0x01000020F6014407),
    "zcu104": BoardDesign("ZCU104", 0x01000020F7014407),
}


def board_core(key: str) -> Core:
    """The core of a DNNDK board by its short name."""
    design = BOARDS[key]
    core = decode_fingerprint(design.fingerprint, key)
    return dataclasses.replace(core, board=design.name, average_pool_kernel=design.average_pool_kernels,
                               hp_port_bits=design.hp_port_bits)


def named_targets() -> dict[str, Core]:
    """Every named target and board by name."""
    cores = {name: decode_fingerprint(code, name) for name, code in _FEATURES.items()}
    return cores | {key: board_core(key) for key in BOARDS}


def known_fingerprints() -> dict[int, str]:
    """Fingerprint -> target name, those of release 2.5 included."""
    known = {code: name for name, code in _FEATURES.items()}
    known.update({code - _ARGMAX_BIT: name for name, code in _FEATURES.items() if "_ISA1_" in name})
    return known
