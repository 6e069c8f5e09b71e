"""Find the core that a user means: a name, a fingerprint, a .dcf or an arch.json."""

from __future__ import annotations

import difflib
import json
import re
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
    close = difflib.get_close_matches(name.upper(), targets, n=4, cutoff=0.4) or difflib.get_close_matches(key, BOARDS)
    raise ConfigError("unknown target", where="--target", got=name,
                      expected="a board, a target name, 0x fingerprint, a .dcf or an arch.json",
                      remedy=f"did you mean {', '.join(close)}?" if close else "list them with `dpuflow targets`")


def _from_json(path: Path) -> Core:
    try:
        fields: Any = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON ({error})", where=path) from None
    if not isinstance(fields, dict):
        raise ConfigError("not an arch.json", where=path, expected='{"target": ...} or {"fingerprint": ...}')
    if "fingerprint" in fields:
        return by_fingerprint(_number(fields["fingerprint"], path))
    if "dcf" in fields:
        dcf = Path(str(fields["dcf"]))
        return read_dcf(dcf if dcf.is_absolute() else path.parent / dcf)
    if "target" in fields:
        return by_name(str(fields["target"]))
    raise ConfigError("the arch.json names no core", where=path, got=", ".join(fields) or "nothing",
                      expected='"target", "fingerprint" or "dcf"')


def _number(value: object, where: object) -> int:
    """A fingerprint: hexadecimal text, or a number as JSON writes it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,16}", text):
        raise ConfigError("not a fingerprint", where=where, got=text[:40],
                          expected="0x and up to 16 hexadecimal digits")
    return int(text, 16)


def find_target(text: str) -> Core:
    """The core named by ``zedboard``, a target's name, ``0x...``, or the path of a .dcf or arch.json."""
    if text.lower().startswith("0x"):
        return by_fingerprint(_number(text, "--target"))
    path = Path(text)
    if path.suffix.lower() == ".dcf":
        return read_dcf(path)
    if path.suffix.lower() == ".json":
        return _from_json(path)
    return by_name(text)
