"""XIR graphs, ours or the vendor's, quantized or compiled, to graphs (xmodel specification, 3 to 7).

Instructions are never decoded: operators, parameters and positions say everything. A compiled file
gives a quantized graph; a quantized one (float operators and ``fix``) a float graph with ``fix``
nodes, which :func:`dpuflow.passes.lower` makes a quantized graph of.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats import xir_cpu, xir_simple, xir_windows
from dpuflow.formats.checks import MALFORMED
from dpuflow.formats.xir import XGraph, XOp
from dpuflow.formats.xir_defs import XIR_OPS
from dpuflow.formats.xir_importer import Converter, XirImporter
from dpuflow.formats.xir_old import is_old, modernised
from dpuflow.formats.xir_operands import constant_array, fix_of, parameter_blobs, where_of
from dpuflow.ir.graph import Array, Graph
from dpuflow.ir.verify import verify
from dpuflow.ops.custom import CustomAttrs, CustomFunction

CONVERTERS: Mapping[str, Converter] = {
    "data": xir_simple.data,
    "data-fix": xir_simple.data,
    "const": xir_simple.constant,
    "const-fix": xir_simple.constant,
    "fix": xir_simple.fix,
    "upload": xir_simple.alias,
    "download": xir_simple.alias,
    "fix2float": xir_simple.alias,
    "float2fix": xir_simple.unary("float2fix"),
    "identity": xir_simple.unary("identity"),
    "conv2d-fix": xir_windows.conv("conv2d"),
    "depthwise-conv2d-fix": xir_windows.conv("depthwise_conv2d"),
    "pool-fix": xir_windows.pool_fix,
    "eltwise-fix": xir_simple.eltwise,
    "concat-fix": xir_simple.concat,
    "reshape-fix": xir_simple.reshape,
    "pad-fix": xir_simple.pad,
    "hard-sigmoid-fix": xir_simple.unary("hard_sigmoid"),
    "conv2d": xir_windows.conv("conv2d"),
    "depthwise-conv2d": xir_windows.conv("depthwise_conv2d"),
    "matmul": xir_windows.matmul,
    "inner-product": xir_windows.inner_product,
    "maxpool2d": xir_windows.float_pool("max_pool"),
    "avgpool2d": xir_windows.float_pool("avg_pool"),
    "reduction_mean": xir_windows.mean,
    "add": xir_simple.float_eltwise("add"),
    "mul": xir_simple.float_eltwise("mul"),
    "concat": xir_simple.concat,
    "reshape": xir_simple.reshape,
    "flatten": xir_simple.reshape,
    "squeeze": xir_simple.reshape,
    "pad": xir_simple.pad,
    "relu": xir_simple.unary("relu"),
    "relu6": xir_simple.unary("relu6"),
    "leaky-relu": xir_simple.leaky,
    "hard-sigmoid": xir_simple.unary("hard_sigmoid"),
    "softmax": xir_simple.softmax,
    "transposed-conv2d": xir_windows.transposed(False),
    "transposed-conv2d-fix": xir_windows.transposed(False),
    "transposed-depthwise-conv2d": xir_windows.transposed(True),
    "transposed-depthwise-conv2d-fix": xir_windows.transposed(True),
    "depthwise-fix": xir_cpu.per_channel,
    "sub": xir_cpu.two_by_two("sub"),
    "div": xir_cpu.two_by_two("div"),
    "max": xir_cpu.two_by_two("maximum"),
    "min": xir_cpu.two_by_two("minimum"),
    "resize": xir_cpu.resize,
    "upsample-fix": xir_cpu.resize,
    "downsample-fix": xir_cpu.resize,
    "transpose": xir_cpu.transpose,
    "strided_slice": xir_cpu.strided_slice,
    "strided_slice-fix": xir_cpu.strided_slice,
    "reduction_max": xir_cpu.reduction("max"),
    "reduction_max-fix": xir_cpu.reduction("max"),
    "reduction_sum": xir_cpu.reduction("sum"),
    "reduction_product": xir_cpu.reduction("product"),
    "argmax": xir_cpu.arg_max,
    "argmax-fix": xir_cpu.arg_max,
    "prelu": xir_cpu.prelu,
    "sigmoid": xir_simple.unary("sigmoid"),
    "tanh": xir_simple.unary("tanh"),
    "batchnorm": xir_cpu.batch_norm,
    "scale": xir_cpu.scale,
    "lstm": xir_simple.lstm,  # this library's own: a custom operator to others
}
OLD_FILE = ("made by release 1.x (enumerations as numbers, constants without shape), which XIR 2.0 and later refuse; "
            "read as the later form")


def _outputs(graph: XGraph) -> tuple[str, ...]:
    named = graph.attrs["return_ops"].value if "return_ops" in graph.attrs else ()
    if named and all(name in graph.by_name for name in named):
        return tuple(named)
    read = {name for op in graph.ops for names in op.args.values() for name in names}
    return tuple(op.name for op in graph.ops if op.name not in read)


def _custom(importer: XirImporter, op: XOp, function: CustomFunction | None) -> None:
    """An operator that XIR does not define: its function computes it, in float."""
    operands = [importer.named(name) for names in op.args.values() for name in names]
    values = {key: value.value for key, value in op.attrs.items()}
    attrs = CustomAttrs(op.type, (1, *op.tensor.dims[1:]), values, function)
    if fix_of(op) is None:
        importer.emit(op, "custom", operands, attrs)
    else:
        inner = importer.made(op, importer.free_name(f"{op.name}/float"), "custom", operands, attrs)
        importer.nodes[inner.name] = inner
        importer.emit(op, "float2fix", (inner,))


def import_xir(graph: XGraph, custom: Mapping[str, CustomFunction] | None = None) -> Graph:
    """The network of an xmodel: quantized, or float with ``fix`` nodes if the file is yet to be compiled.

    ``custom``: functions for operator types that XIR does not define; one without a function shows
    in the graph and cannot be run. UnsupportedOp names an operator of XIR that cannot be used here.
    Warns of a file of release 1.x.
    """
    if is_old(graph):
        warnings.warn(f"{graph.name}: {OLD_FILE}", stacklevel=2)
        graph = modernised(graph)
    importer, custom = XirImporter(graph), custom or {}
    for op in graph.ops:
        try:
            if op.type in CONVERTERS and op.type not in custom:
                CONVERTERS[op.type](importer, op)
            elif op.type not in XIR_OPS or op.type in custom:
                _custom(importer, op, custom.get(op.type))
            else:
                raise UnsupportedOp(f"unsupported operator type '{op.type}'", where=f"operator '{op.name}'",
                                    remedy=f"supply it as a Python function: --custom-op {op.type}=module.function")
        except MALFORMED as error:
            raise GraphError(f"malformed operator ({error})", where=where_of(op)) from error
    return verify(importer.finished(_outputs(graph)))


def parameter_arrays(graph: XGraph) -> dict[str, Array]:
    """Every constant of the file by operator name, in the file's own axis order."""
    blobs, arrays = parameter_blobs(graph), dict[str, Any]()
    for op in graph.ops:
        if op.type in ("const", "const-fix"):
            try:
                arrays[op.name] = constant_array(op, blobs)
            except MALFORMED as error:
                raise GraphError(f"malformed operator ({error})", where=where_of(op)) from error
    return arrays
