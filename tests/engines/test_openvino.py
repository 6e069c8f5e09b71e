"""OpenVINO's kernels: which layers it may have, every tie, sums at the edge of float32, batches in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.engines import probes, selftest, tuning

if not tuning.openvino_serves_here():
    pytest.skip("OpenVINO serves on x86-64 only", allow_module_level=True)

from dpuflow.engines.fast import FastEngine
from dpuflow.engines.litert.part import LITERT
from dpuflow.engines.openvino import network as openvino_network
from dpuflow.engines.openvino.bounds import largest_pair, nonnegative_maps
from dpuflow.engines.openvino.part import OPENVINO, OPENVINO_SIGNED, OpenVINOModel
from dpuflow.engines.parts import LibraryPart, NumPyPart
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import EngineError
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs

from engines.networks import branched_network, full_range_input, leaky_network, random_network


def on_openvino(graph: Graph) -> FastEngine:
    engine = FastEngine(graph, threads=2, libraries=(OPENVINO,))
    assert engine.libraries == ("OpenVINO",)
    return engine


def assert_exact(graph: Graph, x: np.ndarray, make: Callable[[Graph], FastEngine] = on_openvino) -> None:
    expected = ReferenceEngine(graph).run(x, int8=True)
    got = make(graph).run(x, int8=True)
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
    """A dense layer with one weight everywhere, at shift 15."""
    nodes = (Node("x", "input", shape=(1, inputs), fix=Fix(8)),
             const("w", np.full((inputs, 1), weight, np.int8), Fix(7)),
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
    refused = FastEngine(wide(4, 1, 127, -2), threads=1, libraries=(OPENVINO,))  # 127 << 17
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


@pytest.mark.parametrize(("op", "weights"), [("conv2d", (1, 1, 4, 8)), ("depthwise_conv2d", (1, 1, 4, 2))])
def test_strides_of_padded_single_pixels_are_refused(op, weights):
    """OpenVINO 2026.4 makes a map of another size of them when a layer lies before."""
    padded, plain = Padding(1, 1, 1, 1), Padding()
    for attrs, refused in ((ConvAttrs((2, 2), padded), True), (ConvAttrs((2, 2), plain), False),
                           (ConvAttrs((1, 1), padded), False)):
        graph = probes._alone(op, attrs, 2, weights)
        engine = FastEngine(graph, threads=1, libraries=(OPENVINO, LITERT))
        assert engine.libraries == (("LiteRT",) if refused else ("OpenVINO",))
        x = full_range_input(graph, 1)
        np.testing.assert_array_equal(engine.run(x, int8=True)["y"], ReferenceEngine(graph).run(x, int8=True)["y"])


def test_strides_of_single_pixels_where_threads_meet():
    """Two threads share 126 pixels; the first of the second one's was wrong in one fresh network of eight."""
    rng = np.random.default_rng(0)
    nodes = (Node("x", "input", shape=(1, 6, 14, 8), fix=Fix(4)),
             const("w", probes.full_range(rng, (1, 1, 8, 2)), Fix(7)),
             Node("y", "conv2d", ("x", "w"), ConvAttrs((1, 2)), fix=Fix(2)))
    graph = infer_shapes(Graph("single pixels", nodes, ("y",)))
    x = rng.integers(0, 128, (3, 6, 14, 8)).astype(np.int8)
    expected = ReferenceEngine(graph).run(x, int8=True)["y"]
    for _ in range(40):
        np.testing.assert_array_equal(on_openvino(graph).run(x, int8=True)["y"], expected, strict=True)


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
    assert list(selftest.failures(["leaky_relu"], OPENVINO))


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
    assert {form.batch for form in models[0].ready} == {1, 4}  # 11 images: three runs of four
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, strict=True)


def on_mixed(graph: Graph) -> FastEngine:
    return FastEngine(graph, threads=1, libraries=(OPENVINO, LITERT))


def test_read_only_and_strided_input():
    graph = probes.rectified(probes.channels_graph())
    x = probes.full_range(np.random.default_rng(0), (4, 7, 9, 32))
    expected = ReferenceEngine(graph).run(x, int8=True)
    engine = on_openvino(graph)
    strided = np.repeat(x, 2, axis=0)[::2]
    x.flags.writeable = False
    for images in (x, strided):
        for name, value in engine.run(images, int8=True).items():
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


def mild(graph: Graph) -> Graph:
    """Even weights of -64..62: pairs with any numbers fit 16 bits, halves are whole."""
    return Graph(graph.name, tuple(node if node.data is None or node.data.ndim < 2 else
                                   node.replace(data=np.asarray(node.data // 4 * 2, np.int8)) for node in graph.nodes),
                 graph.outputs)


@given(st.integers(0, 10**6), st.sampled_from([random_network, branched_network]), st.sampled_from([-128, 0]))
@settings(max_examples=40, deadline=None)
def test_signed_bytes_are_exact_on_every_cpu_for_weights_that_leave_room(seed, make, least):
    """What only CPUs with dot products do with any weights."""
    graph = mild(make(seed))
    x = np.maximum(full_range_input(graph, seed), np.int8(least))
    names = tuple(node.name for node in graph.nodes if node.op not in ("input", "const"))
    expected = ReferenceEngine(graph).run(x, names, int8=True)
    got = FastEngine(graph, threads=1, libraries=(OPENVINO_SIGNED, LITERT)).run(x, names, int8=True)
    for name in names:
        np.testing.assert_array_equal(got[name], expected[name], strict=True, err_msg=name)


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_signed_maps_and_weights_of_all_spreads(seed):
    graph = leaky_network(seed)
    assert_exact(graph, full_range_input(graph, seed) // np.int8(1 + seed % 4), on_mixed)


def behind_leaky(scale: int, widest: int) -> Graph:
    """A leaky ReLU of inputs times ``scale``, then sums of 32 of them with weights of one size."""
    eye = np.eye(32, dtype=np.int8)[None, None] * np.int8(scale)
    nodes = (Node("x", "input", shape=(1, 6, 6, 32), fix=Fix(0)), const("eye", eye, Fix(0)),
             Node("l", "conv2d", ("x", "eye"), ConvAttrs(nonlinear="leaky_relu"), fix=Fix(0)),
             const("w", np.full((1, 1, 32, 8), widest, np.int8), Fix(13)),
             Node("y", "conv2d", ("l", "w"), ConvAttrs(), fix=Fix(0)))
    return infer_shapes(Graph("behind leaky", nodes, ("y",)))


@pytest.mark.parametrize(("scale", "misses"), [(1, 0), (2, 0), (3, 1), (127, 1)])  # -26 and -39 below zero
@pytest.mark.parametrize("widest", [64, 103, 127, -128])
def test_maps_that_reach_far_below_zero_take_another_network(scale, misses, widest):
    graph = behind_leaky(scale, widest)
    x = np.random.default_rng(0).choice([-128, 127], (2, 6, 6, 32)).astype(np.int8)
    x[0, 0] = 127  # every pair of products at its largest
    engine = on_openvino(graph)
    expected = ReferenceEngine(graph).run(x, int8=True)["y"]
    np.testing.assert_array_equal(engine.run(x, int8=True)["y"], expected, strict=True)
    (model,) = engine.ready[("y",)]
    assert model.misses == misses
    assert [form.room > 0 for form in model.ready] == [True, False][:1 + misses]


@pytest.mark.parametrize(("least", "fits"), [(-31, True), (-32, False)])
def test_inputs_a_little_below_zero_are_bytes_in_a_leaky_network(least, fits):
    graph = behind_leaky(1, 103)
    x = np.random.default_rng(0).choice([least, -1, 0, 127], (2, 6, 6, 32)).astype(np.int8)
    engine = on_openvino(graph)
    expected = ReferenceEngine(graph).run(x, ("l", "y"), int8=True)
    for name, value in engine.run(x, ("l", "y"), int8=True).items():
        np.testing.assert_array_equal(value, expected[name], strict=True)
    (model,) = engine.ready[("l", "y")]
    assert [(form.room, form.fits) for form in model.ready] == [(32, (fits,))]


def test_a_network_whose_maps_often_reach_far_below_zero_is_given_up():
    graph = behind_leaky(3, 64)
    engine = on_openvino(graph)
    for _ in range(7):
        engine.run(np.full((1, 6, 6, 32), -128, np.int8), int8=True)
    (model,) = engine.ready[("y",)]
    assert (model.runs, model.misses) == (7, 3)


@pytest.mark.parametrize(("weights", "pair"), [([[3, -4, 5, 1]], 8), ([[-3, -4, 5, 1]], 7), ([[1, 2], [-128, -1]], 129),
                                               ([[-9]], 9), ([[127], [-128]], 128), ([[0, 0, 0]], 0)])
def test_largest_pair_of_weights_of_one_sign(weights, pair):
    assert largest_pair(np.array(weights, np.int8)) == pair


@pytest.mark.parametrize("exact", [False, True])
def test_signed_bytes_serve_where_they_pass_the_self_test(monkeypatch, exact):
    def self_test(graph, library):
        if library is OPENVINO_SIGNED and not exact:
            raise EngineError("not exact on this CPU")

    monkeypatch.setattr(tuning, "self_test", self_test)
    libraries = tuning.openvino_engine(random_network(5)).libraries
    assert libraries[0] == (OPENVINO_SIGNED if exact else OPENVINO).name


def test_a_library_that_fails_its_self_test_is_not_used(monkeypatch):
    monkeypatch.setattr(selftest, "_passed", {name: set() for name in (
        "LiteRT", "OpenVINO", "OpenVINO with signed bytes")})
    monkeypatch.setattr(selftest, "failures", lambda wanted, library: [f"{library.name}: ties"] if
                        library.bytes_apart else [])
    monkeypatch.setattr(selftest.proofs, "keep", lambda *_: None)
    graph = random_network(3)
    engine = tuning.TunedEngine(graph, threads=1)
    engine.tune(full_range_input(graph, 1))
    assert engine.second is None
    assert "; OpenVINO: int8 kernels are not exact on this CPU: OpenVINO: ties" in engine.description


@pytest.mark.parametrize("fits", [False, True])
def test_signed_bytes_have_one_range_throughout(fits):
    """OpenVINO would align several, and lose bits."""
    ranges = set()

    class Watched(openvino_network.Network):
        def _said(self, tensor, room=None):
            ranges.add(self.room if room is None else room)
            return super()._said(tensor, room)

    graph = leaky_network(3)
    part = next(part for part in on_openvino(graph).parts if isinstance(part, LibraryPart))
    network = Watched(1, signed=True)
    for name in part.inputs(graph):
        network.feed(graph.by_name[name], fits)
    for emit in part.emits:
        emit(network)
    assert ranges == {128}


def test_pictures_without_negative_numbers_run_on_bytes_from_the_start():
    graph = probes.channels_graph()
    x = probes.full_range(np.random.default_rng(0), (2, 7, 9, 32))
    engine = on_openvino(graph)
    for images in (x, np.maximum(x, 0), x):
        for name, value in ReferenceEngine(graph).run(images, int8=True).items():
            np.testing.assert_array_equal(engine.run(images, (name,), int8=True)[name], value, strict=True)
    (model,) = engine.ready[("1x1",)]
    assert sorted(form.fits for form in model.ready) == [(False,), (True,)]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("least", [-127, -128])  # -128 has no counterpart of the other sign
def test_signed_maps_of_few_channels(channels, least):
    weights = np.full((3, 3, channels, 4), 127, np.int8)
    weights[..., 1], weights[..., 2] = -127, np.random.default_rng(channels).integers(-127, 128, (3, 3, channels))
    weights[0, 0, 0, 3] = least
    nodes = (Node("x", "input", shape=(1, 9, 8, channels), fix=Fix(4)), const("w", weights, Fix(9)),
             Node("y", "conv2d", ("x", "w"), ConvAttrs(padding=Padding(1, 1, 1, 1)), fix=Fix(0)))
    graph = infer_shapes(Graph("few channels", nodes, ("y",)))
    x = probes.full_range(np.random.default_rng(0), (5, 9, 8, channels))
    x[3], x[4] = -128, 127
    assert_exact(graph, x)


def test_averages_of_bytes_stay_bytes():
    """At every tie that sums of a few pixels can reach."""
    for kernel, pos in itertools.product(((2, 2), (7, 7), (14, 14)), (1, 2, 4, 5)):
        for op, attrs in (("mean", MeanAttrs(True)), ("avg_pool", PoolAttrs(kernel, (1, 1)))):
            graph = probes._alone(op, attrs, pos, shape=(1, *kernel, 8))
            x = np.random.default_rng(pos).integers(0, 40, (64, *kernel, 8)).astype(np.int8)
            engine = FastEngine(graph, threads=1, libraries=(OPENVINO, LITERT))
            for signed in (x, -x):
                expected = ReferenceEngine(graph).run(signed, int8=True)["y"]
                np.testing.assert_array_equal(engine.run(signed, int8=True)["y"], expected, strict=True)
