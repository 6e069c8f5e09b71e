"""Find the core that a user means: a name, a fingerprint, a .dcf or an arch.json."""

from __future__ import annotations

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any

from dpuflow.errors import ConfigError
from dpuflow.formats.graphdef import read_bytes
from dpuflow.target.arch import Core
from dpuflow.target.dcf import read_dcf
from dpuflow.target.fingerprint import decode_fingerprint
from dpuflow.target.table import BOARDS, board_core, known_fingerprints, named_targets


def by_fingerprint(fingerprint: int) -> Core:
    """The named target of a fingerprint, or the core decoded from it."""
    return decode_fingerprint(fingerprint, known_fingerprints().get(fingerprint, ""))


def by_name(name: str) -> Core:
    """A board (any case) or a target name; ConfigError with close matches."""
    key = name.lower().replace("_", "-")
    if key in BOARDS:
        return board_core(key)
    targets = named_targets()
    if name in targets:
        return targets[name]
    close = difflib.get_close_matches(name, targets, n=4, cutoff=0.4)
    raise ConfigError("unknown target", where="--target", got=name,
                      expected="a board, a target name, 0x fingerprint, a .dcf or an arch.json",
                      remedy=f"did you mean {', '.join(close)}?" if close else "list them with `dpuflow targets`")


def _from_json(path: Path) -> Core:
    try:
        fields: Any = json.loads(read_bytes(path))
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"not JSON ({error})", where=path) from None
    if not isinstance(fields, dict):
        raise ConfigError("not an arch.json", where=path, expected='{"target": ...} or {"fingerprint": ...}')
    if "fingerprint" in fields:
        return by_fingerprint(_number(str(fields["fingerprint"]), path))
    if "dcf" in fields:
        dcf = Path(str(fields["dcf"]))
        return read_dcf(dcf if dcf.is_absolute() else path.parent / dcf)
    if "target" in fields:
        return by_name(str(fields["target"]))
    raise ConfigError("the arch.json names no core", where=path, got=", ".join(fields) or "nothing",
                      expected='"target", "fingerprint" or "dcf"')


def _number(text: str, where: object) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise ConfigError("not a fingerprint", where=where, got=text, expected="0x and 16 hexadecimal digits") from None


def find_target(text: str) -> Core:
    """The core named by ``zedboard``, a target's name, ``0x...``, or the path of a .dcf or arch.json."""
    if text.lower().startswith("0x"):
        return by_fingerprint(_number(text, "--target"))
    path = Path(text)
    if path.suffix == ".dcf":
        return read_dcf(path)
    if path.suffix == ".json":
        return _from_json(path)
    return by_name(text)


def renamed(core: Core, name: str) -> Core:
    """The same core under another name."""
    return dataclasses.replace(core, name=name)
