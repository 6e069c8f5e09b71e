"""A comparison as text and as JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from dpuflow.compare.differences import Comparison, TensorDifference

_MOST = 12  # lines of one kind in the text


def _largest(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_json(comparison: Comparison) -> dict[str, Any]:
    """JSON values; ``first_difference`` is the first tensor in order at which the two part."""
    values = dataclasses.asdict(comparison) | {"equal": comparison.equal}
    for key in ("parameters", "bits"):
        values[key] = None if values[key] is None else [
            row | {"largest": _largest(row["largest"])} for row in values[key]]
    values["first_difference"] = comparison.bits[0].name if comparison.bits else None
    return values


def _tensor(row: TensorDifference) -> str:
    other = f" / {row.other}" if row.other != row.name else ""
    return row.name + other + ": " + (row.note or f"{row.different} of {row.values} values, largest {row.largest:g}")


def _some(title: str, lines: list[str]) -> list[str]:
    more = [f"  ... and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return [f"{title}:", *("  " + line for line in lines[:_MOST]), *more] if lines else []


def as_text(comparison: Comparison) -> str:
    """The comparison for a terminal."""
    c = comparison
    lines = [f"{c.first} ({c.kinds[0]})", f"{c.second} ({c.kinds[1]})"]
    lines += _some("cores differ", list(c.cores)) + _some("only in the first", list(c.only_first))
    lines += _some("only in the second", list(c.only_second)) + _some("structure differs", list(c.structure))
    lines += _some("positions differ", list(c.positions))
    lines += _some("parameters differ", [_tensor(row) for row in c.parameters])
    if c.bits:
        lines += [f"they part at {c.bits[0].name}, the first of {len(c.bits)} differing tensors",
                  *_some("tensors differ", [_tensor(row) for row in c.bits])]
    lines += list(c.notes)
    ran = "nothing was run: give --input" if c.bits is None else f"{c.compared_tensors} tensors"
    verdict = "no difference in" if c.equal else "compared"
    lines.append(f"{verdict} structure, {c.compared_parameters} parameters, positions; {ran}")
    return "\n".join(lines) + "\n"
