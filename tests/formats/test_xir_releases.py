"""Compiled files of other releases: how they pack parameters, and what release 1.x wrote differently."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import to_xir
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import UnsupportedOp
from dpuflow.formats.xir import XGraph, XOp, XValue, parse_xmodel, serialize_xmodel
from dpuflow.formats.xir_check import broken_rules
from dpuflow.formats.xir_import import import_xir, parameter_arrays
from dpuflow.formats.xir_old import is_old, modernised
from dpuflow.target.select import find_target

from engines.networks import full_range_input, random_network

SEEDS = (3, 8, 11)


def compiled(seed: int) -> XGraph:
    return to_xir(compile_graph(random_network(seed), find_target("DPUCZDX8G_ISA0_B4096_MAX_BG2"), "net"))


def logits(graph: XGraph, seed: int) -> np.ndarray:
    network = import_xir(parse_xmodel(serialize_xmodel(graph)))
    return ReferenceEngine(network).run(full_range_input(random_network(seed), seed), ["logits"], int8=True)["logits"]


def aligned(graph: XGraph) -> XGraph:
    """Release 3.0: bias before weights, each tensor on 4096, in the register of its own subgraph."""
    arrays, moved, parts = parameter_arrays(graph), dict[str, int](), []
    for part in graph.root.children:
        if part.get("device") != "DPU":
            parts.append(part)
            continue
        names = [name for leaf in part.leaves() for name in leaf.ops if graph.by_name[name].type == "const-fix"]
        blob = b""
        for name in reversed(names):
            moved[name] = len(blob)
            data = arrays[name].tobytes()
            blob += data + b"\x55" * (-len(data) % 4096)
        attrs = {**part.attrs, "reg_id_to_parameter_value": XValue("map_string_2_bytes", {"REG_0": blob})}
        parts.append(dataclasses.replace(part, attrs=attrs))
    ops = tuple(op if op.name not in moved else dataclasses.replace(op, tensor=dataclasses.replace(
        op.tensor, attrs={**op.tensor.attrs, "ddr_addr": XValue("int32", moved[op.name])})) for op in graph.ops)
    return dataclasses.replace(graph, ops=ops, root=dataclasses.replace(graph.root, children=tuple(parts)))


@pytest.mark.parametrize("seed", SEEDS)
def test_both_packings_hold_the_same_network(seed):
    tight = compiled(seed)
    moved = aligned(tight)
    assert not any(op.get("data") for op in moved.ops if op.type == "const-fix" and op.get("device") == "DPU")
    assert {name: array.tolist() for name, array in parameter_arrays(moved).items()} == {
        name: array.tolist() for name, array in parameter_arrays(tight).items()}
    assert np.array_equal(logits(moved, seed), logits(tight, seed))


def first_addresses(graph: XGraph) -> list[int]:
    """The lowest parameter address of each DPU subgraph that has parameters."""
    held = [[graph.by_name[name] for leaf in part.leaves() for name in leaf.ops] for part in graph.dpu_subgraphs]
    return [min(op.tensor.attrs["ddr_addr"].value for op in ops if op.type == "const-fix")
            for ops in held if any(op.type == "const-fix" for op in ops)]


def test_each_subgraph_has_a_register_of_its_own():
    """Equal addresses in two DPU subgraphs are no clash (xmodel specification, section 6)."""
    core = find_target("DPUCZDX8G_ISA0_B512_MIN")
    made = ((seed, to_xir(compile_graph(random_network(seed), core, "net"))) for seed in range(60))
    seed, graph = next((seed, graph) for seed, graph in made if len(first_addresses(graph)) > 1)
    assert first_addresses(graph)[:2] == [0, 0]
    assert np.array_equal(logits(graph, seed), logits(aligned(graph), seed))


NUMBERS = {"NONE": 0, "RELU": 1, "FLOOR": 0, "MAX": 0, "AVG": 1, "ADD": 0, "MUL": 1}


def first_release(graph: XGraph) -> XGraph:
    """Release 1.2: numbers for words, constants in clear and without shape, a group of 64 bits."""
    arrays = parameter_arrays(graph)

    def old(op: XOp) -> XOp:
        attrs = {}
        for key, value in op.attrs.items():
            if key in ("nonlinear", "type", "pad_mode") and value.value in NUMBERS:
                attrs[key] = XValue("int32", NUMBERS[value.value])
            elif key == "group":
                attrs[key] = XValue("int64", value.value)
            elif not (op.type == "const-fix" and key in ("shape", "data_type")):
                attrs[key] = value
        if op.type == "const-fix":
            attrs["data"] = XValue("bytes", arrays[op.name].tobytes())
        return dataclasses.replace(op, attrs=attrs)

    return dataclasses.replace(graph, ops=tuple(map(old, graph.ops)),
                               attrs={**graph.attrs, "tools_commit_id": XValue("string", "1.2")})


def plain(seed: int) -> XGraph:
    """A compiled network without relu6 and leaky relu, whose numbers in release 1.x are not known."""
    graph = random_network(seed)
    nodes = (node.replace(attrs=dataclasses.replace(node.attrs, nonlinear="relu"))
             if getattr(node.attrs, "nonlinear", "none") not in ("none", "relu") else node for node in graph.nodes)
    return to_xir(compile_graph(graph.replace(nodes), find_target("DPUCZDX8G_ISA0_B4096_MAX_BG2"), "net"))


@pytest.mark.parametrize("seed", SEEDS)
def test_files_of_release_1_are_read_with_a_word_on_what_changed(seed):
    new = plain(seed)
    old = first_release(new)
    assert is_old(old)
    assert not is_old(new)
    assert any("shape" in text for text in broken_rules(old))
    with pytest.warns(UserWarning, match=r"made by release 1\.x .enumerations as numbers, constants without shape"):
        read = logits(old, seed)
    assert np.array_equal(read, logits(new, seed))


def test_the_later_form_is_one_that_later_releases_take():
    old = first_release(plain(3))
    again = modernised(old)
    assert broken_rules(again) == ()
    assert {op.get("nonlinear") for op in again.ops if op.type == "conv2d-fix"} <= {"NONE", "RELU"}


def test_a_number_whose_meaning_is_not_known():
    old = first_release(plain(3))
    ops = tuple(dataclasses.replace(op, attrs={**op.attrs, "nonlinear": XValue("int32", 4)})
                if op.type == "conv2d-fix" else op for op in old.ops)
    with (pytest.warns(UserWarning, match="release 1.x"),
          pytest.raises(UnsupportedOp, match="'nonlinear'.*expected 0 NONE, 1 RELU, got 4")):
        import_xir(dataclasses.replace(old, ops=ops))


def test_a_file_without_subgraphs():
    graph = dataclasses.replace(plain(3), root=None)
    clear = first_release(plain(3))
    ops = tuple(dataclasses.replace(op, attrs=clear.by_name[op.name].attrs | op.attrs | (
        {"data": clear.by_name[op.name].attrs["data"]} if op.type == "const-fix" else {})) for op in graph.ops)
    assert np.array_equal(logits(dataclasses.replace(graph, ops=ops), 3), logits(plain(3), 3))
