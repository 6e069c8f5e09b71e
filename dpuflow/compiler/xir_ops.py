"""XIR operators for a network's operators: types, arguments and attributes (xmodel specification, section 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.compiler.memory import MemoryMap, dense_strides, ohwi
from dpuflow.errors import CompileError
from dpuflow.formats.xir import XTensor, XValue
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT

ROUND_ACTIVATION, ROUND_CONSTANT = "DPU_ROUND", "STD_ROUND"


def i32(value: int) -> XValue:
    """An int32 attribute."""
    return XValue("int32", int(value))


def i32v(values: Iterable[int]) -> XValue:
    """An int32 vector attribute."""
    return XValue("int32_vec", tuple(int(value) for value in values))


def text(value: str) -> XValue:
    """A string attribute."""
    return XValue("string", value)


def u64(value: int) -> XValue:
    """A uint64 attribute."""
    return XValue("uint64", int(value))


def file_order(data: Array, order: str) -> Array:
    """A constant's axes as the file wants them: weights OHWI or (out, in), all else as it is.

    "reversed": those of a transposed convolution, (h, w, out, in), height and width turned round.
    """
    if order == "reversed":
        data, order = data[::-1, ::-1].transpose(0, 1, 3, 2), "weights"
    axes = {4: (3, 0, 1, 2), 2: (1, 0)}.get(data.ndim) if order == "weights" else None
    ordered: Array = data.transpose(axes) if axes else data
    return ordered


def _wh(pair: tuple[int, int]) -> XValue:
    return i32v((pair[1], pair[0]))


def _pad(padding: Any) -> XValue:
    top, bottom, left, right = padding
    return i32v((left, right, top, bottom))


def fix_attrs(node: Node, rounding: str) -> dict[str, XValue]:
    assert node.fix is not None
    return {"fix_point": i32(node.fix.pos), "bit_width": i32(node.fix.bits), "if_signed": XValue("bool", True),
            "round_mode": text(rounding)}


def tensor_of(node: Node, name: str, memory: MemoryMap | None = None, rounding: str = ROUND_ACTIVATION) -> XTensor:
    dims = ohwi(node.data).shape if node.data is not None else node.shape
    if node.fix is None:
        return XTensor(name, dims, "FLOAT", 32)
    attrs = fix_attrs(node, rounding)
    if memory is not None:
        place_ = memory.places[node.name]
        attrs |= {"reg_id": i32(place_.register), "ddr_addr": i32(place_.offset), "location": i32(1)}
        if node.data is None:
            attrs["stride"] = i32v(dense_strides(dims))
    return XTensor(name, dims, "XINT", node.fix.bits, attrs)


def _window_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    weights = graph.by_name[node.inputs[1]]
    attrs = {
        "kernel": _wh((weights.shape[0], weights.shape[1])), "stride": _wh(node.attrs.stride),
        "dilation": _wh(node.attrs.dilation), "pad": _pad(node.attrs.padding), "pad_mode": text("FLOOR"),
    }
    return attrs if node.op == "depthwise_conv2d" else {**attrs, "group": i32(node.attrs.groups)}


def _conv_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    nonlinear = {"leaky_relu": "LEAKYRELU"}.get(node.attrs.nonlinear, node.attrs.nonlinear.upper())
    return {**_window_attrs(node, graph), "nonlinear": text(nonlinear), "hsigmoid_in": i32(-128),
            "shift_hsigmoid": i32(-128), "shift_hswish": i32(-128)}


def _pool_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"kernel": _wh(node.attrs.kernel), "stride": _wh(node.attrs.stride), "pad": _pad(node.attrs.padding),
            "type": text("MAX" if node.op == "max_pool" else "AVG")}


def _float_pool_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    attrs = {"kernel": _wh(node.attrs.kernel), "stride": _wh(node.attrs.stride), "pad": _pad(node.attrs.padding),
             "pad_mode": text("FLOOR"), "global": XValue("bool", False)}
    if node.op == "max_pool":
        return attrs
    return {**attrs, "count_include_pad": XValue("bool", False), "count_include_invalid": XValue("bool", False)}


def _eltwise_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"type": text(node.op.upper()), "nonlinear": text(node.attrs.nonlinear.upper())}


def _shape_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"shape": i32v(node.shape)}


def _axis_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"axis": i32(getattr(node.attrs, "axis", len(node.shape) - 1))}


def _pads_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    """In float; the padded value is a real number, and whole as the file can say no other."""
    attrs = {"paddings": i32v(pad for pair in node.attrs.pads for pad in pair), "mode": text(node.attrs.mode.upper())}
    value = node.attrs.value
    if value != int(value):
        raise CompileError("an xmodel pads with whole numbers", where=f"node '{node.name}'", got=value)
    return {**attrs, "constant_values": i32v([int(value)] * 2 * len(node.attrs.pads))} if value else attrs


def _pads_fix_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    """In int8; the padded value is an integer at the tensor's position."""
    assert node.fix is not None
    value = int(fixed.quantize(np.float32(node.attrs.value), node.fix.pos))
    return _pads_attrs(node.replace(attrs=dataclasses.replace(node.attrs, value=value)), graph)


def _transposed_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    weights = graph.by_name[node.inputs[1]]
    return {"kernel": _wh((weights.shape[0], weights.shape[1])), "stride": _wh(node.attrs.stride),
            "dilation": _wh((1, 1)), "pad": _pad(node.attrs.padding), "pad_mode": text("FLOOR")}


def _transposed_fix_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    nonlinear = {"leaky_relu": "LEAKYRELU"}.get(node.attrs.nonlinear, node.attrs.nonlinear.upper())
    return {**_transposed_attrs(node, graph), "nonlinear": text(nonlinear)}


def _resize_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    (h, w), source = node.attrs.size, graph.by_name[node.inputs[0]].shape
    return {"mode": text(node.op.removeprefix("resize_").upper()),
            "scale": XValue("float_vec", (w / source[2], h / source[1])),
            "align_corners": XValue("bool", node.attrs.align_corners),
            "half_pixel_centers": XValue("bool", node.attrs.half_pixel)}


def _order_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"order": i32v(node.attrs.order)}


def _slice_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    begin, end, step = zip((0, node.shape[0], 1), *node.attrs.ranges, strict=True)
    return {"begin": i32v(begin), "end": i32v(end), "strides": i32v(step)}


def _reduce_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"axis": i32v(node.attrs.axes), "keep_dims": XValue("bool", node.attrs.keep_dims)}


def _mean_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"axis": i32v((1, 2)), "keep_dims": XValue("bool", node.attrs.keep_dims)}


def _matmul_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"transpose_a": XValue("bool", False), "transpose_b": XValue("bool", False)}


def _leaky_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    slope = LEAKY_FACTOR / (1 << LEAKY_SHIFT) if node.fix else node.attrs.alpha
    return {"alpha": XValue("float", slope)}


def _hard_sigmoid_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    """The input's position and the shift of the one rounding (arithmetic specification, section 7.5)."""
    source = graph.by_name[node.inputs[0]].fix
    assert source is not None and node.fix is not None
    return {"hsigmoid_in": i32(source.pos), "shift_hsigmoid": i32(14 + source.pos - node.fix.pos)}


def _lstm_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    # A type that XIR does not define must state what it yields.
    return {"reverse": XValue("bool", node.attrs.reverse), "shape": i32v(node.shape), "data_type": text("FLOAT32")}


def _no_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {}


@dataclass(frozen=True)
class OpForm:
    """An XIR operator: type, names of its arguments and how many operands the first takes (0: all)."""

    type: str
    attrs: Callable[[Node, Graph], dict[str, XValue]] = _no_attrs
    arguments: tuple[str, ...] = ("input",)
    first_takes: int = 0

    def args(self, operands: list[str]) -> dict[str, tuple[str, ...]]:
        """Operands by argument name."""
        count = self.first_takes or len(operands)
        rest = zip(self.arguments[1:], operands[count:], strict=False)
        return {self.arguments[0]: tuple(operands[:count]), **{name: (operand,) for name, operand in rest}}


_WEIGHTED = ("input", "weights", "bias")
# Fixed-point operators of the DPU.
DPU_FORMS: Mapping[str, OpForm] = {
    "conv2d": OpForm("conv2d-fix", _conv_attrs, _WEIGHTED, 1),
    "depthwise_conv2d": OpForm("depthwise-conv2d-fix", _conv_attrs, _WEIGHTED, 1),
    "max_pool": OpForm("pool-fix", _pool_attrs),
    "avg_pool": OpForm("pool-fix", _pool_attrs),
    "add": OpForm("eltwise-fix", _eltwise_attrs),
    "mul": OpForm("eltwise-fix", _eltwise_attrs),
    "reshape": OpForm("reshape-fix", _shape_attrs),
    "concat": OpForm("concat-fix", _axis_attrs),
    "transposed_conv2d": OpForm("transposed-conv2d-fix", _transposed_fix_attrs, _WEIGHTED, 1),
    "resize_nearest": OpForm("upsample-fix", _resize_attrs),
}
# Fixed-point operators that the CPU computes.
CPU_FORMS: Mapping[str, OpForm] = {
    **DPU_FORMS,
    "hard_sigmoid": OpForm("hard-sigmoid-fix", _hard_sigmoid_attrs),
    "pad": OpForm("pad-fix", _pads_fix_attrs),
    "resize_bilinear": OpForm("upsample-fix", _resize_attrs),
    "slice": OpForm("strided_slice-fix", _slice_attrs),
    "reduce_max": OpForm("reduction_max-fix", _reduce_attrs),
    "float2fix": OpForm("float2fix", lambda node, graph: fix_attrs(node, ROUND_ACTIVATION)),
}
# Float operators. Those of EXACT_IN_FLOAT also serve between fix2float and float2fix: their float32
# results are exact for 8-bit operands, so the one rounding is that of the fixed-point rule.
FLOAT_FORMS: Mapping[str, OpForm] = {
    "conv2d": OpForm("conv2d", _window_attrs, _WEIGHTED, 1),
    "depthwise_conv2d": OpForm("depthwise-conv2d", _window_attrs, _WEIGHTED, 1),
    "dense": OpForm("matmul", _matmul_attrs, ("input", "bias"), 2),
    "max_pool": OpForm("maxpool2d", _float_pool_attrs),
    "avg_pool": OpForm("avgpool2d", _float_pool_attrs),
    "mean": OpForm("reduction_mean", _mean_attrs),
    "add": OpForm("add"),
    "mul": OpForm("mul"),
    "reshape": OpForm("reshape", _shape_attrs),
    "concat": OpForm("concat", _axis_attrs),
    "pad": OpForm("pad", _pads_attrs),
    "relu": OpForm("relu"),
    "relu6": OpForm("relu6"),
    "leaky_relu": OpForm("leaky-relu", _leaky_attrs),
    "hard_sigmoid": OpForm("hard-sigmoid"),
    "identity": OpForm("identity"),
    "softmax": OpForm("softmax", _axis_attrs),
    "transposed_conv2d": OpForm("transposed-conv2d", _transposed_attrs, _WEIGHTED, 1),
    "resize_nearest": OpForm("resize", _resize_attrs),
    "resize_bilinear": OpForm("resize", _resize_attrs),
    "transpose": OpForm("transpose", _order_attrs),
    "slice": OpForm("strided_slice", _slice_attrs),
    "reduce_max": OpForm("reduction_max", _reduce_attrs),
    "arg_max": OpForm("argmax", _axis_attrs),
    "prelu": OpForm("prelu", _no_attrs, ("input", "weight"), 1),
    "sigmoid": OpForm("sigmoid"),
    "tanh": OpForm("tanh"),
    "sub": OpForm("sub"),
    "div": OpForm("div"),
    "maximum": OpForm("max"),
    "minimum": OpForm("min"),
    # No operator of XIR's own: a custom one, for which the application supplies the function.
    "lstm": OpForm("lstm", _lstm_attrs, ("input", "kernel", "recurrent", "bias"), 1),
}
EXACT_IN_FLOAT = ("relu", "relu6", "leaky_relu", "identity", "transpose", "prelu")
