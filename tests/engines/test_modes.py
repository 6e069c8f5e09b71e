"""Bias modes, the accumulator watch: what engines offer beside plain runs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from dpuflow import cli
from dpuflow.engines import open_engine
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import ConfigError
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.passes.preround_biases import preround_biases

import oracle
from engines.networks import full_range_input, random_network


def spec_example() -> Graph:
    """Arithmetic specification, section 4: exact 0, prerounded 1."""
    return infer_shapes(Graph("example", (
        Node("x", "input", shape=(1, 2), fix=Fix(2)), const("w", np.array([[3], [3]], np.int8), Fix(6)),
        const("b", np.array([1], np.int8), Fix(9)),
        Node("y", "dense", ("x", "w", "b"), DenseAttrs(), fix=Fix(3))), ("y",)))


@pytest.mark.parametrize("engine", ["reference", "fast", "program"])
@pytest.mark.parametrize(("mode", "result"), [("exact", 0), ("prerounded", 1)])
def test_the_two_bias_modes(engine, mode, result):
    opened = open_engine(spec_example(), engine, bias_mode=mode)
    assert opened.run(np.array([[5, 0]], np.int8), int8=True)["y"].item() == result


def test_prerounding_against_the_oracle():
    """Every bias of a layer, at all excesses: shr(q, d) in place of q."""
    x = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)[:, ::5]
    rng = np.random.default_rng(0)
    for excess in range(9):
        w, b = rng.integers(-128, 128, (x.shape[1], 4), np.int8), rng.integers(-128, 128, 4, np.int8)
        graph = infer_shapes(Graph("one", (
            Node("x", "input", shape=(1, x.shape[1]), fix=Fix(3)), const("w", w, Fix(4)),
            const("b", b, Fix(7 + excess)), Node("y", "dense", ("x", "w", "b"), DenseAttrs(), fix=Fix(-3))), ("y",)))
        got = open_engine(graph, "reference", bias_mode="prerounded").run(x, int8=True)["y"][0].tolist()
        rounded = [oracle.half_up(oracle.Fraction(int(q), 2**excess)) for q in b]
        assert got == [oracle.weighted_sum(zip(x[0].tolist(), w[:, o].tolist(), strict=True), 3, 4, rounded[o], 7,
                                           "none", -3) for o in range(4)]


def test_a_shared_bias_is_rounded_for_each_layer_on_its_own():
    nodes = (Node("x", "input", shape=(1, 2), fix=Fix(2)), const("w", np.full((2, 1), 3, np.int8), Fix(6)),
             const("v", np.full((2, 1), 3, np.int8), Fix(5)), const("b", np.array([5], np.int8), Fix(9)),
             Node("y", "dense", ("x", "w", "b"), DenseAttrs(), fix=Fix(3)),
             Node("z", "dense", ("x", "v", "b"), DenseAttrs(), fix=Fix(3)))
    rounded = preround_biases(verify(infer_shapes(Graph("shared", nodes, ("y", "z")))))
    verify(rounded)
    biases = [rounded.operands(rounded.by_name[name])[2] for name in ("y", "z")]
    assert [(bias.data.tolist(), bias.fix.pos) for bias in biases] == [([3], 8), ([1], 7)]


def test_random_networks_keep_their_bits_where_no_bias_is_finer():
    for seed in range(4):
        graph = random_network(seed)
        x = full_range_input(graph, seed)
        pair = [open_engine(graph, engine, bias_mode="prerounded").run(x, ["logits"], int8=True)["logits"]
                for engine in ("reference", "fast")]
        assert np.array_equal(*pair)


def test_an_unknown_bias_mode():
    with pytest.raises(ConfigError, match="no such bias mode"):
        open_engine(spec_example(), "reference", bias_mode="rounded")


def test_largest_accumulators():
    """|acc| with bias, before the nonlinearity, in units of the products; a finer bias adds no units."""
    engine = ReferenceEngine(spec_example(), watch=True)
    engine.run(np.array([[5, 0], [-128, -128], [1, 1]], np.int8))
    assert engine.largest_accumulators == {"y": 767}  # -768 + 1/2
    engine.run(np.array([[1, 0]], np.int8))
    assert engine.largest_accumulators == {"y": 767}


def wide_layer(pixels: int) -> Graph:
    return infer_shapes(Graph("wide", (
        Node("x", "input", shape=(1, 1, pixels, 1), fix=Fix(0)),
        const("w", np.full((1, pixels, 1, 1), -128, np.int8), Fix(0)),
        Node("y", "conv2d", ("x", "w"), ConvAttrs(nonlinear="relu"), fix=Fix(0))), ("y",)))


@pytest.mark.parametrize(("pixels", "warned"), [(512, False), (513, True)])
def test_accumulators_above_23_bits_are_warned_of_once(pixels, warned):
    engine = ReferenceEngine(wide_layer(pixels), watch=True)
    x = np.full((1, 1, pixels, 1), -128, np.int8)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        engine.run(x)
        engine.run(x)
    assert [str(warning.message)[:40] for warning in seen] == ["y: an accumulator of 8404992 is above 2*"] * warned
    assert engine.largest_accumulators == {"y": pixels * 16384}


def test_the_command_shows_accumulators_and_takes_the_mode(tmp_path, capsys):
    from dpuflow.compiler.driver import compile_graph
    from dpuflow.compiler.xmodel import to_xir
    from dpuflow.formats.xir import serialize_xmodel
    from dpuflow.target.select import find_target

    path, source = tmp_path / "m.xmodel", tmp_path / "x.npy"
    path.write_bytes(serialize_xmodel(to_xir(compile_graph(spec_example(), find_target("zedboard"), "m"))))
    np.save(source, np.array([[5, 0]], np.int8).reshape(1, 2))
    common = ["emulate", str(path), "--input", str(source), "--int8", "--output", str(tmp_path / "y.npz")]
    for mode, expected in (("exact", 0), ("prerounded", 1)):
        assert cli.main([*common, "--engine", "reference", "--bias-mode", mode, "--watch"]) == 0
        with np.load(tmp_path / "y.npz") as arrays:
            assert next(iter(arrays.values())).item() == expected
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split()[-2:] == ["16", "6"]
    assert cli.main([*common, "--watch"]) == 1
    assert "add --engine reference" in capsys.readouterr().err
