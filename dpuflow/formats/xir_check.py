"""What the vendor's loader and runtime demand of an xmodel, checked (xmodel specification, sections 2, 4 and 6).

libxir aborts or crashes where a rule is broken and does not say which; VART finds tensors by name
and addresses. Everything this library writes passes these rules; ``dpuflow show`` applies
them to every xmodel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dpuflow.errors import GraphError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XValue
from dpuflow.formats.xir_defs import DPU_SUBGRAPH, FIX_ATTRS, PLACE_ATTRS, XIR_OPS, AttrDef

_NONLINEAR = ("", "NONE", "RELU", "PRELU", "LEAKYRELU", "RELU6", "HSIGMOID", "HSWISH")
_MODES: Mapping[str, tuple[str, ...]] = {"nonlinear": _NONLINEAR, "pad_mode": ("FLOOR", "CEIL", "SAME", "VALID")}
_MAX_REGISTERS = 256


def dense_strides(dims: Sequence[int]) -> tuple[int, ...]:
    """Element strides of a dense tensor."""
    strides, step = [], 1
    for size in reversed(dims):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _attributes(attrs: Mapping[str, XValue], defined: Iterable[AttrDef]) -> Iterator[str]:
    for rule in defined:
        if rule.name not in attrs:
            if rule.required:
                yield f"the required attribute '{rule.name}' ({rule.kind}) is missing"
            continue
        value = attrs[rule.name]
        if value.kind != rule.kind:
            yield f"attribute '{rule.name}' has kind {value.kind}, a loader expects {rule.kind}"
        elif rule.length and len(value.value) != rule.length:
            yield f"attribute '{rule.name}' has {len(value.value)} entries, {rule.length} are expected"
        elif rule.name in _MODES and value.value not in _MODES[rule.name]:
            yield f"attribute '{rule.name}' is {value.value!r}, one of {', '.join(filter(None, _MODES[rule.name]))} " \
                  "is expected"


def _arguments(op: XOp) -> Iterator[str]:
    known = {arg.name: arg for arg in XIR_OPS[op.type].args}
    for name in op.args:
        if name not in known:
            yield f"an argument '{name}' that {op.type} does not have"
    for arg in known.values():
        count = len(op.args.get(arg.name, ()))
        if not arg.fewest <= count <= arg.most:
            yield f"argument '{arg.name}' has {count} operands"


def _operator(op: XOp) -> Iterator[str]:
    if op.type in XIR_OPS:
        yield from _arguments(op)
        yield from _attributes(op.attrs, XIR_OPS[op.type].attrs)
    else:
        kinds = {key: op.attrs[key].kind if key in op.attrs else "none" for key in ("shape", "data_type")}
        if kinds != {"shape": "int32_vec", "data_type": "string"}:
            yield f"{op.type} is no built-in type, so it must state shape (int32_vec) and data_type (string)"
    if op.tensor.data_type == "XINT":
        yield from (f"tensor: {text}" for text in _attributes(op.tensor.attrs, FIX_ATTRS))
    yield from (f"tensor: {text}" for text in _attributes(
        op.tensor.attrs, (AttrDef(rule.name, rule.kind, False, rule.length) for rule in PLACE_ATTRS)))


def _duplicates(names: Iterable[str], what: str) -> Iterator[str]:
    yield from (f"{what} '{name}' occurs {count} times" for name, count in Counter(names).items() if count > 1)


def _order(graph: XGraph) -> Iterator[str]:
    seen: set[str] = set()
    for op in graph.ops:
        for operand in (name for names in op.args.values() for name in names):
            if operand not in seen:
                yield f"operator '{op.name}': its operand '{operand}' does not stand before it"
        seen.add(op.name)


def _subgraphs(subgraph: XSubgraph) -> Iterator[XSubgraph]:
    yield subgraph
    for child in subgraph.children:
        yield from _subgraphs(child)


def _tree(graph: XGraph, root: XSubgraph) -> Iterator[str]:
    every = list(_subgraphs(root))
    for subgraph in every:
        if bool(subgraph.ops) == bool(subgraph.children):
            yield f"subgraph '{subgraph.name}' must hold either operators or children"
    held = [name for leaf in root.leaves() for name in leaf.ops]
    yield from _duplicates(held, "in the subgraphs, operator")
    names = {op.name for op in graph.ops}
    yield from (f"operator '{name}' is in no subgraph" for name in sorted(names - set(held)))
    yield from (f"the subgraphs hold '{name}', which is no operator" for name in sorted(set(held) - names))


def _names(subgraph: XSubgraph, key: str) -> tuple[str, ...]:
    """The keys of an attribute that is a map; none if it is not."""
    value = subgraph.get(key)
    return tuple(value) if isinstance(value, dict) else ()


def _children(graph: XGraph, root: XSubgraph) -> Iterator[str]:
    for child in root.children:
        where = f"subgraph '{child.name}'"
        device = child.get("device")
        if device not in ("USER", "CPU", "DPU"):
            yield f"{where}: device is {device!r}, one of USER, CPU, DPU is expected"
        if device == "CPU" and "run" not in _names(child, "runner"):
            yield f"{where}: no runner, so VART would skip it"
        for name in (name for leaf in child.leaves() for name in leaf.ops if name in graph.by_name):
            if graph.by_name[name].get("device") != device:
                yield f"operator '{name}': its device is not that of its {where}"


def _place(op: XOp) -> dict[str, object] | None:
    attrs = op.tensor.attrs
    if not all(key in attrs for key in ("reg_id", "ddr_addr", "location")):
        return None
    return {key: attrs[key].value for key in attrs}


def _boundary(op: XOp, what: str, sizes: Mapping[str, int]) -> Iterator[str]:
    """The rules for a tensor through which the host talks to the DPU."""
    place = _place(op)
    if place is None:
        yield f"{what} '{op.name}': its tensor has no reg_id, ddr_addr and location"
        return
    if place["location"] != 1:
        yield f"{what} '{op.name}': location is {place['location']}, 1 (DDR) is expected"
    dense = dense_strides(op.tensor.dims)
    if place.get("stride") != dense:
        yield f"{what} '{op.name}': stride is {place.get('stride')}, the dense {dense} is expected"
    if f"REG_{place['reg_id']}" not in sizes:
        yield f"{what} '{op.name}': register REG_{place['reg_id']} has no size"


def _inputs(graph: XGraph, inside: Mapping[str, XOp], sizes: Mapping[str, int]) -> Iterator[str]:
    readers: dict[str, list[XOp]] = {}
    for op in inside.values():
        for name in (name for names in op.args.values() for name in names):
            if name not in inside and name in graph.by_name:
                readers.setdefault(name, []).append(op)
    for name, reading in readers.items():
        if _place(graph.by_name[name]) is not None:
            continue
        uploads = [op for op in reading if op.type == "upload"]
        if len(uploads) != 1 or len(reading) != 1:
            yield f"input '{name}': it has no address and feeds {len(uploads)} uploads of {len(reading)} readers"
        yield from (text for op in uploads for text in _boundary(op, "upload", sizes))


def _outputs(graph: XGraph, inside: Mapping[str, XOp], sizes: Mapping[str, int]) -> Iterator[str]:
    outside = (op for op in graph.ops if op.name not in inside)
    read = {name for op in outside for names in op.args.values() for name in names if name in inside}
    for op in (inside[name] for name in sorted(read)):
        operand = next(iter(op.args.get("input", ())), "")
        source = inside.get(operand, op) if op.type == "download" else op
        yield from _boundary(source, "output", sizes)


def _memory(inside: Mapping[str, XOp], sizes: Mapping[str, int], blobs: Mapping[str, bytes]) -> Iterator[str]:
    for op in inside.values():
        place = _place(op)
        if place is None:
            continue
        register, start = f"REG_{place['reg_id']}", place["ddr_addr"]
        size = 1
        for length in op.tensor.dims:
            size *= length
        if place["location"] == 1 and isinstance(start, int) and not 0 <= start <= sizes.get(register, 0) - size:
            yield f"operator '{op.name}': bytes {start}..{start + size} lie outside {register} ({sizes.get(register)})"
        if op.type == "const-fix" and register not in blobs:
            yield f"operator '{op.name}': register {register} carries no parameters"


def _registers(part: XSubgraph) -> Iterator[str]:
    kinds, sizes = dict(part.get("reg_id_to_context_type")), dict(part.get("reg_id_to_size"))
    blobs = part.get("reg_id_to_parameter_value")
    data = [register for register, kind in kinds.items() if kind == "DATA"]
    if len(kinds) > _MAX_REGISTERS:
        yield f"{len(kinds)} registers, fewer than {_MAX_REGISTERS} are possible"
    if sum(sizes.get(register, 0) for register in data) <= 0:
        yield "its data registers have no size"
    yield from (f"register {register} has no size" for register in data if register not in sizes)
    for register in (register for register, kind in kinds.items() if kind == "CONST"):
        if register not in blobs:
            yield f"register {register} is CONST and carries no parameters"
        elif register in sizes and len(blobs[register]) != sizes[register]:
            yield f"register {register} has {sizes[register]} bytes by its size, {len(blobs[register])} by its content"


def _dpu(graph: XGraph, part: XSubgraph) -> Iterator[str]:
    broken = list(_attributes(part.attrs, DPU_SUBGRAPH))
    if not part.children:
        broken.append("it is a leaf; its layers must be its children")
    if not broken and "run" not in part.get("runner"):
        broken.append("its runner names no library for 'run'")
    if not broken:
        inside = {name: graph.by_name[name] for leaf in part.leaves() for name in leaf.ops if name in graph.by_name}
        sizes = part.get("reg_id_to_size")
        broken += [*_registers(part), *_inputs(graph, inside, sizes), *_outputs(graph, inside, sizes),
                   *_memory(inside, sizes, part.get("reg_id_to_parameter_value"))]
    yield from (f"subgraph '{part.name}': {text}" for text in broken)


def _batches(graph: XGraph) -> Iterator[str]:
    sizes = {op.tensor.dims[0] for op in graph.ops if op.type in ("upload", "download") and op.tensor.dims}
    if len(sizes) > 1:
        yield f"the DPU's tensors have different batch sizes: {', '.join(map(str, sorted(sizes)))}"


def broken_rules(graph: XGraph) -> tuple[str, ...]:
    """Every rule of a loader, and for compiled files of VART, that a graph breaks, in words."""
    found = [*_duplicates((op.name for op in graph.ops), "operator"),
             *_duplicates((op.tensor.name for op in graph.ops), "tensor"), *_order(graph)]
    found += [f"operator '{op.name}' ({op.type}): {text}" for op in graph.ops for text in _operator(op)]
    if graph.root is not None:
        found += _tree(graph, graph.root)
    if graph.root is not None and graph.dpu_subgraphs:
        found += _children(graph, graph.root)
        found += [text for part in graph.dpu_subgraphs for text in _dpu(graph, part)]
        found += _batches(graph)
    return tuple(found)


def require_loadable(graph: XGraph, where: object = "xmodel") -> XGraph:
    """The graph, if a vendor's loader would take it; GraphError with the first broken rule else."""
    found = broken_rules(graph)
    if found:
        raise GraphError(f"the vendor's loader would refuse this file: {found[0]}", where=where,
                         got=f"{len(found)} broken rules")
    return graph
