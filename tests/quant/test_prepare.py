"""Preparation and placement, rule by rule, on literal graphs (quantizer specification, section 3)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, const_node, new_node
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_values import FLOAT, INT32, TShape
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.deploy.fold_fix_neurons import fold_fix_neurons
from dpuflow.quant.insert import place_fix_neurons
from dpuflow.quant.known_patterns import find_groups, nodes_to_ignore
from dpuflow.quant.patterns import anything, op
from dpuflow.quant.prepare.expand_batch_norm import expand_batch_norm
from dpuflow.quant.prepare.fold_batch_norm import fold_batch_norm
from dpuflow.quant.prepare.fold_constants import fold_constants
from dpuflow.quant.prepare.mean_to_average_pool import mean_to_average_pool
from dpuflow.quant.prepare.remove_identities import remove_identities
from dpuflow.quant.prepare.scale_average_pools import scale_average_pools
from dpuflow.quant.prepare.split_shared_constants import split_shared_constants
from dpuflow.quant.quantizer import prepare, quantize_graph
from dpuflow.quant.rewrite import Edit, replace_matches

from quant import tf_oracle

RNG = np.random.default_rng(0)
DATA = RNG.normal(0, 1, (4, 8, 8, 2)).astype(np.float32)


def node(name: str, kind: str, *inputs: str, **attrs: object):
    return new_node(name, kind, inputs, **{"T": FLOAT, **attrs})


def x(*size: int):
    return new_node("x", "Placeholder", dtype=FLOAT, shape=TShape((-1, *(size or (8, 8, 2)))))


def const(name: str, *shape: int):
    return const_node(name, RNG.normal(0, 1, shape).astype(np.float32))


def conv(name: str, source: str, weights: str | None = None, kind: str = "Conv2D"):
    return node(name, kind, source, weights or f"{name}/w", strides=[1, 1, 1, 1], padding=b"SAME")


def graph(*nodes) -> TFGraph:
    return TFGraph(tuple(nodes))


def config(*outputs: str, **options: object) -> QuantizeConfig:
    return QuantizeConfig(**{"input_nodes": ("x",), "output_nodes": outputs, "input_shapes": ((1, 8, 8, 2),),
                             **options})


def names(made: TFGraph) -> list[str]:
    return [one.name for one in made.nodes]


def fixes(made: TFGraph, *outputs: str, **options: object) -> dict[str, tuple[int, int, int]]:
    placed = place_fix_neurons(made, config(*outputs, **options)).fixes
    return {fix.name: (fix.mode, fix.method, fix.bits) for fix in placed.values()}


# The rewriting itself.

def test_a_match_is_replaced_where_its_output_stands():
    made = graph(x(), const("a", 1), node("s", "Relu", "x"), node("b", "Mul", "s", "a"), node("c", "Relu", "b"))
    pattern = op("mul", "Mul", anything("input"), op("scale", "Const"))
    result, changed = replace_matches(made, pattern, lambda g, r: Edit((g.node(r["input"]),), {r["mul"]: r["input"]}))
    assert (names(result), changed) == (["x", "s", "c"], True)
    assert result.node("c").inputs == ("s",)
    kept, changed = replace_matches(made, pattern, lambda g, r: None)
    assert (names(kept), changed) == (["x", "b", "s", "a", "c"], False)  # output first, then what it reads


def test_a_node_that_others_read_is_not_lost():
    made = graph(x(), const("a", 1), node("b", "Mul", "x", "a"), node("c", "Mul", "b", "a"), node("d", "Relu", "b"))
    pattern = op("mul", "Mul", op("inner", "Mul", anything("input"), anything("s")), anything("s2"))
    result, changed = replace_matches(made, pattern, lambda g, r: Edit((node("c", "Relu", r["input"]),)))
    assert not changed
    assert set(names(result)) == set(names(made))


def test_matches_do_not_overlap_and_inputs_count():
    made = graph(x(), node("a", "Relu", "x"), node("b", "Relu", "a"), node("c", "Relu", "b"))
    result, _ = replace_matches(made, op("relu", "Relu", anything("input")), lambda g, r: Edit(
        (g.node(r["input"]), node(r["relu"], "Relu6", r["input"]))))
    assert [one.op for one in result.nodes] == ["Placeholder", "Relu6", "Relu", "Relu6"]


# Steps before FixNeurons.

def test_identities_go_but_for_inputs_and_outputs():
    made = graph(x(), node("i", "Identity", "x"), node("j", "Identity", "i"), node("r", "Relu", "j"),
                 node("s", "Relu", "i"), node("out", "Identity", "r"))
    result = remove_identities(made, config("out", "s"))
    assert sorted(names(result)) == ["out", "r", "s", "x"]
    assert result.node("r").inputs == result.node("s").inputs == ("x",)


def test_shared_constants_move_before_their_readers_and_are_copied():
    made = graph(const("w", 1, 1, 2, 2), const("v", 1, 1, 2, 2), const("w1", 2), x(), conv("a", "x", "w"),
                 conv("b", "a", "v"), conv("c", "b", "w"), node("d", "BiasAdd", "c", "w1"), conv("e", "d", "w"))
    result = split_shared_constants(made, config("e"))
    assert names(result) == ["x", "w", "a", "v", "b", "w2", "c", "w1", "d", "w3", "e"]  # w1 is taken
    assert result.node("c").inputs == ("b", "w2")


def test_folded_constants_and_inputs_stand_at_the_end():
    made = graph(x(), const("a", 2), const("b", 2), node("s", "Rsqrt", "a"), node("m", "Mul", "s", "b"),
                 node("y", "Mul", "x", "m"), node("unread", "Relu", "y"))
    result = fold_constants(made, config("y"))
    assert names(result) == ["y", "m", "x"]
    a, b = made.node("a").tensor(), made.node("b").tensor()
    with np.errstate(invalid="ignore"):
        assert np.array_equal(result.node("m").tensor(), np.float32(1) / np.sqrt(a) * b, equal_nan=True)


@pytest.mark.parametrize(("axes", "keep", "version", "ops"), [
    ([1, 2], True, "dnndk", ["AvgPool"]), ([1, 2], False, "dnndk", ["Mean"]), ([2, 1], True, "dnndk", ["Mean"]),
    ([1, 2], False, "3.x", ["AvgPool", "Squeeze"]), ([1, 2], True, "3.x", ["AvgPool"])])
def test_means_become_pools(axes, keep, version, ops):
    made = graph(x(), const_node("axes", np.array(axes, np.int32)), node("m", "Mean", "x", "axes", keep_dims=keep),
                 node("r", "Relu", "m"))
    result = mean_to_average_pool(made, config("r", version=version))
    assert [one.op for one in result.nodes if one.name.startswith("m")] == ops
    if "AvgPool" in ops:
        assert result.node("m").get("ksize") == (1, 8, 8, 1)
    assert result.node("r").inputs == ("m/squeeze" if "Squeeze" in ops else "m",)
    assert names(mean_to_average_pool(made, config("r", simulate_dpu=0))) == names(made)


@pytest.mark.parametrize(("kernel", "options", "value"), [
    (3, {}, 9 * 7 / 64), (5, {}, 25 * 10 / 256), (6, {}, 36 * 7 / 256), (7, {}, 49 * 21 / 1024), (2, {}, None),
    (4, {}, None), (2, {"version": "1.4"}, 1.0), (4, {"scale_all_avgpool": 1}, 1.0), (3, {"simulate_dpu": 0}, None),
    (4, {"version": "1.4", "scale_all_avgpool": 0}, None)])
def test_pools_are_scaled(kernel, options, value):
    made = graph(x(), node("p", "AvgPool", "x", ksize=[1, kernel, kernel, 1], strides=[1, 1, 1, 1], padding=b"VALID"),
                 node("r", "Relu", "p"))
    result = scale_average_pools(made, config("r", **options))
    assert result.node("r").inputs == ("p" if value is None else "p/mul",)
    if value is not None:
        assert float(result.node("p/scale_value").tensor().reshape(-1)[0]) == value
        assert result.node("p/scale_value").tensor().shape == (() if "version" not in options else (1,))
        assert result.node("p/mul").inputs == ("p", "p/scale_value")


def terms(name: str, size: int):
    return [const_node(f"{name}/{part}", RNG.uniform(0.5, 1, size).astype(np.float32))
            for part in ("gamma", "beta", "mean", "variance")]


def test_the_old_normalisation_has_its_own_operand_order():
    order = ("mean", "variance", "beta", "gamma")
    old = graph(x(), *terms("n", 2), node("n", "BatchNormWithGlobalNormalization", "x", *(f"n/{t}" for t in order),
                                          variance_epsilon=0.1, scale_after_normalization=True), node("r", "Relu", "n"))
    new = old.replace(node("n", "FusedBatchNormV2", "x", "n/gamma", "n/beta", "n/mean", "n/variance", epsilon=0.1,
                           is_training=False) if one.name == "n" else one for one in old.nodes)
    results = [expand_batch_norm(made, config("r")) for made in (old, new)]
    assert names(results[0]) == names(results[1])
    for name in ("n/scale", "n/offset"):
        assert np.array_equal(results[0].node(name).tensor(), results[1].node(name).tensor())
    assert results[0].node("r").inputs == ("n/add",)


def test_a_normalisation_with_bad_terms_is_named():
    made = graph(x(), *terms("n", 2)[:3], const("n/variance", 3), node(
        "n", "FusedBatchNorm", "x", "n/gamma", "n/beta", "n/mean", "n/variance", epsilon=0.1, is_training=False))
    with pytest.raises(GraphError, match=r"node 'n'.*not vectors of one length"):
        expand_batch_norm(made, config("n"))
    broken = made.replace(const_node("n/variance", np.array([-1, 1], np.float32)) if one.name == "n/variance" else one
                          for one in made.nodes)
    with pytest.raises(GraphError, match="NaN or infinity"), np.errstate(all="ignore"):
        expand_batch_norm(broken, config("n"))


def test_a_normalisation_of_truth_values_is_named():
    made = graph(x(), *terms("n", 2)[:2], const_node("n/mean", np.array([True, False])), *terms("n", 2)[3:], node(
        "n", "FusedBatchNorm", "x", "n/gamma", "n/beta", "n/mean", "n/variance", epsilon=0.1, is_training=False))
    with pytest.raises(GraphError, match=r"node 'n'.*not numbers in float.*expected float32.*bool"):
        expand_batch_norm(made, config("r"))


def normed(source: str, size: int):
    return (const("s", size), node("m", "Mul", source, "s"), const("o", size), node("n", "Add", "m", "o"),
            node("r", "Relu", "n"))


def test_form_c_drops_the_reshape_behind_a_dense_layer():
    made = graph(x(), const("fc/weights", 2, 3), node("fc", "MatMul", "x", "fc/weights"),
                 const_node("shape", np.array([-1, 1, 1, 3], np.int32)), node("reshape", "Reshape", "fc", "shape"),
                 *normed("reshape", 3))
    result = fold_batch_norm(made, config("r"))
    assert names(result) == ["fc/weights", "x", "fc", "fc/biases", "n", "r"]
    assert result.node("n").inputs == ("fc", "fc/biases")
    assert np.array_equal(result.node("fc/weights").tensor(),
                          made.node("fc/weights").tensor() * made.node("s").tensor())


@pytest.mark.parametrize("bias", [True, False])
def test_forms_d_and_e_fold_through_dilation(bias):
    sizes = [const_node(name, np.array(value, np.int32)) for name, value in (
        ("block", [2, 2]), ("pads", [[2, 2], [2, 2]]), ("crops", [[0, 0], [0, 0]]))]
    body = [x(), *sizes, node("s2b", "SpaceToBatchND", "x", "block", "pads"), const("c/w", 3, 3, 2, 4),
            conv("c", "s2b"), node("b2s", "BatchToSpaceND", "c", "block", "crops")]
    if bias:
        body += [const("b", 4), node("add", "BiasAdd", "b2s", "b")]
    made = graph(*body, *normed("add" if bias else "b2s", 4))
    result = fold_batch_norm(made, config("r"))
    scale = made.node("s").tensor()
    assert np.array_equal(result.node("c/w").tensor(), made.node("c/w").tensor() * scale)
    if bias:
        assert result.node("r").inputs == ("add",)
        assert np.array_equal(result.node("b").tensor(), made.node("b").tensor() * scale + made.node("o").tensor())
    else:
        assert (result.node("n").op, result.node("n").inputs) == ("BiasAdd", ("b2s", "o"))


@pytest.mark.parametrize("reader", ["c", "c/w", "m", "s"])
def test_what_others_read_is_not_folded(reader):
    made = graph(x(), const("c/w", 3, 3, 2, 4), conv("c", "x"), *normed("c", 4), node("other", "Relu", reader))
    result = fold_batch_norm(made, config("r", "other"))
    assert sorted(names(result)) == sorted(names(made))
    assert np.array_equal(result.node("c/w").tensor(), made.node("c/w").tensor())


def test_a_scale_that_is_not_per_channel_is_not_folded():
    made = graph(x(), const("c/w", 3, 3, 2, 8), conv("c", "x"), const("s", 1, 8, 1, 1), node("m", "Mul", "c", "s"),
                 const("o", 8), node("n", "Add", "m", "o"))
    assert "m" in names(fold_batch_norm(made, config("n")))


def test_an_output_of_the_network_keeps_its_name():
    made = graph(x(), const("c/w", 3, 3, 2, 4), conv("c", "x"), const("b", 4), node("add", "BiasAdd", "c", "b"),
                 *terms("n", 4), node("n", "FusedBatchNorm", "add", "n/gamma", "n/beta", "n/mean", "n/variance",
                                      epsilon=0.1, is_training=False))
    result = quantize_graph(made, config("n"), [{"x": DATA}])
    assert "n/aquant" in result.positions
    assert [one.name for one in result.deploy.nodes] == ["x", "c"]


# Which nodes form a group, and where FixNeurons go.

def test_operand_order_matters():
    scaled = (const("k", 2), node("m", "Mul", "k", "x"), const("o", 2), node("n", "Add", "m", "o"))
    assert [match.kind for match in find_groups(graph(x(), *scaled))] == ["placeholder", "array"]
    turned = [node("m", "Mul", "x", "k") if one.name == "m" else one for one in scaled]
    assert [match.kind for match in find_groups(graph(x(), *turned))] == ["placeholder", "batchnorm"]


def test_convolutions_under_training_normalisation_are_ignored():
    made = graph(x(), const("c/w", 1, 1, 2, 2), conv("c", "x"), *terms("n", 2),
                 node("n", "FusedBatchNormV3", "c", "n/gamma", "n/beta", "n/mean", "n/variance", is_training=True))
    assert nodes_to_ignore(made, ("y",)) == {"c", "y"}
    assert "c/aquant" not in fixes(made, "n")


def test_one_operand_nodes_count_as_having_quantized_inputs():
    """The quirk of section 3.5: only operands 0 .. n-2 of "other" nodes are looked at."""
    made = graph(x(), node("t", "Tanh", "x"), node("r", "Relu", "t"), node("p", "MaxPool", "r", ksize=[1, 2, 2, 1]),
                 const_node("shape", np.array([-1, 4], np.int32)), node("s", "Reshape", "t", "shape"))
    assert set(fixes(made, "p", "s")) == {"x/aquant", "r/aquant", "p/aquant"}


def test_a_concat_quantizes_what_it_reads_but_stays_unquantized_itself():
    axis = const_node("axis", np.array(3, np.int32))
    made = graph(x(), node("t", "Tanh", "x"), axis, node("cat", "ConcatV2", "x", "t", "axis"))
    assert set(fixes(made, "cat")) == {"x/aquant", "t/aquant"}
    quantized = made.replace(node("t", "Relu", "x") if one.name == "t" else one for one in made.nodes)
    assert set(fixes(quantized, "cat")) == {"x/aquant", "t/aquant", "cat/aquant"}


def test_what_a_compute_group_reads_gets_its_own_fix_neuron():
    made = graph(x(), node("t", "Tanh", "x"), const("c/w", 1, 1, 2, 2), conv("c", "t"))
    assert fixes(made, "c") == {"x/aquant": (1, 0, 8), "c/w/wquant": (0, 1, 8), "c/aquant": (1, 1, 8),
                                "t/aquant": (1, 1, 8)}


def test_integers_are_not_quantized():
    made = graph(x(), const_node("i", np.zeros(2, np.int32)), node("s", "AddN", "i", "i", T=INT32),
                 new_node("y", "Placeholder", dtype=INT32, shape=TShape((2,))))
    assert set(fixes(made, "s")) == {"x/aquant"}


def depthwise() -> TFGraph:
    return graph(x(), const("d/w", 3, 3, 2, 1), conv("d", "x", kind="DepthwiseConv2dNative"), node("r", "Relu", "d"),
                 const("c/w", 1, 1, 2, 2), conv("c", "r"))


def test_methods_and_widths():
    plain = fixes(depthwise(), "c", method=2)
    assert plain == {"x/aquant": (1, 0, 8), "d/w/wquant": (2, 2, 8), "r/aquant": (1, 2, 8), "c/w/wquant": (0, 2, 8),
                     "c/aquant": (1, 2, 8)}
    changed = fixes(depthwise(), "c", weight_bit=6, activation_bit=7, nodes_bit=(("r", 4), ("c/w", 5)),
                    nodes_method=(("d", 2), ("c", 0), ("r", 0)))
    assert changed == {"x/aquant": (1, 0, 7), "d/w/wquant": (2, 2, 6), "r/aquant": (1, 0, 4), "c/w/wquant": (0, 1, 5),
                       "c/aquant": (1, 0, 7)}


def test_widths_of_nodes_without_fix_neuron_are_warned_of():
    with pytest.warns(UserWarning, match="nothing not found in quantized graph"):
        fixes(depthwise(), "c", nodes_bit=(("nothing", 4),))
    with pytest.warns(UserWarning, match="--nodes_method: nothing not found in quantized graph"):
        fixes(depthwise(), "c", nodes_method=(("nothing", 0),))
    made = graph(x(), const("c/w", 3, 3, 2, 4), conv("c", "x"), const("b", 4), node("a", "BiasAdd", "c", "b"),
                 node("r", "Relu", "a"))
    with pytest.warns(UserWarning, match="a gets no FixNeuron"):
        fixes(made, "r", nodes_bit=(("a", 4),))


def test_a_compute_node_s_name_means_its_weights_unless_it_has_a_fix_neuron_itself():
    options = {"nodes_bit": (("d", 4), ("c", 5)), "nodes_method": (("d", 0), ("c", 2), ("x", 1))}
    assert fixes(depthwise(), "c", **options) == {
        "x/aquant": (1, 1, 8), "d/w/wquant": (2, 0, 4), "r/aquant": (1, 1, 8), "c/w/wquant": (0, 1, 8),
        "c/aquant": (1, 1, 5)}


@pytest.mark.parametrize(("padding", "size", "warned"), [(b"SAME", 3, True), (b"VALID", 3, False), (b"SAME", 1, False)])
def test_padded_average_pools_are_warned_of(padding, size, warned):
    """At the border TensorFlow divides by the real pixels, the DPU by the whole kernel."""
    pool = node("p", "AvgPool", "x", ksize=[1, size, size, 1], strides=[1, 1, 1, 1], padding=padding)
    made = graph(x(), pool, const("c/w", 3, 3, 2, 4), conv("c", "p"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare(made, config("c"))
    assert [str(one.message).split(".")[0] for one in caught] == (
        ["[DECENT_WARNING] Padded average pool: p"] if warned else [])


# Cutting, and what is outside.

def test_an_input_in_the_middle_of_the_graph():
    """Preprocessing stays in the evaluation graph; the deploy graph begins with a Placeholder."""
    build = FrozenBuilder()
    raw = build.placeholder("raw", (-1, 8, 8, 2))
    scale = build.add(const_node("scale", np.float32(0.5)))
    build.add(node("scaled", "Mul", raw, scale))
    y = build.conv2d("c", "scaled", RNG.normal(0, 1, (3, 3, 2, 4)))
    build.unary("probabilities", "Softmax", build.bias_add("c", y, RNG.normal(0, 1, 4)))
    made = build.graph()
    wanted = config("c/BiasAdd", input_nodes=("scaled",))
    result = quantize_graph(made, wanted, [{"raw": DATA}])
    assert result.evaluation.node("scaled").op == "Mul"
    assert result.evaluation.node("c/Conv2D").inputs[0] == "scaled/aquant"
    assert result.evaluation.node("probabilities").inputs == ("c/BiasAdd/aquant",)
    assert [(one.name, one.op) for one in result.deploy.nodes] == [("scaled", "Placeholder"), ("c/Conv2D", "Conv2D")]
    assert result.deploy.node("scaled").get("shape").dims == (1, 8, 8, 2)
    assert result.positions["scaled/aquant"] == tf_oracle.overflow(DATA * np.float32(0.5))


def test_an_outer_reader_of_a_folded_node_is_named():
    made = graph(x(), const("c/w", 3, 3, 2, 4), conv("c", "x"), const("b", 4), node("a", "BiasAdd", "c", "b"),
                 *normed("a", 4), node("outside", "Relu", "m"))
    with pytest.raises(GraphError, match=r"reads one that was folded away.*m"):
        prepare(made, config("r"))


def test_two_fix_neurons_in_a_row_keep_the_first_position():
    def fix(name: str, source: str, pos: int):
        return new_node(name, "FixNeuron", (source,), bit_width=8, method=1, mode=1, phase=1, quantize_pos=pos)

    made = graph(x(), fix("x/aquant", "x", 5), fix("again", "x/aquant", 4), node("r", "Relu", "again"))
    with pytest.warns(UserWarning, match=r"again\(4\) != x/aquant\(5\), use quantize pos: 5"):
        result = fold_fix_neurons(made)
    assert result.node("x").get("opos") == (8, 5)
    assert result.node("r").inputs == ("x",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fold_fix_neurons(made.replace(fix("again", "x/aquant", 5) if one.name == "again" else one
                                      for one in made.nodes))
