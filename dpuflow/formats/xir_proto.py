"""The protobuf messages of an XIR ``.xmodel`` file (xmodel specification, section 1)."""

from __future__ import annotations

from dpuflow.formats.detach import NUMBER_FIELD, Schema
from dpuflow.formats.protobuf import FieldRow, Table, messages

# AttrValue's oneof: field number, kind, and what it holds.
SCALARS = ((4, "bool"), (5, "int32"), (6, "uint32"), (7, "int64"), (8, "uint64"), (9, "float"), (10, "double"),
           (11, "string"))
VECTORS = ((13, "bool"), (14, "int32"), (15, "uint32"), (16, "int64"), (17, "uint64"), (18, "float"),
           (19, "double"), (20, "string"))
MAPS = ((22, "int32"), (23, "uint32"), (24, "int64"), (25, "uint64"), (26, "string"))
VECTOR_MAPS = ((28, "int32"), (29, "uint32"), (30, "int64"), (31, "uint64"), (32, "string"))


def _vector_message(kind: str) -> str:
    return f"{kind.title()}Vec"


def _attr_value_rows() -> tuple[FieldRow, ...]:
    rows: list[FieldRow] = [(number, f"{kind}_value", kind, "value") for number, kind in SCALARS]
    rows.append((12, "bytes_value", "Bytes", "value"))
    rows += [(number, f"{kind}_vec_value", _vector_message(kind), "value") for number, kind in VECTORS]
    rows.append((21, "bytes_vec_value", "BytesVec", "value"))
    rows += [(number, f"map_string_2_{kind}_value", f"MapString2{kind.title()}", "value") for number, kind in MAPS]
    rows.append((27, "map_string_2_bytes_value", "MapString2Bytes", "value"))
    rows += [(number, f"map_string_2_{kind}_vec_value", f"MapString2{kind.title()}Vec", "value")
             for number, kind in VECTOR_MAPS]
    return tuple(rows)


def _container_messages() -> dict[str, tuple[FieldRow, ...]]:
    made: dict[str, tuple[FieldRow, ...]] = {
        # A payload, or the number of one that was cut out before parsing (dpuflow.formats.detach).
        "Bytes": ((1, "value", "bytes"), (NUMBER_FIELD, "number", "uint32")),
    }
    for _, kind in VECTORS:
        label = "repeated" if kind == "string" else "packed"
        made[_vector_message(kind)] = ((1, "value", kind, label),)
    made["BytesVec"] = ((1, "value", "Bytes", "repeated"),)
    for _, kind in MAPS:
        made[f"MapString2{kind.title()}"] = ((1, "value", f"map<string,{kind}>"),)
    made["MapString2Bytes"] = ((1, "value", "map<string,Bytes>"),)
    for _, kind in VECTOR_MAPS:
        made[f"MapString2{kind.title()}Vec"] = ((1, "value", f"map<string,{_vector_message(kind)}>"),)
    return made


_TABLE: Table = {
    **_container_messages(),
    "AttrValue": _attr_value_rows(),
    "Tensor": (
        (1, "tensor_name", "string"), (2, "tensor_dim", "uint32", "packed"), (5, "data_type", "int32"),
        (6, "tensor_bit_width", "int32"), (10, "tensor_attr", "map<string,AttrValue>"),
    ),
    "OpArg": ((1, "arg_name", "string"), (2, "arg_ops", "string", "repeated")),
    "OPNode": (
        (1, "op_name", "string"), (2, "op_type", "string"), (3, "op_attr", "map<string,AttrValue>"),
        (4, "args", "OpArg", "repeated"), (5, "output_tensor", "Tensor"),
    ),
    "SubGraph": (
        (1, "subgraph_name", "string"), (3, "op_name", "string", "repeated"),
        (5, "subg_attr", "map<string,AttrValue>"), (10, "subg_child", "SubGraph", "repeated"),
    ),
    "OpArgDef": ((1, "name", "string"), (2, "occur_type", "int32"), (3, "data_type", "int32"),
                 (4, "annotation", "string")),
    "AttrDef": ((1, "name", "string"), (3, "occur_type", "int32"), (4, "default_value", "AttrValue"),
                (6, "list_length", "int32"), (7, "annotation", "string")),
    "OpDef": ((1, "name", "string"), (2, "input_args", "OpArgDef", "repeated"), (3, "attrs", "AttrDef", "repeated"),
              (4, "annotation", "string")),
    "Graph": (
        (1, "graph_name", "string"), (5, "op_node", "OPNode", "repeated"), (10, "subg_root", "SubGraph"),
        (11, "graph_attr", "map<string,AttrValue>"), (101, "op_defs", "OpDef", "repeated"),
    ),
}

def _schema(table: Table) -> Schema:
    """Which fields hold messages, a map's entries among them."""
    made: dict[str, dict[int, str]] = {}
    for name, rows in table.items():
        fields = made.setdefault(name, {})
        for number, field, kind, *_ in rows:
            if kind.startswith("map<"):
                fields[number] = f"{name}.{field}"
                made[f"{name}.{field}"] = {2: kind[4:-1].split(",")[1]}
            elif kind in table:
                fields[number] = kind
    return made


SCHEMA = _schema(_TABLE)
_MESSAGES = messages("dpuflow.xir", _TABLE)
Graph = _MESSAGES["Graph"]
AttrValue = _MESSAGES["AttrValue"]
