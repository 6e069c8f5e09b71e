"""Runs on threads of their own, several models side by side, and the check mode."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from dpuflow import cli
from dpuflow.engines import open_engine
from dpuflow.engines.check import sample
from dpuflow.errors import EngineError, GraphError
from dpuflow.zoo import quantized_network

from engines.networks import full_range_input, random_network


@pytest.mark.parametrize("name", ["fast", "reference", "program"])
def test_asynchronous_runs_give_what_runs_give(name):
    graph = random_network(5)
    engine = open_engine(graph, name)
    images = [full_range_input(graph, seed, 2) for seed in range(6)]
    futures = [engine.run_async(x, int8=True) for x in images]
    for x, future in zip(images, futures, strict=True):
        expected = engine.run(x, int8=True)
        for output, values in future.result(timeout=60).items():
            np.testing.assert_array_equal(values, expected[output])


def test_an_error_arrives_in_the_future():
    engine = open_engine(random_network(5), "fast")
    future = engine.run_async(np.zeros((1, 2, 2, 1), np.float32))
    with pytest.raises(GraphError):
        future.result(timeout=60)


def test_several_models_on_several_threads():
    """Every thread uses every engine in turn; each result is the one that a lone run gives."""
    graphs = [random_network(seed) for seed in (1, 2, 3)]
    engines = [open_engine(graph, "fast") for graph in graphs]
    images = [[full_range_input(graph, seed, 1 + seed % 3) for seed in range(4)] for graph in graphs]
    expected = [[engine.run(x, int8=True) for x in own] for engine, own in zip(engines, images, strict=True)]
    wrong: list[object] = []

    def work(offset: int) -> None:
        for turn in range(24):
            model, at = (turn + offset) % 3, (turn * 7 + offset) % 4
            got = engines[model].run(images[model][at], int8=True)
            for name, values in expected[model][at].items():
                if not np.array_equal(got[name], values):
                    wrong.append((model, at, name))

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


class Liar:
    """Makes a layer of an engine, and all behind it, wrong by one."""

    def __init__(self, engine, layer: str) -> None:
        names = [node.name for node in engine.graph.nodes]
        self.compute, self.wrong = engine.compute, set(names[names.index(layer):])

    def __call__(self, values, wanted):
        results = dict(self.compute(values, wanted))
        wrong = {name: results[name] ^ 1 for name in self.wrong & set(wanted) if results[name].dtype == np.int8}
        return results | wrong


def test_the_check_names_the_first_layer_that_differs(monkeypatch):
    graph = quantized_network("lenet")
    engine = open_engine(graph, "fast", check=2)
    x = full_range_input(graph, 1, 5)
    engine.run(x)
    weighted = [node for node in graph.nodes if node.op in ("conv2d", "dense")]
    monkeypatch.setattr(engine.engine, "compute", Liar(engine.engine, weighted[1].name))
    with pytest.raises(EngineError, match=f"layer '{weighted[1].layer}'") as caught:
        engine.run(x, [weighted[-1].name], int8=True)
    assert "2 sampled image" in str(caught.value)


def test_which_images_are_sampled():
    assert sample(3, 9) == [0, 3, 6]
    assert sample(8, 3) == [0, 1, 2]
    assert sample(1, 100) == [0]


def test_the_command_checks(tmp_path, capsys):
    graph = quantized_network("lenet")
    np.save(tmp_path / "x.npy", full_range_input(graph, 1, 12))
    files = ["--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "o.npz")]
    command = ["emulate", "zoo:lenet", *files, "--int8"]
    assert cli.main([*command, "--check"]) == 0
    assert "equal on 8 image(s)" in capsys.readouterr().out
    assert cli.main([*command, "--check", "-3"]) == 1
    assert "--check" in capsys.readouterr().err
