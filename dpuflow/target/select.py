"""Find the core that a user means: a name, a fingerprint, a .dcf, an arch.json or a target prototxt."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpuflow.errors import ConfigError
from dpuflow.files import read_bytes
from dpuflow.target.arch import Core, core_differences, core_fields
from dpuflow.target.dcf import read_dcf
from dpuflow.target.fingerprint import decode_fingerprint
from dpuflow.target.prototxt import read_prototxt
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


def _fields(path: Path) -> dict[str, Any]:
    """An arch.json's entries; ConfigError for anything else, and for an entry that stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ConfigError("an entry stands twice", where=path, got=twice)
        return dict(pairs)

    try:
        fields: Any = json.loads(read_bytes(path), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON ({error})", where=path) from None
    if not isinstance(fields, dict):
        raise ConfigError("not an arch.json", where=path, expected='{"target": ...} or {"fingerprint": ...}')
    return fields


_FAMILY = ("dpuv2", "dpuczdx8g")  # targets that name no core by themselves: the .dcf does


def _named(fields: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Core]]:
    """Every entry of an arch.json that names a core, the most exact first, and that core."""
    if "fingerprint" in fields:
        yield "fingerprint", by_fingerprint(_number(fields["fingerprint"], path))
    if "dcf" in fields:
        dcf = Path(str(fields["dcf"]))
        yield "dcf", read_dcf(dcf if dcf.is_absolute() else path.parent / dcf)
    if "target" in fields and not ("dcf" in fields and str(fields["target"]).lower() in _FAMILY):
        yield "target", by_name(str(fields["target"]))


def _check_stated(fields: Mapping[str, Any], core: Core, path: Path) -> None:
    """Entries that state a fact of the core beside its name must be true."""
    for key, true in core_fields(core).items():
        if key in fields and key not in ("name", "fingerprint", "board", "description"):
            stated = tuple(fields[key]) if isinstance(fields[key], list) else fields[key]
            if stated != true:
                raise ConfigError("the file contradicts itself", where=path, got=f"{key} {fields[key]}",
                                  expected=f"{true} on {core.name}")
    if fields.get("cpu_arch", "arm64") not in ("arm32", "arm64"):
        raise ConfigError("unknown cpu_arch", where=path, got=fields["cpu_arch"], expected="arm32 or arm64")


def _from_json(path: Path) -> Core:
    fields = _fields(path)
    named = list(_named(fields, path))
    if not named:
        raise ConfigError("the arch.json names no core", where=path, got=", ".join(fields) or "nothing",
                          expected='"target", "fingerprint" or "dcf"')
    (first, core), *others = named
    for entry, other in others:
        different = core_differences(core, other)
        if different:
            raise ConfigError("the file contradicts itself", where=path, got=f'"{entry}" differs from "{first}"',
                              expected="one core: " + "; ".join(different[:4]), remedy=f'leave out "{entry}"')
    _check_stated(fields, core, path)
    return core


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
    """The core named by ``zedboard``, a target's name, ``0x...``, or a .dcf, arch.json or target prototxt's path."""
    if text.lower().startswith("0x"):
        return by_fingerprint(_number(text, "--target"))
    path = Path(text)
    if path.suffix.lower() == ".dcf":
        return read_dcf(path)
    if path.suffix.lower() == ".prototxt":
        return read_prototxt(path)
    if path.suffix.lower() == ".json":
        return _from_json(path)
    return by_name(text)
