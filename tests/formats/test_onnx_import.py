"""ONNX to GraphDef: every operator against ONNX Runtime, clean weights, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import DpuError, GraphError
from dpuflow.formats.onnx_graph import parse_onnx
from dpuflow.formats.onnx_import import CONVERTERS, convert_onnx, read_onnx
from dpuflow.formats.tf_import import import_tf

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from formats.onnx_maker import Maker, inputs, runtime  # noqa: E402


def converted(model):
    return convert_onnx(parse_onnx(model.SerializeToString()))


def check(maker: Maker, *outputs: str, batch: int | None = None) -> None:
    """The converted network computes what ONNX Runtime computes, channels last."""
    model = maker.model(*outputs)
    x = inputs(maker.shape, batch=batch)
    expected = runtime(model, x)
    graph = converted(model)
    network = import_tf(graph, [node.name for node in graph.sinks])
    held = x.transpose(0, 2, 3, 1) if x.ndim == 4 and network.inputs[0].shape[1:] != x.shape[1:] else x
    got = evaluate(network, {network.inputs[0].name: held})
    assert len(network.outputs) == len(outputs)
    for name, right in zip(network.outputs, expected, strict=True):
        value = got[name]
        if right.ndim == 4 and value.shape != right.shape:
            value = value.transpose(0, 3, 1, 2)
        assert value.shape == right.shape, name
        np.testing.assert_allclose(value, right, rtol=2e-4, atol=2e-5)


def conv(m: Maker, x: str, inputs_: int, outputs: int, kernel: int = 3, bias: bool = True, **attrs) -> str:
    group = attrs.get("group", 1)
    operands = [x, m.random(outputs, inputs_ // group, kernel, kernel)] + ([m.random(outputs)] if bias else [])
    return m.node("Conv", *operands, **attrs)


CONVS = {
    "valid": {}, "same": {"pads": [1, 1, 1, 1]}, "stride": {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    "uneven": {"pads": [0, 1, 2, 0]}, "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, "dilated": {"dilations": [2, 2], "pads": [2, 2, 2, 2]},
    "explicit valid": {"auto_pad": "VALID"},
}


@pytest.mark.parametrize("attrs", CONVS.values(), ids=CONVS)
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(attrs, bias):
    m = Maker()
    check(m, conv(m, "x", 3, 5, bias=bias, **attrs), batch=1)


@pytest.mark.parametrize(("group", "outputs"), [(6, 6), (6, 12), (2, 8), (3, 3)])
def test_grouped_and_depthwise(group, outputs):
    m = Maker((1, 6, 7, 9))
    check(m, conv(m, "x", 6, outputs, group=group, pads=[1, 1, 1, 1]))


TRANSPOSED = {
    "plain": {"strides": [2, 2]}, "same": {"strides": [2, 2], "kernel": 4, "pads": [1, 1, 1, 1]},
    "torch": {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    "shape": {"strides": [2, 2], "output_shape": [16, 20]}, "upper": {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "crop": {"strides": [1, 1], "pads": [1, 0, 1, 1]}, "wide": {"strides": [3, 3], "kernel": 2},
}


@pytest.mark.parametrize("attrs", TRANSPOSED.values(), ids=TRANSPOSED)
def test_transposed_convolutions(attrs):
    m, attrs = Maker(), dict(attrs)
    kernel = attrs.pop("kernel", 3)
    check(m, m.node("ConvTranspose", "x", m.random(3, 4, kernel, kernel), m.random(4), **attrs))


POOLS = {
    "valid": {"kernel_shape": [2, 2], "strides": [2, 2]}, "same": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    "torch": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "upper": {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
}


@pytest.mark.parametrize("attrs", POOLS.values(), ids=POOLS)
def test_max_pools(attrs):
    m = Maker()
    check(m, m.node("MaxPool", "x", **attrs))


@pytest.mark.parametrize("name", ["valid", "same", "upper"])
def test_average_pools(name):
    m = Maker()
    check(m, m.node("AveragePool", "x", **POOLS[name]))


@pytest.mark.parametrize("name", ["same", "torch"])
def test_average_pools_that_count_their_padding(name):
    m = Maker()
    check(m, m.node("AveragePool", "x", count_include_pad=1, **POOLS[name]))


@pytest.mark.parametrize("name", ["torch", "ceil"])
def test_average_pools_that_tensorflow_has_no_word_for(name):
    m = Maker()
    check(m, m.node("AveragePool", "x", **POOLS[name]))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op):
    m = Maker()
    check(m, m.node(op, "x"))


@pytest.mark.parametrize(("op", "attrs"), [
    ("Relu", {}), ("LeakyRelu", {"alpha": 0.1}), ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}), ("HardSigmoid", {}),
    ("Sigmoid", {}), ("Tanh", {}), ("Identity", {}), ("Softmax", {"axis": 1})])
def test_activations(op, attrs):
    m = Maker()
    check(m, m.node(op, conv(m, "x", 3, 4), **attrs))


def test_hard_swish():
    m = Maker(opset=14)
    check(m, m.node("HardSwish", conv(m, "x", 3, 4)))


@pytest.mark.parametrize(("low", "high"), [(0, 6), (0, None), (None, 1), (-0.5, 0.5)])
def test_clip(low, high):
    m = Maker()
    limits = [m.constant(np.float32(v)) if v is not None else "" for v in (low, high)]
    check(m, m.node("Clip", conv(m, "x", 3, 4), *limits))


def test_clip_before_opset_11():
    m = Maker(opset=7)
    check(m, m.node("Clip", conv(m, "x", 3, 4), min=0.0, max=6.0))


@pytest.mark.parametrize("slopes", [1, 4])
def test_prelu(slopes):
    m = Maker()
    check(m, m.node("PRelu", conv(m, "x", 3, 4), m.random(slopes, 1, 1)))


def test_batch_normalization_on_maps_and_on_vectors():
    m = Maker()
    x = conv(m, "x", 3, 4, bias=False)
    terms = [m.random(4), m.random(4), m.random(4), m.constant(np.array([0.5, 1, 2, 3], np.float32))]
    x = m.node("BatchNormalization", x, *terms, epsilon=1e-3)
    x = m.node("Flatten", m.node("GlobalAveragePool", x))
    check(m, m.node("BatchNormalization", x, *terms))


@pytest.mark.parametrize("opset", [7, 11, 13, 17, 21])
def test_flattened_maps_permute_the_dense_weights(opset):
    m = Maker(opset=opset)
    x = m.node("MaxPool", conv(m, "x", 3, 4), kernel_shape=[2, 2], strides=[2, 2])
    x = m.node("Relu", m.node("Flatten", x))
    x = m.node("Gemm", x, m.random(7, 48), m.random(7), transB=1)
    x = m.node("MatMul", m.node("Relu", x), m.random(7, 5))
    model = m.model(m.node("Add", x, m.random(5)))
    assert not any(node.op == "Transpose" for node in converted(model).nodes)
    check(m, model.graph.output[0].name)


def test_gemm_factors():
    m = Maker((1, 6))
    check(m, m.node("Gemm", "x", m.random(6, 4), m.random(4), alpha=0.5, beta=2.0))


def test_the_reshape_that_exporters_write_with_shape_gather_concat():
    m = Maker()
    x = conv(m, "x", 3, 4, pads=[1, 1, 1, 1])
    batch = m.node("Gather", m.node("Shape", x), m.constant(np.array(0, np.int64)), axis=0)
    batch = m.node("Unsqueeze", batch, m.integers(0))
    x = m.node("Reshape", x, m.node("Concat", batch, m.integers(-1), axis=0))
    check(m, m.node("Gemm", x, m.random(320, 3), m.random(3)))


@pytest.mark.parametrize(("op", "shape"), [
    ("Add", (4, 1, 1)), ("Sub", (1, 4, 1, 1)), ("Mul", (4, 1, 1)), ("Div", (1,)), ("Add", ()), ("Mul", (1, 1, 6, 8)),
    ("Max", (1,)), ("Min", (1,))])
@pytest.mark.parametrize("turned", [False, True])
def test_arithmetic_with_constants(op, shape, turned):
    m = Maker()
    x, c = conv(m, "x", 3, 4), m.constant((np.abs(m.rng.normal(size=shape)) + 0.5).astype(np.float32))
    if turned and op == "Div":
        x = m.node("Add", m.node("Relu", x), m.constant(np.float32(1)))
    check(m, m.node(op, *((c, x) if turned else (x, c))))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Sum"])
def test_arithmetic_of_two_maps(op):
    m = Maker()
    check(m, m.node(op, conv(m, "x", 3, 4), conv(m, "x", 3, 4)))


def test_squeeze_and_excite():
    m = Maker()
    x = m.node("Relu", conv(m, "x", 3, 4))
    s = m.node("Sigmoid", conv(m, m.node("GlobalAveragePool", x), 4, 4, kernel=1))
    check(m, m.node("Mul", x, s))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat(axis):
    m = Maker()
    check(m, m.node("Concat", conv(m, "x", 3, 4), m.node("Relu", conv(m, "x", 3, 4)), axis=axis))


def test_pads():
    m = Maker()
    x = m.node("Pad", "x", m.integers(0, 0, 1, 2, 0, 0, 0, 1))
    check(m, conv(m, x, 3, 4))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_arg_max_and_negation(keepdims):
    m = Maker()
    check(m, m.node("ArgMax", m.node("Neg", conv(m, "x", 3, 4)), axis=1, keepdims=keepdims))


def test_channel_shuffle():
    m = Maker((1, 6, 4, 5))
    x = m.node("Transpose", m.node("Reshape", "x", m.integers(0, 2, 3, 4, 5)), perm=[0, 2, 1, 3, 4])
    check(m, conv(m, m.node("Reshape", x, m.integers(0, 6, 4, 5)), 6, 4))


def test_detection_heads():
    m = Maker((1, 4, 4, 5))
    x = m.node("Reshape", conv(m, "x", 4, 6), m.integers(1, 2, 3, -1))
    x = m.node("Transpose", x, perm=[0, 1, 3, 2])
    check(m, m.node("Sigmoid", m.node("Reshape", x, m.integers(1, -1, 3))))


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceSum"])
def test_reductions(op, keepdims):
    m = Maker(opset=12)
    check(m, m.node(op, conv(m, "x", 3, 4), axes=[2, 3], keepdims=keepdims))


def test_reduce_mean_with_axes_as_an_operand():
    m = Maker(opset=18)
    x = m.node("ReduceMean", conv(m, "x", 3, 4), m.integers(2, 3), keepdims=0)
    check(m, m.node("Gemm", x, m.random(4, 2)))


@pytest.mark.parametrize(("mode", "way", "rounding", "scale"), [
    ("nearest", "asymmetric", "floor", 2.0), ("nearest", "half_pixel", "round_prefer_floor", 3.0),
    ("linear", "half_pixel", None, 2.0), ("linear", "align_corners", None, 1.5), ("linear", "asymmetric", None, 2.0)])
def test_resize(mode, way, rounding, scale):
    m = Maker()
    attrs = {"nearest_mode": rounding} if rounding else {}
    scales = m.constant(np.array([1, 1, scale, scale], np.float32))
    check(m, m.node("Resize", conv(m, "x", 3, 4), "", scales, mode=mode, coordinate_transformation_mode=way, **attrs))


def test_resize_to_sizes_and_upsample():
    m = Maker()
    check(m, m.node("Resize", "x", "", "", m.integers(1, 3, 16, 20), mode="nearest",
                    coordinate_transformation_mode="asymmetric", nearest_mode="floor"))
    m = Maker(opset=9)
    check(m, m.node("Upsample", "x", m.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest"))


def test_slices_and_splits():
    m = Maker()
    x = m.node("Slice", "x", m.integers(1, 0), m.integers(100, -1), m.integers(2, 3), m.integers(2, 1))
    check(m, conv(m, x, 3, 4))
    m = Maker((1, 4, 6, 8))
    first, second = m.node("Split", "x", m.integers(1, 3), outputs=2, axis=1)
    check(m, m.node("Concat", second, first, axis=1))


def test_channels_last_networks_keep_their_input():
    m = Maker((1, 8, 10, 3))
    x = conv(m, m.node("Transpose", "x", perm=[0, 3, 1, 2]), 3, 4)
    x = m.node("Transpose", x, perm=[0, 2, 3, 1])
    model = m.model(x)
    graph = converted(model)
    assert graph.node("x").get("shape").dims == (-1, 8, 10, 3)
    assert not any(node.op == "Transpose" for node in graph.nodes)
    network = import_tf(graph, [node.name for node in graph.sinks])
    data = inputs(m.shape)
    np.testing.assert_allclose(evaluate(network, {"x": data})[network.outputs[0]], runtime(model, data)[0], atol=1e-5)


def test_squeeze_unsqueeze_dropout_and_cast():
    m = Maker(opset=11)
    x = m.node("Squeeze", m.node("GlobalAveragePool", conv(m, "x", 3, 4)), axes=[2, 3])
    x = m.node("Dropout", m.node("Gemm", x, m.random(4, 6)))
    x = m.node("Unsqueeze", m.node("Cast", x, to=1), axes=[2, 3])
    check(m, conv(m, x, 6, 2, kernel=1))


@pytest.mark.parametrize("block_op", ["DepthToSpace", "SpaceToDepth"])
def test_depth_and_space(block_op):
    m = Maker((1, 4, 6, 8))
    check(m, m.node(block_op, "x", blocksize=2))


def test_names_survive_as_far_as_tensorflow_allows():
    m = Maker()
    m.nodes.append(onnx.helper.make_node("Conv", ["x", m.constant(np.ones((4, 3, 1, 1), np.float32), "stem.weight")],
                                         ["out:0"], name="/stem/conv/Conv"))
    graph = converted(m.model("out:0"))
    assert [node.name for node in graph.sinks] == ["out_0"]
    assert graph.node("stem.weight").tensor().shape == (1, 1, 3, 4)


REFUSED = {
    "unknown operator": (lambda m: m.node("LSTM", "x"), "unsupported operator LSTM"),
    "domain": (lambda m: m.node("Odd", "x", domain="my.domain"), "my.domain"),
    "batch reshape": (lambda m: m.node("Reshape", "x", m.integers(8, -1)), "does not keep the batch"),
    "wrong count": (lambda m: m.node("Reshape", "x", m.integers(1, 7, -1)), "impossible shape"),
    "weights": (lambda m: m.node("Conv", "x", m.random(4, 9, 3, 3)), "do not fit the map"),
    "computed weights": (lambda m: m.node("Conv", "x", "x"), "is not constant"),
    "scale per channel": (lambda m: m.node("DequantizeLinear", m.node(
        "QuantizeLinear", "x", m.constant(np.ones(3, np.float32)), m.constant(np.zeros(3, np.int8)), axis=1),
        m.constant(np.ones(3, np.float32)), m.constant(np.zeros(3, np.int8)), axis=1), "one scale for each channel"),
    "odd scale": (lambda m: m.node("QuantizeLinear", "x", m.constant(np.float32(0.3)), m.constant(np.int8(0))),
                  "no power of two"),
    "unsigned": (lambda m: m.node("QuantizeLinear", "x", m.constant(np.float32(0.5)), m.constant(np.uint8(0))),
                 "not signed"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_the_node(make, message):
    m = Maker()
    with pytest.raises(GraphError, match=message) as caught:
        converted(m.model(make(m)))
    assert "node '" in str(caught.value)


def test_files_that_lie(tmp_path):
    m = Maker()
    good = m.model(conv(m, "x", 3, 4)).SerializeToString()
    for cut in (1, 10, len(good) // 2, len(good) - 3):
        with pytest.raises(DpuError):
            convert_onnx(parse_onnx(good[:cut]))
    lying = onnx.ModelProto.FromString(good)
    lying.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(GraphError, match="impossible tensor size"):
        parse_onnx(lying.SerializeToString())
    lying.graph.initializer[0].dims[0] = 5
    with pytest.raises(GraphError, match="does not fit its shape"):
        parse_onnx(lying.SerializeToString())
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(DpuError, match="empty"):
        read_onnx(tmp_path / "empty.onnx")


def test_damaged_bytes_end_in_typed_errors():
    m = Maker()
    x = m.node("Relu", conv(m, "x", 3, 4))
    good = m.model(m.node("Gemm", m.node("Flatten", x), m.random(192 * 1, 3))).SerializeToString()
    rng = np.random.default_rng(5)
    for _ in range(300):
        data = bytearray(good)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        try:
            convert_onnx(parse_onnx(bytes(data)))
        except DpuError:
            continue


def test_every_converter_is_exercised_here():
    text = Path(__file__).read_text(encoding="utf-8")
    assert [op for op in CONVERTERS if f'"{op}"' not in text] == []


def test_numbered_layers_are_named_after_their_weights():
    m = Maker()
    weights = m.constant(np.ones((4, 3, 1, 1), np.float32), "fire2/squeeze1x1_w_0")
    m.nodes.append(onnx.helper.make_node("Conv", ["x", weights], ["12"]))
    m.nodes.append(onnx.helper.make_node("Relu", ["12"], ["out"]))
    graph = converted(m.model("out"))
    assert [node.name for node in graph.nodes if node.op != "Const"] == ["x", "fire2/squeeze1x1/Conv2D", "out"]


def test_open_sizes_are_given_by_the_user():
    m = Maker()
    model = m.model(m.node("GlobalAveragePool", conv(m, "x", 3, 4)))
    for dim in list(model.graph.input[0].type.tensor_type.shape.dim)[2:]:
        dim.dim_param = "size"
    parsed = parse_onnx(model.SerializeToString())
    with pytest.raises(GraphError, match="without sizes"):
        convert_onnx(parsed)
    assert convert_onnx(parsed, [(1, 9, 11, 3)]).node("x").get("shape").dims == (-1, 9, 11, 3)
    with pytest.raises(GraphError, match="contradicts the file"):
        convert_onnx(parsed, [(1, 9, 11, 4)])
    with pytest.raises(GraphError, match="differ in number"):
        convert_onnx(parsed, [(1, 9, 11, 3), (1, 9, 11, 3)])


# -- quantized files ------------------------------------------------------------------------------------------

def qdq(m: Maker, x: str, pos: int) -> str:
    terms = (m.constant(np.float32(2.0**-pos)), m.constant(np.int8(0)))
    return m.node("DequantizeLinear", m.node("QuantizeLinear", x, *terms), *terms)


def stored(m: Maker, ints: np.ndarray, pos: int) -> str:
    return m.node("DequantizeLinear", m.constant(ints.astype(np.int8)), m.constant(np.float32(2.0**-pos)),
                  m.constant(np.int8(0)))


def quantized_model():
    """Convolution with relu, flatten, dense, as XINT8 writes them: every tensor between a pair."""
    m = Maker((1, 2, 6, 6))
    ints = lambda *shape: m.rng.integers(-128, 128, shape)  # noqa: E731
    x = m.node("Conv", qdq(m, "x", 5), stored(m, ints(4, 2, 3, 3), 7), stored(m, ints(4), 6), pads=[1, 1, 1, 1])
    x = qdq(m, m.node("Relu", x), 3)
    x = m.node("Flatten", x)
    x = m.node("Gemm", x, stored(m, ints(3, 144), 9), stored(m, ints(3), 5), transB=1)
    return m.model(qdq(m, x, 2)), m.shape


def test_quantized_files_become_graphs_with_fix_neurons(tmp_path):
    from dpuflow.engines import open_engine
    from dpuflow.model import load

    model, shape = quantized_model()
    onnx.save(model, tmp_path / "q.onnx")
    loaded = load(tmp_path / "q.onnx")
    assert loaded.quantized
    assert "Q/DQ" in loaded.kind
    x = inputs((40, *shape[1:]), seed=3)
    right = np.concatenate([runtime(model, row[None])[0] for row in x])
    engine = open_engine(loaded.graph, "reference")
    got = next(iter(engine.run(x.transpose(0, 2, 3, 1)).values()))
    # Ties go to even there and up here: a last bit now and then, in single values only.
    assert np.abs(got - right).max() <= 2.0**-2
    assert np.mean(got != right) < 0.05
    assert {round(float(v) * 4) for v in np.unique(got)} >= {-10, 10}


@pytest.mark.parametrize(("prefix", "domain"), [("Extended", "com.amd.quark"), ("Vitis", "com.vai.quantize")])
def test_the_vendors_own_names_of_the_pair(prefix, domain):
    model, _ = quantized_model()
    plain = converted(model)
    names = {"QuantizeLinear": {"Extended": "ExtendedQuantizeLinear", "Vitis": "VitisQuantizeLinear"},
             "DequantizeLinear": {"Extended": "ExtendedDequantizeLinear", "Vitis": "VitisDequantizeLinear"}}
    for node in model.graph.node:
        if node.op_type in names:
            node.op_type, node.domain = names[node.op_type][prefix], domain
    assert converted(model).nodes == plain.nodes


def test_quantize_takes_a_quantized_file_as_it_is(tmp_path, capsys):
    import json

    from dpuflow.cli import main
    from dpuflow.model import load

    model, shape = quantized_model()
    onnx.save(model, tmp_path / "q.onnx")
    assert main(["quantize", str(tmp_path / "q.onnx"), "-o", str(tmp_path / "out")]) == 0
    assert "own positions" in capsys.readouterr().out
    table = json.loads((tmp_path / "out" / "positions.json").read_text())["tensors"]
    assert sorted(entry["pos"] for entry in table.values()) == [2, 3, 3, 5, 5, 6, 7, 9]  # Flatten has its map's
    x = inputs((4, *shape[1:]), seed=4).transpose(0, 2, 3, 1)
    from dpuflow.engines import open_engine

    runs = [next(iter(open_engine(load(tmp_path / "out" / name).graph, "reference").run(x).values()))
            for name in ("deploy_model.pb", "quantize_eval_model.pb")]
    assert np.array_equal(*runs)


def test_float_onnx_through_the_command(tmp_path):
    from dpuflow.cli import main

    m = Maker((1, 3, 8, 10))
    x = m.node("Relu", conv(m, "x", 3, 4))
    x = m.node("Gemm", m.node("Flatten", m.node("GlobalAveragePool", x)), m.random(4, 3), m.random(3))
    onnx.save(m.model(x), tmp_path / "f.onnx")
    np.save(tmp_path / "x.npy", inputs((120, 3, 8, 10)))  # channels first, as the ONNX model takes them
    assert main(["quantize", str(tmp_path / "f.onnx"), "--calibration", str(tmp_path / "x.npy"), "--recipe", "vendor",
                 "-o", str(tmp_path / "out"), "--json", str(tmp_path / "out.json")]) == 0
    assert main(["show", str(tmp_path / "f.onnx")]) == 0
    assert main(["estimate", str(tmp_path / "f.onnx")]) == 0


def test_outputs_keep_their_names_also_when_others_read_them():
    m = Maker()
    inner = conv(m, "x", 3, 4)
    last = m.node("Dropout", m.node("GlobalAveragePool", m.node("Relu", inner)))
    graph = converted(m.model(inner, last))
    assert {node.name for node in graph.sinks} == {inner, last}
    assert graph.node(inner).op == "Identity"
    assert graph.node(last).op == "Mean"
