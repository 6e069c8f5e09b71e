"""Files of release 1.x in the form of later releases (xmodel specification, section 7).

The vendor's XIR 2.0 and later refuse such files. What changed: enumerations were numbers, ``group``
was 64 bits wide, constants stated neither shape nor type, and avgpool2d was called avgpool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from dpuflow.errors import UnsupportedOp
from dpuflow.formats.xir import XGraph, XOp, XValue

# By number, in the order in which later releases list them; only 0 and 1 are certain.
_ENUMERATIONS: Mapping[str, tuple[str, ...]] = {
    "nonlinear": ("NONE", "RELU"),
    "type": ("MAX", "AVG"),
    "pad_mode": ("FLOOR", "CEIL", "SAME", "VALID"),
}
_ELTWISE_TYPES = ("ADD", "MUL")
_NAMES = {"avgpool": "avgpool2d", "maxpool": "maxpool2d"}
_NUMBERS = ("int32", "uint32", "int64", "uint64")


def _text(op: XOp, key: str, number: int) -> XValue:
    names = _ELTWISE_TYPES if key == "type" and op.type.startswith("eltwise") else _ENUMERATIONS[key]
    if not 0 <= number < len(names):
        raise UnsupportedOp(f"a number of release 1.x for '{key}' whose meaning is not known",
                            where=f"operator '{op.name}' ({op.type})", got=number,
                            expected=", ".join(f"{at} {name}" for at, name in enumerate(names)))
    return XValue("string", names[number])


def _attrs(op: XOp) -> dict[str, XValue]:
    attrs = dict(op.attrs)
    for key, value in op.attrs.items():
        if key in _ENUMERATIONS and value.kind in _NUMBERS:
            attrs[key] = _text(op, key, value.value)
        elif key == "group" and value.kind == "int64":
            attrs[key] = XValue("int32", value.value)
    if op.type in ("const", "const-fix", "data", "data-fix"):
        attrs.setdefault("shape", XValue("int32_vec", tuple(op.tensor.dims)))
        attrs.setdefault("data_type", XValue("string", f"{op.tensor.data_type}{op.tensor.bits}"))
    return attrs


def is_old(graph: XGraph) -> bool:
    """Whether a file is of release 1.x."""
    return any(
        (op.type in ("const", "const-fix") and not {"shape", "data_type"} & set(op.attrs) and "data" in op.attrs)
        or op.type in _NAMES or any(op.attrs[key].kind in _NUMBERS for key in _ENUMERATIONS if key in op.attrs)
        for op in graph.ops)


def modernised(graph: XGraph) -> XGraph:
    """The same network as later releases write it; UnsupportedOp for a number whose meaning is not known."""
    return dataclasses.replace(graph, ops=tuple(
        dataclasses.replace(op, type=_NAMES.get(op.type, op.type), attrs=_attrs(op)) for op in graph.ops))
