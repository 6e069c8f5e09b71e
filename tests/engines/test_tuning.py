"""The engine called "fast": LiteRT first, the faster library later, the same bits throughout."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from dpuflow.engines import choices, open_engine, remembered, tuning
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.engines.tuning import TunedEngine
from dpuflow.errors import EngineError
from dpuflow.ir.graph import Graph

from engines.networks import full_range_input, random_network

GRAPH = random_network(3)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Paced:
    """A second engine with the right answers, or others, that takes as long as it is told."""

    def __init__(self, slow_s: float = 0.0, wrong: bool = False) -> None:
        self.engine, self.slow_s, self.wrong, self.calls = FastEngine(GRAPH, threads=1), slow_s, wrong, 0
        self.description, self.threads, self.name, self.graph = "fast: paced kernels", 1, "fast", GRAPH

    def compute(self, values, wanted):
        self.calls += 1
        time.sleep(self.slow_s)
        made = dict(self.engine.compute(values, wanted))
        if self.wrong:
            made[wanted[0]] = made[wanted[0]] + 1
        return made

    compute_alone = compute


@pytest.fixture
def tuned(monkeypatch):
    def make(second: Paced, first_s: float = 0.0) -> TunedEngine:
        monkeypatch.setattr(tuning, "openvino_engine", lambda graph, threads: second)
        monkeypatch.setattr(tuning, "WORTH_S", -1.0)
        engine = TunedEngine(GRAPH, threads=1)
        engine.first = Paced(first_s)
        return engine
    return make


def test_the_faster_library_stays(tuned):
    second, x = Paced(), full_range_input(GRAPH, 1)
    engine = tuned(second, first_s=0.02)
    first = engine.run(x, int8=True)
    calls = second.calls
    again = engine.run(x, int8=True)
    assert second.calls == calls + 1  # the first run decided
    for name, value in first.items():
        np.testing.assert_array_equal(again[name], value, strict=True)
    assert "paced kernels (batches of 3)" in engine.description


def test_litert_stays_where_it_is_faster(tuned):
    second, x = Paced(slow_s=0.02), full_range_input(GRAPH, 1)
    engine = tuned(second)
    engine.run(x)
    calls = second.calls
    engine.run(x)
    assert second.calls == calls > 1
    assert engine.second is None  # its memory is free again
    assert "(batches" not in engine.description


def test_each_size_of_batch_decides_for_itself(tuned):
    second, x = Paced(), full_range_input(GRAPH, 1)
    engine = tuned(second, first_s=0.02)
    engine.run(x)
    engine.run(x[:2])
    assert sorted(batch for _, batch in engine.uses) == [2, 3]
    assert "(batches of 2, 3)" in engine.description


@pytest.mark.parametrize(("first_s", "second_s", "stays"), [(0.02, 0.0, "OpenVINO"), (0.0, 0.02, "LiteRT")])
def test_another_engine_follows_the_choice_without_measuring(tuned, monkeypatch, first_s, second_s, stays):
    x = full_range_input(GRAPH, 1)
    tuned(Paced(second_s), first_s).run(x)
    assert list(choices.STORE.all().values()) == [stays]
    monkeypatch.setattr(tuning, "_pace", lambda engine, trial: pytest.fail("measured again"))
    second = Paced(second_s)
    engine = tuned(second, first_s)
    engine.run(x)
    assert second.calls == (2 if stays == "OpenVINO" else 0)  # live and full-range numbers are compared all the same
    assert ("paced kernels (batches of 3)" in engine.description) == (stays == "OpenVINO")


def test_a_remembered_choice_that_differs_is_dropped(tuned):
    x = full_range_input(GRAPH, 1)
    tuned(Paced(), first_s=0.02).run(x)
    engine = tuned(Paced(wrong=True), first_s=0.02)
    with pytest.warns(RuntimeWarning, match="OpenVINO differs"):
        engine.run(x)
    assert engine.second is None


@pytest.mark.parametrize("change", ["batch", "tensors", "threads", "weights", "processor"])
def test_a_choice_counts_for_nothing_else(monkeypatch, change):
    found = choices.Choices(GRAPH, 2, ("ai_edge_litert", "openvino"))
    found.keep(GRAPH.outputs, 3, "LiteRT")
    assert found.known(GRAPH.outputs, 3) == "LiteRT"
    if change == "processor":
        monkeypatch.setattr(remembered, "processor", lambda: "another")
    weights = next(node for node in GRAPH.nodes if node.data is not None)
    other = Graph(GRAPH.name, tuple(node.replace(data=node.data ^ 1) if node is weights else node
                                    for node in GRAPH.nodes), GRAPH.outputs)
    again = choices.Choices(other if change == "weights" else GRAPH, 1 if change == "threads" else 2,
                            ("ai_edge_litert", "openvino"))
    asked = GRAPH.outputs[:1] if change == "tensors" else GRAPH.outputs
    assert again.known(asked, 4 if change == "batch" else 3) is None


def test_tune_measures_anew(tuned):
    x = full_range_input(GRAPH, 1)
    tuned(Paced(), first_s=0.02).run(x)
    tuned(Paced(slow_s=0.02)).tune(x)
    assert list(choices.STORE.all().values()) == ["LiteRT"]


@pytest.mark.parametrize("finding", [7, None, ["OpenVINO"], "another"])
def test_a_damaged_choice_is_measured_anew(tuned, finding):
    x = full_range_input(GRAPH, 1)
    tuned(Paced(), first_s=0.02).run(x)
    (key,) = choices.STORE.all()
    choices.STORE.keep(key, finding)
    tuned(Paced(), first_s=0.02).run(x)
    assert list(choices.STORE.all().values()) == ["OpenVINO"]


def test_openvino_goes_with_a_warning_if_it_differs(tuned):
    engine, x = tuned(Paced(wrong=True)), full_range_input(GRAPH, 1)
    with pytest.warns(RuntimeWarning, match=r"OpenVINO differs in tensor '.+'; LiteRT goes on"):
        first = engine.run(x, int8=True)
    assert "OpenVINO differs in tensor" in engine.description
    for name, value in ReferenceEngine(GRAPH).run(x, int8=True).items():
        np.testing.assert_array_equal(first[name], value)
        np.testing.assert_array_equal(engine.run(x, int8=True)[name], value)


def test_litert_that_differs_from_the_reference_is_an_error(tuned):
    engine = tuned(Paced(wrong=True))
    engine.first.wrong, engine.second = True, FastEngine(GRAPH, threads=1)
    with pytest.raises(EngineError, match="differs from the reference engine's"):
        engine.run(full_range_input(GRAPH, 1))


def test_differences_on_full_range_numbers_only_are_seen(tuned):
    class Saturating(Paced):
        def compute(self, values, wanted):
            self.wrong = min(array.min() for array in values.values()) == -128
            return super().compute(values, wanted)

        compute_alone = compute

    engine = tuned(Saturating())
    with pytest.warns(RuntimeWarning, match="OpenVINO differs"):
        engine.run(np.maximum(full_range_input(GRAPH, 1), 0))


def test_what_openvino_cannot_compile_stays_with_litert(tuned):
    class Broken(Paced):
        def compute(self, values, wanted):
            raise RuntimeError("Exception from core.cpp:117:\nRequested output shape is incompatible\n")

        compute_alone = compute

    engine, x = tuned(Broken()), full_range_input(GRAPH, 1)
    engine.run(x)
    assert "OpenVINO cannot run the network (Requested output shape is incompatible)" in engine.description
    engine.run(x)


def test_short_work_never_loads_openvino(monkeypatch):
    monkeypatch.setattr(tuning, "openvino_engine", lambda graph, threads: pytest.fail("asked for OpenVINO"))
    engine = TunedEngine(GRAPH, threads=1)
    for _ in range(3):
        engine.run(full_range_input(GRAPH, 1))
    (use,) = engine.uses.values()
    assert 0 < use.spent_s < tuning.WORTH_S


def test_a_single_large_run_never_loads_openvino(monkeypatch):
    loaded = []
    monkeypatch.setattr(tuning, "openvino_engine", lambda graph, threads: loaded.append(graph) or Paced())
    engine, x = TunedEngine(GRAPH, threads=1), full_range_input(GRAPH, 1)
    engine.first = Paced(slow_s=0.3)
    for runs in (0, 0, 1):
        engine.run(x)
        assert len(loaded) == runs


def test_a_large_run_decides_on_its_first_images(monkeypatch):
    second = Paced()
    monkeypatch.setattr(tuning, "openvino_engine", lambda graph, threads: second)
    monkeypatch.setattr(tuning, "LARGE_S", 0.1)
    engine, x = TunedEngine(GRAPH, threads=1), full_range_input(GRAPH, 1, batch=70)
    engine.first = Paced(slow_s=0.04)  # 70 / 16 times as long in all
    got = engine.run(x, int8=True)
    assert engine.uses[GRAPH.outputs, 70].engine is second
    for name, value in ReferenceEngine(GRAPH).run(x, int8=True).items():
        np.testing.assert_array_equal(got[name], value, strict=True)


def test_tune_decides_at_once_and_keeps_the_bits():
    engine, x = open_engine(GRAPH, "fast"), full_range_input(GRAPH, 1)
    expected = FastEngine(GRAPH, threads=1).run(x, int8=True)
    engine.tune(x)
    (use,) = engine.uses.values()
    assert use.decided
    assert (engine.refusal is None) == tuning.openvino_serves_here()
    for name, value in engine.run(x, int8=True).items():
        np.testing.assert_array_equal(value, expected[name], strict=True)


@pytest.mark.parametrize(("machine", "module", "reason"), [
    ("aarch64", None, "OpenVINO has no exact kernels on this kind of processor"),
    ("x86_64", "openvino", r"OpenVINO cannot be imported.*the extra 'openvino'")])
def test_without_openvino_litert_serves_and_the_description_says_why(monkeypatch, machine, module, reason):
    monkeypatch.setattr("platform.machine", lambda: machine)
    if module:
        monkeypatch.setitem(sys.modules, module, None)
        for name in ("layers", "network", "part"):
            monkeypatch.delitem(sys.modules, f"dpuflow.engines.openvino.{name}", raising=False)
    engine, x = TunedEngine(GRAPH, threads=1), full_range_input(GRAPH, 1)
    engine.tune(x)
    assert engine.second is None
    engine.run(x)
    with pytest.raises(EngineError, match=reason):
        tuning.openvino_engine(GRAPH)
    assert engine.refusal in engine.description
