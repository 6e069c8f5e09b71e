"""Where tensors lie: nothing overlaps, parameters are where the file says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.compiled import Compiled
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.memory import INPUTS, OUTPUTS, PARAMETERS, WORKSPACE, dense_strides, memory_map, ohwi
from dpuflow.compiler.xmodel import check_sizes, to_xir
from dpuflow.target.select import find_target

from engines.networks import random_network

CORES = [find_target(name) for name in ("zedboard", "DPUCZDX8G_ISA1_B4096", "DPUCZDX8G_ISA0_B512_MIN")]


def maps(compiled: Compiled):
    for kernel in compiled.dpu_kernels:
        yield kernel, memory_map(compiled.graph, kernel.nodes, kernel.inputs, kernel.outputs)


def size_of(compiled: Compiled, name: str) -> int:
    return int(np.prod(compiled.graph.by_name[name].shape))


@given(st.integers(0, 10**6), st.sampled_from(CORES))
@settings(max_examples=40)
def test_tensors_do_not_overlap(seed, core):
    compiled = compile_graph(random_network(seed, 5), core, "net")
    for kernel, memory in maps(compiled):
        taken: dict[int, list[tuple[int, int, str]]] = {}
        for name, place in memory.places.items():
            node = compiled.graph.by_name[name]
            if node.op == "reshape" and place == memory.places.get(node.inputs[0]):
                continue  # the same bytes under another shape
            taken.setdefault(place.register, []).append((place.offset, size_of(compiled, name), name))
        for register, spans in taken.items():
            spans.sort()
            for (start, size, name), (following, *_) in itertools.pairwise(spans):
                assert start + size <= following, f"{name} in register {register}"
            assert spans[-1][0] + spans[-1][1] <= memory.sizes_bytes[register]
        assert {name for name, place in memory.places.items() if place.register == INPUTS} >= set(kernel.inputs)
        assert all(memory.places[name].register == OUTPUTS for name in kernel.outputs)
        assert all(memory.sizes_bytes[register] % 16 == 0 for register in (WORKSPACE, INPUTS, OUTPUTS))


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_parameters_lie_at_their_addresses_packed_in_order(seed):
    compiled = compile_graph(random_network(seed), CORES[0], "net")
    graph = to_xir(compiled)
    total = 0
    for kernel, memory in maps(compiled):
        at = 0
        for name in dict.fromkeys(x for node in kernel.nodes for x in compiled.graph.by_name[node].inputs):
            data = compiled.graph.by_name[name].data
            if data is None:
                continue
            place, stored = memory.places[name], ohwi(data).tobytes()
            assert (place.register, place.offset) == (PARAMETERS, at)
            assert memory.parameters[at:at + len(stored)] == stored
            at += len(stored)
        assert at == len(memory.parameters) == memory.sizes_bytes[PARAMETERS]
        total += at
    assert check_sizes(graph) == total


@given(st.integers(0, 10**6), st.sampled_from(CORES))
@settings(max_examples=20)
def test_the_file_tells_the_places(seed, core):
    compiled = compile_graph(random_network(seed), core, "net")
    graph = to_xir(compiled)
    for kernel, memory in maps(compiled):
        subgraph = next(part for part in graph.dpu_subgraphs if part.name == f"subgraph_{kernel.name}")
        sizes = subgraph.get("reg_id_to_size")
        assert sizes == {f"REG_{register}": size for register, size in memory.sizes_bytes.items() if size}
        assert set(subgraph.get("reg_id_to_context_type")) == set(sizes)
        for name in kernel.nodes:
            attrs = graph.by_name[name].tensor.attrs
            assert (attrs["reg_id"].value, attrs["ddr_addr"].value) == (
                memory.places[name].register, memory.places[name].offset)
            assert attrs["stride"].value == dense_strides(graph.by_name[name].tensor.dims)


@pytest.mark.parametrize(("shape", "strides"), [((), ()), ((5,), (1,)), ((2, 3, 4, 5), (60, 20, 5, 1)),
                                                ((1, 7, 9, 3), (189, 27, 3, 1))])
def test_dense_strides(shape, strides):
    assert dense_strides(shape) == strides


def test_weights_are_stored_ohwi():
    weights = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert ohwi(weights).shape == (5, 2, 3, 4)
    assert ohwi(weights)[4, 1, 2, 3] == weights[1, 2, 3, 4]
    assert ohwi(weights).flags["C_CONTIGUOUS"]
    assert ohwi(np.arange(3)).tolist() == [0, 1, 2]
