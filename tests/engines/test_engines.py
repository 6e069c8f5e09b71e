"""The fast engine yields the reference engine's bits on every tensor; refusals and bad input."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.engines import open_engine, probes, selftest
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.litert.part import LITERT, LiteRTModel
from dpuflow.engines.parts import LibraryPart
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.engines.weighted_sums import effective_bias
from dpuflow.errors import ConfigError, EngineError, GraphError
from dpuflow.ir.graph import Fix, Graph, Node
from dpuflow.passes import FOR_DPU, run_passes

from engines.networks import LIBRARIES, branched_network, full_range_input, random_network


def every_tensor(graph: Graph) -> tuple[str, ...]:
    return tuple(node.name for node in graph.nodes if node.op not in ("input", "const"))


def assert_same_bits(graph: Graph, x: np.ndarray) -> None:
    names = every_tensor(graph)
    expected = ReferenceEngine(graph).run(x, names, int8=True)
    for libraries in ((LITERT,), LIBRARIES):
        got = FastEngine(graph, threads=1, libraries=libraries).run(x, names, int8=True)
        for name in names:
            assert np.array_equal(expected[name], got[name]), f"{libraries[0].name}, {name}: {graph.node(name)}"


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_fast_equals_reference_on_random_networks(seed):
    graph = random_network(seed)
    assert_same_bits(graph, full_range_input(graph, seed))


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_fast_equals_reference_where_maps_are_joined_moved_and_gated(seed):
    graph = branched_network(seed)
    x = full_range_input(graph, seed)
    assert_same_bits(graph, x)
    alone = FastEngine(graph, threads=1).run(x, ("logits",), int8=True)["logits"]  # only what the outputs need
    np.testing.assert_array_equal(alone, ReferenceEngine(graph).run(x, ("logits",), int8=True)["logits"])


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_forms_for_the_dpu_keep_every_bit(seed):
    graph = random_network(seed)
    lowered = run_passes(graph, FOR_DPU)
    x = full_range_input(graph, seed)
    shared = [name for name in every_tensor(graph) if name in lowered.by_name]
    assert "logits" in shared
    expected = ReferenceEngine(graph).run(x, shared, int8=True)
    got = ReferenceEngine(lowered).run(x, shared, int8=True)
    for name in shared:
        assert np.array_equal(expected[name], got[name]), name


def test_random_networks_use_the_fast_kernels():
    parts = [part for seed in range(30) for part in FastEngine(random_network(seed), threads=1).parts]
    assert sum(len(part.nodes) for part in parts if isinstance(part, LibraryPart)) > 60


@pytest.mark.parametrize("shift", range(0, 16))
@pytest.mark.parametrize("nonlinear", ["none", "relu"])
def test_ties_at_every_output_and_shift(shift, nonlinear):
    if nonlinear == "none" and shift == 15:
        pytest.skip("shift 15 without relu is refused by the fast engine")
    graph = probes.tie_graph((max(shift, 1), nonlinear))
    assert_same_bits(graph, probes.tie_input())


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=4), st.integers(0, 6), st.integers(0, 5),
       st.integers(-5000, 5000))
def test_effective_bias_is_exact(bias, finer, shift, acc):
    """floor((acc + bias) / 2**shift + 1/2) with the folded bias equals the exact rule."""
    folded = effective_bias(np.array(bias), finer, 0, shift)
    exact = [((acc << finer) + q + ((1 << (shift + finer)) >> 1)) >> (shift + finer) for q in bias]
    got = [(acc + int(b) + ((1 << shift) >> 1)) >> shift for b in folded]
    assert got == exact


def test_self_test_fails_without_the_nudge(monkeypatch):
    from dpuflow.engines.litert import segment

    monkeypatch.setattr(segment, "_NUDGE", np.float32(1))
    assert "differ" in next(selftest.failures())


@pytest.mark.parametrize("shift", range(10))
def test_leaky_ties_at_every_shift(shift):
    graph = probes.leaky_graph(shift)
    assert isinstance(FastEngine(graph, threads=1).parts[0], LibraryPart)
    assert_same_bits(graph, probes.leaky_input(shift))


@pytest.mark.parametrize("shift", range(10, 14))
def test_leaky_layers_beyond_exact_products_are_left_to_numpy(shift):
    """From shift 10 on, a float32 does not hold the negative side's products exactly (`litert.layers`)."""
    graph = probes.leaky_graph(shift)
    engine = FastEngine(graph, threads=1)
    assert "shift_cut" in engine.description
    assert not any(isinstance(part, LibraryPart) for part in engine.parts)
    assert_same_bits(graph, probes.leaky_input(shift))


@pytest.mark.parametrize(("kind", "name", "value"), [
    ("leaky_relu", "_LEAKY_FACTOR", np.float32(26 / 256)), ("leaky_relu", "_NEGATIVE_ZERO", 126),
    ("concat", "_SIGNED_ZERO", -127), ("add", "_SIGNED_ZERO", -127)])
def test_self_test_sees_wrong_numbers_of_each_kind(monkeypatch, kind, name, value):
    from dpuflow.engines.litert import segment

    assert list(selftest.failures([kind])) == []
    monkeypatch.setattr(segment, name, value)
    assert list(selftest.failures([kind]))


def test_self_test_probes_what_a_network_uses(monkeypatch):
    asked = []
    monkeypatch.setattr(selftest, "_passed", {"LiteRT": set()})
    monkeypatch.setattr(selftest.proofs, "keep", lambda *_: None)
    monkeypatch.setattr(selftest, "failures", lambda wanted, library: asked.append(sorted(wanted)) or [])
    for graph in (simple_graph(), probes.leaky_graph(8), probes.leaky_graph(9), probes.joined_graph()):
        selftest.self_test(graph)
    assert asked == [[], ["leaky_relu"], ["add", "concat"]]


def test_every_probe_passes():
    for library in LIBRARIES:
        assert list(selftest.failures(probes.BY_KIND, library)) == []


def test_fast_engine_refuses_when_the_self_test_fails(monkeypatch):
    monkeypatch.setattr(selftest, "_passed", {"LiteRT": set()})
    monkeypatch.setattr(selftest.proofs, "keep", lambda *_: None)
    monkeypatch.setattr(selftest, "failures", lambda wanted, library: ["ties: 3 of 9 values of 'y' differ"])
    with pytest.raises(EngineError, match=r"not exact on this CPU.*reference"):
        open_engine(random_network(0), "fast")


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_the_caller_s(threads):
    graph = random_network(2)
    x = full_range_input(graph, 2)
    engine = open_engine(graph, threads=threads)
    assert engine.first.threads == threads
    for name, value in open_engine(graph, "reference").run(x, int8=True).items():
        np.testing.assert_array_equal(engine.run(x, int8=True)[name], value)


def test_threads_are_the_process_s_cores_without_a_word(monkeypatch):
    for cores, threads in (({0}, 1), ({3, 5}, 2), (set(range(64)), 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda process, cores=cores: cores, raising=False)
        assert FastEngine(random_network(2)).threads == threads


@pytest.mark.parametrize(("engine", "threads", "reason"), [
    ("fast", 0, "not a number of threads"), ("fast", -2, "not a number of threads"),
    ("reference", 2, "this engine has one thread"), ("program", 2, "this engine has one thread")])
def test_threads_that_cannot_be_had_are_an_error(engine, threads, reason):
    with pytest.raises(ConfigError, match=reason):
        open_engine(random_network(2), engine, threads=threads)


def test_fast_engine_without_litert_names_the_way_out(monkeypatch):
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("litert.model", "litert.segment", "litert.layers", "litert.part", "fast", "selftest", "tuning"):
        monkeypatch.delitem(sys.modules, f"dpuflow.engines.{name}")
    with pytest.raises(EngineError, match=r"LiteRT cannot be imported.*--engine reference"):
        open_engine(random_network(0), "fast")


def test_description_names_layers_on_numpy():
    engine = FastEngine(random_network(1), threads=1)
    assert "probabilities (it computes in float)" in engine.description


def test_batches_of_different_sizes():
    graph = random_network(5)
    engine, x = FastEngine(graph, threads=1), full_range_input(graph, 5, batch=7)
    whole = engine.run(x, int8=True)
    for size in (1, 2, 7, 3, 5, 6, 4):
        part = engine.run(x[:size], int8=True)
        for name, value in whole.items():
            assert np.array_equal(part[name], value[:size])


def test_large_batches_run_in_parts():
    """Three images at once, and one left over; a constant that is asked for stays one."""
    graph = random_network(5)
    names = every_tensor(graph)
    x, constant = full_range_input(graph, 5, batch=7), next(node.name for node in graph.nodes if node.data is not None)
    whole = FastEngine(graph, threads=1).run(x, (*names, constant), int8=True)
    engine = FastEngine(graph, threads=1)
    engine.run(x[:1], (*names, constant), int8=True)
    for part in next(iter(engine.ready.values())):
        if isinstance(part, LiteRTModel):
            part.images_at_once = 3
    parts = engine.run(x, (*names, constant), int8=True)
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, strict=True)


def test_so_many_images_at_once_as_the_cache_holds():
    engine = FastEngine(probes.leaky_graph(8), threads=1)
    engine.run(probes.leaky_input(8)[:1], int8=True)
    (model,) = engine.prepared(("y",))
    assert model.images_at_once == 6 << 20


def simple_graph() -> Graph:
    return Graph("simple", (Node("x", "input", shape=(1, 2), fix=Fix(6)),
                            Node("y", "relu", ("x",), shape=(1, 2), fix=Fix(6))), ("y",))


def test_input_modes():
    engine = ReferenceEngine(simple_graph())
    x = np.array([[0.7, 1 / 128]], np.float32)
    assert engine.run(x, int8=True)["y"].tolist() == [[45, 1]]
    assert engine.run(x, int8=True, input_mode="runtime")["y"].tolist() == [[44, 0]]
    assert engine.run(np.array([[45, 1]], np.int8))["y"].tolist() == [[45 / 64, 1 / 64]]
    with pytest.raises(GraphError, match="outside the range"):
        engine.run(np.array([[2.5, 0]], np.float32), input_mode="runtime")


@pytest.mark.parametrize(("value", "message"), [
    (np.zeros((1, 3), np.float32), "shape does not fit"),
    (np.zeros((0, 2), np.float32), "shape does not fit"),
    (np.full((1, 2), np.nan, np.float32), "NaN"),
    (np.array([["a", "b"]]), "not an array of numbers"),
])
def test_bad_inputs(value, message):
    with pytest.raises(GraphError, match=message):
        ReferenceEngine(simple_graph()).run(value)


def test_unknown_engine_and_tensor():
    with pytest.raises(ConfigError, match="no such engine"):
        open_engine(simple_graph(), "quick")
    with pytest.raises(GraphError, match="did you mean"):
        ReferenceEngine(simple_graph()).run(np.zeros((1, 2), np.float32), ["yy"])
