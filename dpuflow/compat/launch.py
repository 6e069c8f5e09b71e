"""Run a Python program with the stand-ins on its path, in this process."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from dpuflow.compat import vart_runner
from dpuflow.errors import ConfigError

MODULES = Path(__file__).with_name("modules")
NAMES = tuple(sorted(path.stem for path in MODULES.glob("[a-z]*.py")))


def real_modules() -> list[str]:
    """Which of the vendor's modules are really installed here."""
    return [name for name in NAMES if importlib.util.find_spec(name) is not None]


def run_program(program: Path, arguments: Sequence[str], *, strict: bool = False, engine: str = "fast") -> None:
    """Run ``program`` as ``python program arguments`` would, with ``vart``, ``xir`` ... standing in.

    ConfigError when it cannot be found, or when the real modules are installed: they are never
    hidden.
    """
    if not program.is_file():
        raise ConfigError("no such program", where=program)
    real = real_modules()
    if real:
        raise ConfigError("the vendor's modules are installed here and are never replaced", got=", ".join(real),
                          remedy="run the program without `dpuflow compat run`")
    vart_runner.configure(strict=strict, engine=engine)
    saved = sys.argv, sys.path[:]
    sys.argv = [str(program), *arguments]
    sys.path[:] = [str(program.resolve().parent), *sys.path, str(MODULES)]
    try:
        runpy.run_path(str(program), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = saved
        for name in NAMES:
            sys.modules.pop(name, None)
