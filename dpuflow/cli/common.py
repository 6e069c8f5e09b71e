"""What every command shares: errors become one line and exit code 1."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable

from dpuflow.errors import ConfigError, DpuError


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def run_command(prog: str, action: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run a command; a failure that the user can mend is one message, with ``--debug`` a traceback."""
    debug = bool(getattr(options, "debug", False))
    if not debug:
        warnings.showwarning = _show_warning  # type: ignore[assignment]  # one line instead of source text
    try:
        return action(options) or 0
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; nothing half-written was kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DpuError as error:
        if debug:
            raise
        print(f"{prog}: error: {error}", file=sys.stderr)
    except MemoryError:
        if debug:
            raise
        print(f"{prog}: error: out of memory. Remedy: use smaller batches or a smaller model", file=sys.stderr)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"{prog}: error: {where}{error.strerror or error}", file=sys.stderr)
    return 1


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Every command knows ``--debug``."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def names(text: str) -> tuple[str, ...]:
    """A comma list of node names; ``:0`` is dropped."""
    return tuple(part.strip().removesuffix(":0") for part in text.split(",") if part.strip())


def check_clock(mhz: float | None) -> float | None:
    """A clock in MHz as given; ConfigError for one that no DPU has."""
    if mhz is not None and not 1 <= mhz <= 2000:
        raise ConfigError("not a plausible clock", where="--mhz", got=mhz, expected="1 to 2000")
    return mhz
