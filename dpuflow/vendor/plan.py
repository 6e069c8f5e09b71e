"""What is to be run where with the vendor's tools, as plain data: shown, hashed, then executed.

A plan's work folder holds its input files under ``in/``, the script ``run.sh``, and after the run
the products under ``out/``. The script is all that an executor starts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dpuflow.artifact import file_digest
from dpuflow.errors import DataError
from dpuflow.vendor.releases import CONDA, Release

WORKSPACE = "/workspace"


@dataclass(frozen=True)
class Plan:
    """One run of the vendor's tools.

    ``inputs``: name under ``in/`` -> file of the user; ``texts``: name under ``in/`` -> content made
    here; ``commands``: lines of shell in the order of their run; ``products``: names under ``out/``
    that must be there and hold something afterwards.
    """

    title: str
    release: Release
    inputs: Mapping[str, Path]
    commands: tuple[str, ...]
    products: tuple[str, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    elf_class: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        """``run.sh``: POSIX shell, started as ``bash run.sh`` with the work folder as its own folder.

        In a container it runs as root, because the images map users each in their own way; at the
        end it gives every file back to ``HOST_UID:HOST_GID`` (board specification, section 2).
        """
        conda = (f"if [ -f {CONDA} ]; then . {CONDA}; conda activate {self.release.conda}; fi"
                 if self.release.conda else ": # no conda environment in this release")
        return "\n".join((
            "# Made by dpuflow; see the plan. Runs the vendor's tools, which are not part of dpuflow.",
            "set -e",
            'cd "$(dirname "$0")"',
            "WORK=$(pwd)",
            'if [ -n "${HOST_UID:-}" ] && [ "$(id -u)" = 0 ]; then',
            "    trap 'chown -R \"$HOST_UID:${HOST_GID:-$HOST_UID}\" \"$WORK\"' EXIT",
            "fi",
            conda,
            'export WORK PYTHONPATH="$WORK/in${PYTHONPATH:+:$PYTHONPATH}"',
            "mkdir -p out",
            "cd in",
            *self.commands,
            "",
        ))

    @property
    def digest(self) -> str:
        """SHA-256 over the script, the texts and the input files' contents."""
        made = hashlib.sha256(self.script.encode())
        for name in sorted(self.texts):
            made.update(f"{name}\n{self.texts[name]}\n".encode())
        for name in sorted(self.inputs):
            made.update(f"{name} {file_digest(self.inputs[name])}\n".encode())
        return made.hexdigest()

    def prepare(self, work: Path) -> None:
        """Write the work folder. DataError naming an input that is not there."""
        import shutil

        for name, source in self.inputs.items():
            if not source.is_file():
                raise DataError("an input of the plan is not there", where=source, remedy="run the stage before it")
            target = work / "in" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for name, text in self.texts.items():
            (work / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "in" / name).write_text(text, encoding="utf-8")
        (work / "run.sh").write_text(self.script, encoding="utf-8")


def plan_text(plan: Plan, executor: str) -> str:
    """The plan for people, as ``--plan`` prints it."""
    lines = [plan.title, f"release   {plan.release.name}", f"executor  {executor}"]
    if executor == "docker":
        lines += [f"image     {plan.release.image}", f"mount     WORK -> {WORKSPACE} (read and write)",
                  "network   none", f"command   bash {WORKSPACE}/run.sh",
                  "user      root inside, files given back to HOST_UID:HOST_GID at the end"]
    lines += [f"get it    {plan.release.obtain}", "inputs"]
    lines += [f"  in/{name} <- {path}" for name, path in sorted(plan.inputs.items())]
    lines += [f"  in/{name} (written by dpuflow)" for name in sorted(plan.texts)]
    lines += ["products", *(f"  out/{name}" for name in plan.products)]
    if plan.elf_class:
        lines.append(f"  checked: ELF class {plan.elf_class} bit, ARM")
    lines += [f"note      {note}" for note in plan.notes]
    texts = [f"--- in/{name}\n{text.rstrip()}" for name, text in sorted(plan.texts.items())]
    return "\n".join([*lines, "--- run.sh", plan.script.rstrip(), *texts]) + "\n"
