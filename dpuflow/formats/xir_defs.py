"""The operators that XIR defines: arguments and attributes with their exact types (xmodel specification, 4).

One row a group of operators. An argument is ``name`` (one operand), ``name?`` (optional), ``name+`` (one
or more), ``name=2`` or ``name>2`` (so many, or at least). An attribute is ``name:kind``, ``!`` behind it
when required, and its length in brackets when fixed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WINDOW = "kernel:int32_vec[2]! stride:int32_vec[2]! dilation:int32_vec[2] pad:int32_vec[4]"
_CONV = f"{_WINDOW} pad_mode:string! in_dim:int32 out_dim:int32 bias_term:bool"
_CONV_FIX = (f"{_WINDOW} pad_mode:string nonlinear:string hsigmoid_in:int32 shift_hsigmoid:int32 shift_hswish:int32 "
             "shift_bias:int32 shift_cut:int32")
_WEIGHTED = "input weights bias?"
_FIX = "fix_point:int32! bit_width:int32! round_mode:string! if_signed:bool!"
_RESIZE = "mode:string! align_corners:bool half_pixel_centers:bool"

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("data data-fix", "", "shape:int32_vec! data_type:string!"),
    ("const const-fix", "", "shape:int32_vec! data_type:string! data:bytes!"),
    ("fix float2fix fix2float", "input", _FIX),
    ("conv2d", _WEIGHTED, f"{_CONV} group:int32"),
    ("conv2d-fix", _WEIGHTED, f"{_CONV_FIX} group:int32"),
    ("depthwise-conv2d transposed-conv2d transposed-depthwise-conv2d", _WEIGHTED, _CONV),
    ("depthwise-conv2d-fix transposed-conv2d-fix transposed-depthwise-conv2d-fix", _WEIGHTED, _CONV_FIX),
    ("pool-fix", "input", "kernel:int32_vec[2]! stride:int32_vec[2]! pad:int32_vec[4] type:string!"),
    ("maxpool2d", "input",
     "kernel:int32_vec[2]! stride:int32_vec[2]! pad_mode:string! pad:int32_vec[4] global:bool"),
    ("avgpool2d", "input",
     "kernel:int32_vec[2]! stride:int32_vec[2]! pad_mode:string! pad:int32_vec[4] global:bool "
     "count_include_pad:bool count_include_invalid:bool"),
    ("eltwise-fix", "input>2", "nonlinear:string type:string"),
    ("depthwise-fix", "input+", "type:string"),
    ("add sub mul div max min", "input+", ""),
    ("matmul", "input=2 bias?", "transpose_a:bool! transpose_b:bool!"),
    ("inner-product", _WEIGHTED, "axis:int32"),
    ("reshape-fix", "input", "shape:int32_vec!"),
    ("reshape", "input shape?", "shape:int32_vec"),
    ("flatten", "input", "start_axis:int32! end_axis:int32!"),
    ("squeeze", "input", "axis:int32_vec"),
    ("concat concat-fix", "input+", "axis:int32!"),
    ("pad pad-fix", "input", "paddings:int32_vec! mode:string! constant_values:int32_vec"),
    ("resize", "input size?", f"{_RESIZE} scale:float_vec"),
    ("upsample-fix downsample-fix", "input size?", f"{_RESIZE} scale:float_vec[2]!"),
    ("softmax", "input", "axis:int32!"),
    ("hard-softmax", "input", "axis:int32! type:string!"),
    ("relu relu6 sigmoid tanh hard-sigmoid", "input", ""),
    ("hard-sigmoid-fix", "input", "hsigmoid_in:int32 shift_hsigmoid:int32"),
    ("leaky-relu", "input", "alpha:float!"),
    ("prelu", "input weight", ""),
    ("upload download identity", "input", ""),
    ("reduction_mean reduction_max reduction_sum reduction_product reduction_max-fix", "input",
     "axis:int32_vec! keep_dims:bool!"),
    ("argmax argmax-fix", "input", "axis:int32!"),
    ("strided_slice strided_slice-fix", "input", "begin:int32_vec! end:int32_vec! strides:int32_vec!"),
    ("transpose", "input", "order:int32_vec!"),
    ("batchnorm", "input gamma beta moving_mean moving_var", "axis:int32! epsilon:float!"),
    ("scale", "input scale bias?", "axis:int32"),
)


@dataclass(frozen=True)
class ArgDef:
    """An argument: its name and the fewest and most operands."""

    name: str
    fewest: int
    most: int


@dataclass(frozen=True)
class AttrDef:
    """An attribute: its name, exact kind, whether a loader demands it, its length (0: any)."""

    name: str
    kind: str
    required: bool
    length: int


@dataclass(frozen=True)
class XirOp:
    """One operator type."""

    args: tuple[ArgDef, ...]
    attrs: tuple[AttrDef, ...]


_MANY = 1 << 20
_COUNTS = {"": (1, 1), "?": (0, 1), "+": (1, _MANY), "=2": (2, 2), ">2": (2, _MANY)}


def _arg(text: str) -> ArgDef:
    matched = re.fullmatch(r"(\w+)(.*)", text)
    assert matched
    return ArgDef(matched[1], *_COUNTS[matched[2]])


def _attr(text: str) -> AttrDef:
    matched = re.fullmatch(r"(\w+):(\w+?)(?:\[(\d)\])?(!?)", text)
    assert matched
    return AttrDef(matched[1], matched[2], bool(matched[4]), int(matched[3] or 0))


XIR_OPS: Mapping[str, XirOp] = {
    name: XirOp(tuple(map(_arg, args.split())), tuple(map(_attr, attrs.split())))
    for names, args, attrs in _ROWS for name in names.split()
}

# What a fixed-point tensor states about itself (xmodel specification, section 4, end).
FIX_ATTRS = tuple(map(_attr, _FIX.split()))

def _rows(text: str) -> tuple[AttrDef, ...]:
    return tuple(map(_attr, text.split()))


# What VART reads of a DPU subgraph (xmodel specification, sections 2 and 6).
DPU_SUBGRAPH = _rows(
    "device:string! dpu_name:string dpu_fingerprint:uint64 mc_code:bytes! mc_code_preload:bytes "
    "debug_mode:string if_prefetch:bool children_topological_sort:string_vec "
    "reg_id_to_context_type:map_string_2_string! reg_id_to_context_type_v2:map_string_2_string "
    "reg_id_to_hw_segment:map_string_2_string reg_id_to_size:map_string_2_int32! "
    "reg_id_to_parameter_value:map_string_2_bytes! runner:map_string_2_string! "
    "workload:uint64! workload_on_arch:uint64")

# Where a tensor lies in a DPU's memory (xmodel specification, section 6).
PLACE_ATTRS = _rows("reg_id:int32! ddr_addr:int32! location:int32! stride:int32_vec")
