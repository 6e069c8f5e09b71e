"""OpenVINO's kernels: which layers it may have, every tie, sums at the edge of float32, batches in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.engines import probes, selftest, tuning

if not tuning.openvino_serves_here():
    pytest.skip("OpenVINO serves on x86-64 only", allow_module_level=True)

from dpuflow.engines.fast import FastEngine
from dpuflow.engines.litert.part import LITERT
from dpuflow.engines.openvino import network as openvino_network
from dpuflow.engines.openvino.layers import nonnegative_maps
from dpuflow.engines.openvino.part import OPENVINO, OpenVINOModel
from dpuflow.engines.parts import LibraryPart, NumPyPart
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.pool import PoolAttrs

from engines.networks import full_range_input, random_network


def on_openvino(graph: Graph) -> FastEngine:
    engine = FastEngine(graph, threads=2, libraries=(OPENVINO,))
    assert engine.libraries == ("OpenVINO",)
    return engine


def assert_exact(graph: Graph, x: np.ndarray) -> None:
    expected = ReferenceEngine(graph).run(x, int8=True)
    got = on_openvino(graph).run(x, int8=True)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, strict=True, err_msg=name)


@pytest.mark.parametrize("nonlinear", ["none", "relu"])
def test_every_tie_of_signed_maps(nonlinear):
    graph = probes.tie_graph(*((shift, nonlinear) for shift in range(1, 17)))
    assert_exact(graph, probes.tie_input())


@pytest.mark.parametrize("nonlinear", ["none", "relu", "leaky_relu"])
def test_every_tie_of_bytes(nonlinear):
    shifts = tuple(range(1, 11 if nonlinear == "leaky_relu" else 17))
    graph = probes.byte_tie_graph(*((shift, nonlinear) for shift in shifts))
    assert "bytes" in nonnegative_maps(graph)
    assert_exact(graph, probes.byte_tie_input(shifts))


@pytest.mark.parametrize("shift", range(11))
def test_leaky_ties(shift):
    assert_exact(probes.leaky_graph(shift), probes.leaky_input(shift))


def test_leaky_layers_beyond_exact_products_are_refused():
    engine = FastEngine(probes.leaky_graph(11), threads=1, libraries=(OPENVINO,))
    assert "shift_cut 11 is outside 0..10 for leaky_relu" in engine.description
    assert engine.libraries == ()


def wide(inputs: int, weight: int, bias: int = 0, bias_pos: int = 0) -> Graph:
    """A dense layer with one weight everywhere, at shift 16."""
    nodes = (Node("x", "input", shape=(1, inputs), fix=Fix(8)),
             const("w", np.full((inputs, 1), weight, np.int8), Fix(8)),
             const("b", np.full(1, bias, np.int8), Fix(bias_pos)),
             Node("y", "dense", ("x", "w", "b"), DenseAttrs(), fix=Fix(0)))
    return infer_shapes(Graph("wide", nodes, ("y",)))


def test_sums_up_to_24_bits_are_exact_and_larger_ones_refused():
    graph = wide(1024, -128)  # -128 * -128 * 1024 = 2**24
    x = np.full((3, 1024), -128, np.int8)
    x[1], x[2] = 127, np.arange(1024) % 256 - 128
    assert_exact(graph, x)
    refused = FastEngine(wide(1025, -128), threads=1, libraries=(OPENVINO,))
    assert "its sums may exceed 24 bits" in refused.description


def test_a_bias_of_24_bits_is_refused():
    refused = FastEngine(wide(4, 1, 127, -1), threads=1, libraries=(OPENVINO,))  # 127 << 17
    assert "its sums may exceed 24 bits" in refused.description
    assert_exact(wide(4, 1, -128, 1), np.full((1, 4), 5, np.int8))


def test_maps_that_hold_no_negative_number():
    graph = probes.rectified(probes.joined_graph())
    found = nonnegative_maps(graph)
    assert {"x0/bytes", "r", "t"} <= found
    assert not {"x0", "c", "s", "j"} & found  # j joins a signed map


def test_pools_whose_windows_hold_padding_only_are_refused():
    graph = probes._alone("max_pool", PoolAttrs((2, 2), (1, 1), Padding(0, 2, 0, 0)), 4)
    assert "padding only" in FastEngine(graph, threads=1, libraries=(OPENVINO,)).description


def test_sums_of_positions_too_far_apart_are_refused():
    graph = probes._alone("add", EltwiseAttrs(), -8, inputs=(-8, 8))
    assert "too far apart" in FastEngine(graph, threads=1, libraries=(OPENVINO,)).description
    assert_exact(probes._alone("add", EltwiseAttrs(), -6, inputs=(8, 8)), {
        name: np.arange(-60, 60, dtype=np.int8).reshape(1, 6, 5, 4) for name in ("x0", "x1")})


@pytest.mark.parametrize(("attribute", "value"), [
    ("as_bytes", lambda self, tensor: self.op.fake_quantize(tensor, *map(np.float32, (0, 255, 0, 255)), 256)),
    ("activated", lambda self, node, value, nonlinear: self.op.round(value, "half_to_even")),
    ("_LEAKY_SLOPE", np.float32(0.1))])
def test_self_test_sees_wrong_numbers(monkeypatch, attribute, value):
    """Bytes up to 255, a result that does not saturate, another slope."""
    owner = openvino_network if attribute.startswith("_") else openvino_network.Network
    monkeypatch.setattr(owner, attribute, value)
    assert selftest.failures(["leaky_relu"], OPENVINO)


def test_self_test_sees_ties_to_even(monkeypatch):
    finish = openvino_network.Network.finish

    def to_even(self, node, sums, bias, shift, nonlinear):
        finish(self, node, sums, bias - (0.5 if shift else 0), shift, nonlinear)

    monkeypatch.setattr(openvino_network.Network, "finish", to_even)
    assert any("ties" in failure for failure in selftest.failures([], OPENVINO))


def test_large_batches_run_in_pieces_of_one_size():
    graph = random_network(5)
    x = full_range_input(graph, 5, batch=11)
    whole = on_mixed(graph).run(x, int8=True)
    engine = on_mixed(graph)
    engine.run(x[:1], int8=True)
    models = [part for part in next(iter(engine.ready.values())) if isinstance(part, OpenVINOModel)]
    assert models
    for model in models:
        model.images_at_once = 4
    parts = engine.run(x, int8=True)
    assert set(models[0].ready) == {1, 4}  # 11 images: three runs of four
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, strict=True)


def on_mixed(graph: Graph) -> FastEngine:
    return FastEngine(graph, threads=1, libraries=(OPENVINO, LITERT))


def test_read_only_and_strided_input():
    graph = probes.byte_graph()
    x = probes.full_range(np.random.default_rng(0), (4, 7, 9, 32))
    expected = ReferenceEngine(graph).run(x, int8=True)
    engine = on_openvino(graph)
    strided = np.repeat(x, 2, axis=0)[::2]
    x.flags.writeable = False
    for given in (x, strided):
        for name, value in engine.run(given, int8=True).items():
            np.testing.assert_array_equal(value, expected[name], strict=True)


def test_a_layer_that_openvino_refuses_goes_to_litert_and_then_to_numpy():
    nodes = (Node("x", "input", shape=(1, 4, 4, 1200), fix=Fix(4)),
             const("w", np.full((1, 1, 1200, 4), 127, np.int8), Fix(4)),
             Node("c", "conv2d", ("x", "w"), ConvAttrs(), fix=Fix(0)),  # 28 bits
             Node("p", "max_pool", ("c",), PoolAttrs((2, 2), (2, 2)), fix=Fix(0)),
             Node("h", "hard_swish", ("p",), fix=Fix(0)))
    engine = on_mixed(infer_shapes(Graph("three", nodes, ("h",))))
    found = [part.library.name if isinstance(part, LibraryPart) else "NumPy" for part in engine.parts]
    assert found == ["LiteRT", "OpenVINO", "NumPy"]
    assert isinstance(engine.parts[2], NumPyPart)
    x = full_range_input(engine.graph, 1)
    np.testing.assert_array_equal(engine.run(x, int8=True)["h"], ReferenceEngine(engine.graph).run(x, int8=True)["h"])
