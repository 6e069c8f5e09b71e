"""Hostile GraphDefs: literal ones, and a fixed sample of what ``scripts/fuzz.py`` makes."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path

import pytest

from dpuflow.errors import DpuError
from dpuflow.formats.graphdef import parse_graphdef
from dpuflow.formats.graphdef_proto import GraphDef

SCRIPTS = str(Path(__file__).resolve().parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
try:
    fuzz, fuzz_graphdef = importlib.import_module("fuzz"), importlib.import_module("fuzz_graphdef")
finally:
    sys.path.remove(SCRIPTS)

HUGE = (1 << 62, -(1 << 63), (1 << 31) - 1, -5)


def first_seed() -> GraphDef:
    return GraphDef.FromString(fuzz_graphdef.seed_graphs()[0])


def node(message: GraphDef, name: str):
    return next(one for one in message.node if one.name == name)


def cycle(message):
    node(message, "c1/Conv2D").input[0] = "out"


def own_operand(message):
    node(message, "sum").input[1] = "sum"


def missing_operand(message):
    node(message, "sum").input[1] = "nothing"


def same_name_twice(message):
    message.node.add().CopyFrom(node(message, "sum"))


def no_name(message):
    node(message, "sum").name = ""


def short_content(message):
    tensor = node(message, "c1/kernel").attr["value"].tensor
    tensor.tensor_content = tensor.tensor_content[:-1]


def large_claim(message):
    node(message, "c1/kernel").attr["value"].tensor.tensor_shape.dim[0].size = 1 << 40


def negative_size(message):
    node(message, "c1/kernel").attr["value"].tensor.tensor_shape.dim[1].size = -3


def text_weights(message):
    node(message, "c1/kernel").attr["value"].tensor.dtype = 7


def no_strides(message):
    del node(message, "c1/Conv2D").attr["strides"].list.i[:]


def zero_stride(message):
    node(message, "p").attr["strides"].list.i[1] = 0


def second_output(message):
    node(message, "c1/BiasAdd").input[0] = "c1/Conv2D:1"


def nan_weights(message):
    tensor = node(message, "c1/kernel").attr["value"].tensor
    tensor.tensor_content = b"\x00\x00\xc0\x7f" * (len(tensor.tensor_content) // 4)


def weights_from_the_input(message):
    node(message, "c1/Conv2D").input[1] = "x"


BAD = [cycle, own_operand, missing_operand, same_name_twice, no_name, short_content, large_claim, negative_size,
       text_weights, no_strides, zero_stride, second_output, nan_weights, weights_from_the_input]


@pytest.mark.parametrize("damage", BAD, ids=lambda damage: damage.__name__)
def test_a_damaged_graph_ends_in_a_typed_error(damage):
    message = first_seed()
    damage(message)
    with pytest.raises(DpuError) as caught:
        fuzz_graphdef.quantize(message.SerializeToString())
    assert caught.value.what


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("name", ["x", "p", "pad/paddings", "flat/shape"])
def test_absurd_sizes(name, size):
    message = first_seed()
    attributes = node(message, name).attr
    if name == "x":
        attributes["shape"].shape.dim[1].size = size
    elif name == "p":
        attributes["ksize"].list.i[1] = size
    else:
        tensor = attributes["value"].tensor
        tensor.dtype, tensor.tensor_content = 9, b""
        tensor.int64_val.extend([size] * 2)
        del tensor.tensor_shape.dim[1:]
        tensor.tensor_shape.dim[0].size = 2
    with pytest.raises(DpuError):
        fuzz_graphdef.read(message.SerializeToString())


@pytest.mark.parametrize(("target", "runs"), [("graphdef", 500), ("quantize", 250)])
def test_a_sample_of_mutations(target, runs, tmp_path):
    session = fuzz.Session(target, tmp_path, random.Random(2026))
    for _ in range(runs):
        session.run(session.mutated())
    assert session.findings == {}
    assert sum(session.counts.values()) == runs
    assert session.counts["ok"] > runs // 20  # enough get through to reach what lies behind the reader


def test_the_fuzzer_sees_what_it_looks_for():
    def broken(data: bytes) -> None:
        raise KeyError("untyped")

    def refused(data: bytes) -> None:
        parse_graphdef(b"")

    assert fuzz.outcome(broken, b"")[0] == "finding"
    assert fuzz.outcome(refused, b"")[0] == "refused"
    assert fuzz.outcome(len, b"")[0] == "ok"
