"""What a loader demands: kept by everything that is written, and each rule found when it is broken."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import to_xir
from dpuflow.errors import GraphError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XValue, read_xmodel
from dpuflow.formats.xir_check import broken_rules, require_loadable
from dpuflow.formats.xir_defs import XIR_OPS
from dpuflow.target.select import find_target

from engines.networks import random_network

TARGETS = ("zedboard", "DPUCZDX8G_ISA1_B4096", "DPUCZDX8G_ISA0_B512_MIN")
WHOLE = to_xir(compile_graph(random_network(3), find_target("zedboard"), "net"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(8))
def test_compiled_files_keep_every_rule(seed, target):
    assert broken_rules(to_xir(compile_graph(random_network(seed), find_target(target), "net"))) == ()


def test_the_table_of_operators():
    """Some rows of the xmodel specification's section 4, written out by hand."""
    conv = XIR_OPS["conv2d-fix"]
    assert [(arg.name, arg.fewest, arg.most) for arg in conv.args] == [
        ("input", 1, 1), ("weights", 1, 1), ("bias", 0, 1)]
    required = {name: {attr.name for attr in op.attrs if attr.required} for name, op in XIR_OPS.items()}
    assert required["conv2d-fix"] == {"kernel", "stride"}
    assert required["conv2d"] == {"kernel", "stride", "pad_mode"}
    assert required["fix"] == {"fix_point", "bit_width", "round_mode", "if_signed"}
    assert required["upsample-fix"] == {"mode", "scale"}
    assert required["strided_slice-fix"] == {"begin", "end", "strides"}
    assert {attr.name: attr.kind for attr in conv.attrs}["kernel"] == "int32_vec"


def on_dpu(kind: str) -> XOp:
    return next(op for op in WHOLE.ops if op.type == kind and op.get("device") == "DPU")


def changed(op: XOp, **changes: object) -> XGraph:
    return dataclasses.replace(WHOLE, ops=tuple(dataclasses.replace(op, **changes) if each is op else each
                                                for each in WHOLE.ops))


def without(attrs: dict, *keys: str, **others: XValue) -> dict:
    return {key: value for key, value in attrs.items() if key not in keys} | others


def with_attr(kind: str, **attrs: XValue) -> XGraph:
    op = on_dpu(kind)
    return changed(op, attrs={**op.attrs, **attrs})


def with_place(kind: str, **attrs: XValue) -> XGraph:
    op = on_dpu(kind)
    return changed(op, tensor=dataclasses.replace(op.tensor, attrs={**op.tensor.attrs, **attrs}))


def with_children(change) -> XGraph:
    children = tuple(change(child) if child.get("device") == "DPU" else child for child in WHOLE.root.children)
    return dataclasses.replace(WHOLE, root=dataclasses.replace(WHOLE.root, children=children))


def with_part(*drop: str, **attrs: XValue) -> XGraph:
    return with_children(lambda child: dataclasses.replace(child, attrs=without(child.attrs, *drop, **attrs)))


CONV, UPLOAD = on_dpu("conv2d-fix"), on_dpu("upload")
I32 = lambda value: XValue("int32", value)  # noqa: E731
BROKEN = [
    (changed(CONV, attrs=without(CONV.attrs, "kernel")), "required attribute 'kernel' .int32_vec. is missing"),
    (with_attr("conv2d-fix", kernel=XValue("int64_vec", (3, 3))), "kind int64_vec, a loader expects int32_vec"),
    (with_attr("conv2d-fix", stride=XValue("int32_vec", (1, 1, 1))), "has 3 entries, 2 are expected"),
    (with_attr("conv2d-fix", nonlinear=XValue("string", "GELU")), "'nonlinear' is 'GELU'"),
    (with_attr("conv2d-fix", group=XValue("int64", 1)), "kind int64, a loader expects int32"),
    (changed(CONV, args={"input": CONV.args["input"]}), "argument 'weights' has 0 operands"),
    (changed(CONV, args={**CONV.args, "mask": CONV.args["input"]}), "an argument 'mask'"),
    (changed(CONV, type="warp", attrs=without(CONV.attrs, "shape")), "warp is no built-in type"),
    (with_place("conv2d-fix", fix_point=XValue("int64", 3)), "'fix_point' has kind int64"),
    (changed(CONV, tensor=dataclasses.replace(CONV.tensor, attrs={})), "'round_mode' .string. is missing"),
    (changed(CONV, tensor=dataclasses.replace(CONV.tensor, name=UPLOAD.tensor.name)), "tensor '.*' occurs 2 times"),
    (changed(CONV, name=UPLOAD.name), "operator '.*' occurs 2 times"),
    (dataclasses.replace(WHOLE, ops=WHOLE.ops[::-1]), "does not stand before it"),
    (with_attr("conv2d-fix", device=XValue("string", "CPU")), "device is not that of its subgraph"),
    (with_place("upload", location=I32(0)), "location is 0, 1 .DDR. is expected"),
    (with_place("upload", stride=XValue("int32_vec", (1, 2, 3, 4))), "stride is"),
    (with_place("upload", ddr_addr=I32(1 << 20)), "lie outside REG_2"),
    (changed(UPLOAD, tensor=dataclasses.replace(UPLOAD.tensor, attrs=without(UPLOAD.tensor.attrs, "reg_id"))),
     "no reg_id, ddr_addr and location"),
    (with_place("const-fix", reg_id=I32(1)), "register REG_1 carries no parameters"),
    (with_part("runner"), "'runner' .map_string_2_string. is missing"),
    (dataclasses.replace(WHOLE, root=dataclasses.replace(WHOLE.root, children=tuple(
        dataclasses.replace(child, attrs={**child.attrs, "runner": XValue("float", 0.5)})
        for child in WHOLE.root.children))),
     "no runner, so VART would skip it"),
    (with_part(runner=XValue("map_string_2_string", {"ref": "x"})), "names no library for 'run'"),
    (with_part("mc_code"), "'mc_code' .bytes. is missing"),
    (with_part(workload=XValue("int64", 1)), "'workload' has kind int64"),
    (with_part(reg_id_to_size=XValue("map_string_2_int32", {})), "no size"),
    (with_part(reg_id_to_parameter_value=XValue("map_string_2_bytes", {})), "CONST and carries no parameters"),
    (with_children(lambda child: dataclasses.replace(child, children=child.children[1:])), "is in no subgraph"),
    (with_children(lambda child: XSubgraph(child.name, (), child.attrs)), "either operators or children"),
    (with_children(lambda child: dataclasses.replace(child, children=(*child.children, child.children[0]))),
     "in the subgraphs, operator '.*' occurs 2 times"),
]


@pytest.mark.parametrize(("graph", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_each_broken_rule_is_found(graph, message):
    found = broken_rules(graph)
    assert any(re.search(message, text) for text in found), found
    with pytest.raises(GraphError, match="loader would refuse"):
        require_loadable(graph)


VENDOR = Path(os.environ.get("DPUFLOW_VENDOR", "absent")) / "tf2_custom_op.xmodel"


@pytest.mark.skipif(not VENDOR.exists(), reason="no vendor files: set DPUFLOW_VENDOR")
def test_a_vendor_made_file_keeps_every_rule():
    assert broken_rules(read_xmodel(VENDOR)) == ()
