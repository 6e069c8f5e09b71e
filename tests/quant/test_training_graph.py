"""``decent_q quantize --mode train`` and ``eval``: TensorFlow's meta graphs, and the way to the deploy graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpuflow.cli.decent_q import main
from dpuflow.formats.graphdef import TFGraph, read_graphdef, write_graphdef
from dpuflow.quant.checkpoint import freeze, read_meta_graph
from dpuflow.quant.training_graph import position_file

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.train
EPSILON = 1e-3


class Network:
    """conv, normalisation, relu, an Identity; depthwise, normalisation; mean; dense, as TensorFlow 1 trains."""

    def __init__(self, training: bool) -> None:
        self.training, self.rng, self.values = training, np.random.default_rng(0), {}
        self.updates: list = []

    def variable(self, name: str, shape: tuple[int, ...], low: float = -1.0):
        value = self.rng.uniform(low, 1, shape).astype(np.float32)
        self.values[name] = value
        return tf.compat.v1.get_variable(name, initializer=value, use_resource=False)

    def norm(self, x, name: str):
        size = int(x.shape[-1])
        gamma, beta, mean = (self.variable(f"{name}/{part}", (size,)) for part in ("gamma", "beta", "mean"))
        variance = self.variable(f"{name}/variance", (size,), 0.3)
        statistics = {} if self.training else {"mean": mean, "variance": variance}
        y, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, epsilon=EPSILON, is_training=self.training, name=f"{name}/FusedBatchNorm", **statistics)
        if self.training:
            self.updates += [tf.compat.v1.assign_sub(moving, (moving - batch) * 0.1)
                             for moving, batch in ((mean, batch_mean), (variance, batch_variance))]
        return y

    def build(self, x):
        y = tf.nn.conv2d(x, self.variable("a/w", (3, 3, 2, 4)), 1, "SAME", name="a/Conv2D")
        y = tf.identity(tf.nn.relu(self.norm(y, "a/bn"), name="a/Relu"), name="dropout")
        y = tf.compat.v1.nn.depthwise_conv2d_native(y, self.variable("b/w", (3, 3, 4, 1)), [1, 1, 1, 1], "SAME",
                                                    name="b/depthwise")
        y = tf.reduce_mean(self.norm(y, "b/bn"), [1, 2], keepdims=True, name="mean")
        y = tf.matmul(tf.reshape(y, [-1, 4], name="flat"), self.variable("fc/w", (4, 3)), name="fc/MatMul")
        return tf.nn.bias_add(y, self.variable("fc/b", (3,)), name="fc/BiasAdd")


def made(folder, training: bool) -> Network:
    """``net.meta`` and a checkpoint in a folder."""
    v1, network = tf.compat.v1, Network(training)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        network.build(v1.placeholder(tf.float32, (None, 8, 8, 2), name="x"))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "net"))
    return network


@pytest.fixture(params=[True, False], ids=["training", "inference"])
def saved(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return made(tmp_path, request.param)


def run(command: str, **flags: object) -> int:
    flags = {"input_meta_graph": "net.meta", "input_nodes": "x", "input_shapes": "?,8,8,2",
             "output_nodes": "fc/BiasAdd", "output_dir": "o", **flags}
    return main("decent_q", [command, *(f"--{name}={value}" for name, value in flags.items())])


TRAIN_META, EVAL_META = "o/quantize_train/quantize_train.ckpt.meta", "o/quantize_eval/quantize_eval.ckpt.meta"
SCOPES = {"a": "a/Conv2D_Fold", "b": "b/depthwise_Fold"}


def test_the_training_graph(saved, capsys):
    assert run("quantize", mode="train") == 0
    assert f"INFO: Quantize train graph are generated in: {TRAIN_META}" in capsys.readouterr().out
    graph = read_meta_graph(TRAIN_META)
    fixes = {node.name: node for node in graph.nodes if node.op == "FixNeuron"}
    assert set(fixes) == {
        "x/aquant", "a/BatchNorm_Fold/mul_1/wquant", "a/BatchNorm_Fold/sub/wquant", "a/Relu/aquant",
        "b/depthwise/BatchNorm_Fold/mul_1/wquant", "b/depthwise/BatchNorm_Fold/sub/wquant",
        "b/depthwise/biasadd/aquant", "mean/aquant", "flat/aquant", "fc/w/read/wquant", "fc/b/read/wquant",
        "fc/BiasAdd/aquant"}
    assert {(fix.get("phase"), fix.get("output_dir")) for fix in fixes.values()} == {(2, b"o")}
    assert fixes["b/depthwise/BatchNorm_Fold/mul_1/wquant"].get("mode") == 2
    assert graph.node("a/Relu").operands == ("a/biasadd",)
    assert graph.node("mean").op == "AvgPool"
    assert graph.node("a/bn/FusedBatchNorm").operands[0] == "a/Conv2D"  # the statistics are still taken
    # The variables, the saver and what TensorFlow knows about them stay.
    before, after = tf.compat.v1.MetaGraphDef(), tf.compat.v1.MetaGraphDef()
    before.ParseFromString(Path("net.meta").read_bytes()), after.ParseFromString(Path(TRAIN_META).read_bytes())
    assert after.graph_def.versions == before.graph_def.versions
    before.ClearField("graph_def"), after.ClearField("graph_def")
    assert after == before
    assert Path("o/temp/node_groups").read_text().splitlines() == [
        "a/Conv2D_Fold x a/Relu a/BatchNorm_Fold/mul_1 a/BatchNorm_Fold/sub",
        "b/depthwise_Fold dropout b/depthwise/biasadd b/depthwise/BatchNorm_Fold/mul_1 b/depthwise/BatchNorm_Fold/sub",
        "fc/MatMul flat fc/BiasAdd fc/w/read fc/b/read"]


def test_the_folded_graph_computes_the_normalised_one(saved):
    """In inference form, without FixNeurons: TensorFlow computes the same from the same variables."""
    assert run("quantize", mode="train") == 0
    trained = read_meta_graph(TRAIN_META)
    passed = {node.name: node.operands[0] for node in trained.nodes if node.op == "FixNeuron"}
    frozen = freeze(trained, lambda name: saved.values[name])
    plain = frozen.replace(node.replace(inputs=tuple(passed.get(name, name) for name in node.inputs))
                           for node in frozen.nodes if node.name not in passed)
    x = np.random.default_rng(1).normal(0, 1, (4, 8, 8, 2)).astype(np.float32)
    assert computed(plain, x) == pytest.approx(expected(saved, x), rel=1e-4, abs=1e-5)


def computed(graph: TFGraph, x: np.ndarray) -> np.ndarray:
    with tf.Graph().as_default() as made_graph:
        tf.compat.v1.import_graph_def(to_tensorflow(graph), name="")
        return tf.compat.v1.Session(graph=made_graph).run("fc/BiasAdd:0", {"x:0": x})


def to_tensorflow(graph: TFGraph):
    from dpuflow.formats.graphdef import serialize_graphdef

    inside = {"fc/BiasAdd"}
    for node in reversed(graph.nodes):  # operands stand before their readers
        if node.name in inside:
            inside.update(node.operands)
    message = tf.compat.v1.GraphDef()
    message.ParseFromString(serialize_graphdef(graph.replace(node for node in graph.nodes if node.name in inside)))
    return message


def expected(saved: Network, x: np.ndarray) -> np.ndarray:
    v, y = saved.values, tf.constant(x)
    for name, layer in (("a", tf.nn.conv2d), ("b", tf.nn.depthwise_conv2d)):
        y = layer(y, v[f"{name}/w"], [1, 1, 1, 1], "SAME")
        scale = v[f"{name}/bn/gamma"] / np.sqrt(v[f"{name}/bn/variance"] + EPSILON)
        y = y * scale + (v[f"{name}/bn/beta"] - scale * v[f"{name}/bn/mean"])
        y = tf.nn.relu(y) if name == "a" else y
    return np.asarray(tf.reduce_mean(y, [1, 2]) @ v["fc/w"] + v["fc/b"])


def leave_positions(graph: TFGraph, **others: int) -> dict[str, int]:
    """What training leaves behind."""
    positions = {node.name: (5 if node.name.endswith("aquant") else 7) for node in graph.nodes
                 if node.op == "FixNeuron"} | others
    for name, pos in positions.items():
        position_file(Path("o"), name).write_text(f"{name} 8 {pos}\n")
    return positions


def test_from_training_to_the_deploy_graph(saved, capsys):
    assert run("quantize", mode="train") == 0
    positions = leave_positions(read_meta_graph(TRAIN_META))
    assert run("quantize", mode="eval", input_meta_graph=TRAIN_META) == 0
    assert f"INFO: Quantize eval graph are generated in: {EVAL_META}" in capsys.readouterr().out
    evaluation = read_meta_graph(EVAL_META)
    found = {node.name: (node.get("phase"), node.get("quantize_pos")) for node in evaluation.nodes
             if node.op == "FixNeuron"}
    assert found == {name: (1, pos) for name, pos in positions.items()}
    assert run("deploy", input_meta_graph=EVAL_META, input_checkpoint="net") == 0
    deployed = read_graphdef("o/deploy/deploy_model.pb")
    conv = deployed.node("a/Conv2D_Fold")
    assert (conv.get("ipos"), conv.get("wpos"), conv.get("bpos"), conv.get("opos")) == ((8, 5), (8, 7), (8, 7), (8, 5))
    v = saved.values
    scaled = v["a/w"] * (v["a/bn/gamma"] / np.sqrt(v["a/bn/variance"] + np.float32(EPSILON)))
    exact = np.clip(np.copysign(np.floor(np.abs(scaled) * 128.0 + 0.5), scaled), -128, 127) / 128
    assert np.abs(conv.tensor("weights") - exact).max() <= 1 / 128  # the last bit of a float32 product, at a tie
    assert np.mean(conv.tensor("weights") != exact) < 0.05
    assert [node.op for node in deployed.nodes if node.op != "Placeholder"] == [
        "Conv2D", "Relu", "DepthwiseConv2dNative", "AvgPool", "Reshape", "MatMul"]


@pytest.mark.filterwarnings("default:.*DECENT_WARNING")
def test_positions_of_training_are_adjusted_to_what_the_dpu_can_shift(saved, capsys):
    assert run("quantize", mode="train") == 0
    leave_positions(read_meta_graph(TRAIN_META), **{"a/BatchNorm_Fold/mul_1/wquant": 20, "a/Relu/aquant": 1})
    assert run("quantize", mode="eval", input_meta_graph=TRAIN_META) == 0
    assert "Shift cut of node a/Conv2D_Fold is 24" in capsys.readouterr().err
    assert read_meta_graph(EVAL_META).node("a/BatchNorm_Fold/mul_1/wquant").get("quantize_pos") == 12


@pytest.mark.filterwarnings("default:.*DECENT_WARNING")
def test_what_can_be_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made(tmp_path, False)
    for flags, message in (({"mode": "train", "input_meta_graph": ""}, "No --input_meta_graph assigned."),
                           ({"mode": "train", "output_nodes": "none"}, "Node 'none' not found in graph"),
                           ({"mode": "eval"}, "holds no FixNeuron"), ({"mode": "other"}, None)):
        if message is None:
            with pytest.raises(SystemExit):
                run("quantize", **flags)
            continue
        assert run("quantize", **flags) == 1
        assert message in capsys.readouterr().err
    assert run("quantize", mode="train") == 0
    leave_positions(read_meta_graph(TRAIN_META))
    (tmp_path / "o/temp/x_aquant").write_text("x/aquant eight 5")
    assert run("quantize", mode="eval", input_meta_graph=TRAIN_META) == 0
    (tmp_path / "o/temp/x_aquant").write_text("something else")
    assert run("quantize", mode="eval", input_meta_graph=TRAIN_META) == 1
    assert "not a FixNeuron's position" in capsys.readouterr().err
    (tmp_path / "o/temp/x_aquant").unlink()
    assert run("quantize", mode="eval", input_meta_graph=TRAIN_META) == 0
    assert "Cannot find quantize info file" in capsys.readouterr().err
    assert read_meta_graph(EVAL_META).node("x/aquant").get("quantize_pos") == 0


def test_a_normalisation_without_moving_averages_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made(tmp_path, True)
    graph = read_meta_graph("net.meta")
    without = graph.replace(node for node in graph.nodes if node.op not in ("Sub", "AssignSub")
                            and not any(name.startswith(("sub", "mul", "AssignSub")) for name in node.operands))
    message = tf.compat.v1.MetaGraphDef()
    write_graphdef(without, tmp_path / "g.pb")
    message.graph_def.ParseFromString((tmp_path / "g.pb").read_bytes())
    (tmp_path / "net.meta").write_bytes(message.SerializeToString())
    assert run("quantize", mode="train") == 1
    assert "without moving averages" in capsys.readouterr().err
