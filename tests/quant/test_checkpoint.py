"""``decent_q deploy`` of a trained graph: meta graph and checkpoint as TensorFlow writes them."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.cli.decent_q import main
from dpuflow.formats.graphdef import parse_graphdef, read_graphdef, serialize_graphdef
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.insert import FixNeuron, insert_fix_neurons

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.train

CONFIG = QuantizeConfig(("x",), ("fc/BiasAdd",), ((1, 4, 4, 2),))


def fix(producer: str, kind: str, pos: int):
    return FixNeuron(producer, kind, 1 if kind == "aquant" else 0, 1, 8), pos


@pytest.fixture(params=[False, True], ids=["variables", "resources"])
def trained(request, tmp_path, monkeypatch):
    """A folder with ``trained.meta`` and a checkpoint; the variables' values."""
    v1 = tf.compat.v1
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    values = {"conv/w": rng.normal(0, 1, (3, 3, 2, 4)), "fc/w": rng.normal(0, 1, (4, 3)), "fc/b": rng.normal(0, 1, 3)}
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (None, 4, 4, 2), name="x")
        made = {name: v1.get_variable(name, initializer=value.astype(np.float32), use_resource=request.param)
                for name, value in values.items()}
        read = {name: tf.identity(variable, name=f"{name}/used") for name, variable in made.items()}
        y = tf.nn.relu(tf.nn.conv2d(x, read["conv/w"], 1, "VALID", name="conv/Conv2D"), name="conv/Relu")
        y = tf.reduce_mean(y, [1, 2], name="mean")
        tf.nn.bias_add(tf.matmul(y, read["fc/w"], name="fc/MatMul"), read["fc/b"], name="fc/BiasAdd")
        with v1.Session(graph=graph) as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, str(tmp_path / "checkpoints" / "model.ckpt"))
        plain = parse_graphdef(graph.as_graph_def().SerializeToString())
    placed = dict([fix("x", "aquant", 5), *(fix(f"{name}/used", "wquant", 6) for name in values),
                   fix("conv/Relu", "aquant", 3), fix("mean", "aquant", 4), fix("fc/BiasAdd", "aquant", 2)])
    quantized = insert_fix_neurons(plain, placed, CONFIG)
    at = {neuron.name: pos for neuron, pos in placed.items()}
    quantized = quantized.replace(node.with_attrs(phase=1, quantize_pos=at[node.name]) if node.name in at else node
                                  for node in quantized.nodes)
    meta = tf.compat.v1.MetaGraphDef()
    meta.graph_def.ParseFromString(serialize_graphdef(quantized))
    (tmp_path / "trained.meta").write_bytes(meta.SerializeToString())
    return tmp_path, values


def deploy(**flags: object) -> int:
    flags = {"input_meta_graph": "trained.meta", "input_checkpoint": "checkpoints", "input_nodes": "x",
             "input_shapes": "?,4,4,2", "output_nodes": "fc/BiasAdd", "output_dir": "o", **flags}
    return main("decent_q", ["deploy", *(f"--{name}={value}" for name, value in flags.items())])


@pytest.mark.parametrize("checkpoint", ["checkpoints", "checkpoints/model.ckpt"])
def test_deploy_from_a_checkpoint(trained, capsys, checkpoint):
    folder, values = trained
    assert deploy(input_checkpoint=checkpoint) == 0
    assert "INFO: Quantize deploy graph are generated in: o/deploy" in capsys.readouterr().out
    graph = read_graphdef(folder / "o" / "deploy" / "deploy_model.pb")
    assert [node.name for node in graph.nodes] == ["x", "conv/Conv2D", "conv/Relu", "mean", "fc/MatMul"]
    conv, dense = graph.node("conv/Conv2D"), graph.node("fc/MatMul")
    w = values["conv/w"].astype(np.float32)
    expected = np.clip(np.copysign(np.floor(np.abs(w) * 64.0 + 0.5), w), -128, 127) / 64
    assert np.array_equal(conv.tensor("weights"), expected)
    assert (conv.get("ipos"), conv.get("wpos"), conv.get("opos")) == ((8, 5), (8, 6), (8, 3))
    assert (dense.get("bpos"), dense.get("ipos"), dense.get("opos")) == ((8, 6), (8, 4), (8, 2))


def test_what_can_be_wrong(trained, capsys):
    (trained[0] / "empty").mkdir()
    for flags, message in (
            ({"input_checkpoint": "absent.ckpt"}, "cannot read the checkpoint"),
            ({"input_checkpoint": "empty"}, "no checkpoint in this folder"),
            ({"output_nodes": "absent"}, "Node 'absent' not found in graph")):
        assert deploy(**flags) == 1
        assert message in capsys.readouterr().err
    assert not (trained[0] / "o" / "deploy" / "deploy_model.pb").exists()
