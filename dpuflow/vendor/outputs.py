"""What the vendor's tools left behind: present, not empty, of the right ELF class; then copied out."""

from __future__ import annotations

import shutil
from pathlib import Path

from dpuflow.errors import PlanError
from dpuflow.files import atomic_path
from dpuflow.vendor.plan import Plan

_MAGIC, _ARM = b"\x7fELF", {32: 40, 64: 183}  # e_machine of ARM and AArch64


def check_elf(path: Path, bits: int) -> None:
    """PlanError unless a file is a little-endian ARM ELF of that class (board specification, section 5)."""
    with path.open("rb") as stream:
        head = stream.read(20)
    if len(head) < 20 or head[:4] != _MAGIC:
        raise PlanError("not an ELF file", where=path)
    got = {1: 32, 2: 64}.get(head[4], 0), int.from_bytes(head[18:20], "little")
    if got != (bits, _ARM[bits]):
        raise PlanError("an ELF file for another processor", where=path, got=f"{got[0]} bit, machine {got[1]}",
                        expected=f"{bits} bit, machine {_ARM[bits]}",
                        remedy="check cpu_arch; releases 1.0 to 1.2 are known to write 64-bit files when asked for 32")


def collect(plan: Plan, folder: Path, output: Path) -> list[Path]:
    """Copy everything of ``out/`` to ``output`` after checking; exit codes alone prove nothing."""
    for name in plan.products:
        path = folder / name
        if not path.is_file() or not path.stat().st_size:
            raise PlanError("a product is missing or empty although the tools ended", where=name,
                            got=", ".join(sorted(p.name for p in folder.glob("*"))) or "nothing")
    for path in sorted(folder.glob("*")):
        if plan.elf_class and path.suffix in (".elf", ".so"):
            check_elf(path, plan.elf_class)
    output.mkdir(parents=True, exist_ok=True)
    made = []
    for path in sorted(p for p in folder.glob("*") if p.is_file()):
        with atomic_path(output / path.name) as temporary:
            shutil.copyfile(path, temporary)
        made.append(output / path.name)
    return made
