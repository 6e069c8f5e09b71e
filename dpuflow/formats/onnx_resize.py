"""ONNX operators that change a map's height and width without weights: Resize, Upsample, depth to space."""

from __future__ import annotations

import math

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.onnx_graph import OnnxNode
from dpuflow.formats.onnx_values import NHWC, Conversion, Value


def depth_to_space(conversion: Conversion, node: OnnxNode) -> None:
    """DepthToSpace (DCR) and SpaceToDepth, which mean the same in both layouts."""
    x = conversion.feature_map(node)
    block = int(node.attrs.get("blocksize", 0))
    if block < 1 or (node.op == "DepthToSpace" and node.attrs.get("mode", b"DCR") != b"DCR"):
        raise UnsupportedOp("this order of depth and space", where=node.where, got=node.attrs.get("mode", block),
                            expected="DCR", remedy="permute the channels of the layer before it")
    n, c, h, w = x.shape
    up = node.op == "DepthToSpace"
    if (up and c % (block * block)) or (not up and (h % block or w % block)):
        raise GraphError("the block does not fit", where=node.where, got=block, expected=x.shape)
    shape = (n, c // (block * block), h * block, w * block) if up else (n, c * block * block, h // block, w // block)
    name = conversion.emit(conversion.last_name(node, f"/{node.op}"), node.op, (x.node,), block_size=block,
                           data_format=b"NHWC")
    conversion.finish(node, Value(name, shape, NHWC, floor=x.floor))


# (mode, coordinate transformation) -> TensorFlow's attributes.
_LINEAR = {b"half_pixel": (False, True), b"pytorch_half_pixel": (False, True), b"align_corners": (True, False),
           b"asymmetric": (False, False)}


def resize(conversion: Conversion, node: OnnxNode) -> None:
    """Resize and Upsample of height and width: nearest by whole factors, or bilinear."""
    x = conversion.feature_map(node)
    n, c, h, w = x.shape
    size = _new_size(conversion, node, x)
    mode = node.attrs.get("mode", b"nearest")
    old = node.op == "Upsample" or conversion.graph.opset < 11
    way = b"asymmetric" if old else node.attrs.get("coordinate_transformation_mode", b"half_pixel")
    if mode == b"nearest":
        if size[0] % h or size[1] % w or way == b"align_corners" or not _copies(node, way, size[0] // h, size[1] // w):
            raise UnsupportedOp("a nearest resize that is no plain repetition", where=node.where, got=size,
                                expected="whole factors")
        op, attrs = "ResizeNearestNeighbor", {"align_corners": False, "half_pixel_centers": False}
    elif mode == b"linear" and way in _LINEAR:
        align, half = _LINEAR[way]
        op, attrs = "ResizeBilinear", {"align_corners": align, "half_pixel_centers": half}
    else:
        raise UnsupportedOp("an unsupported resize", where=node.where, got=f"{mode!r}, {way!r}",
                            expected="nearest or linear")
    name = conversion.last_name(node, f"/{op}")
    sizes = conversion.integers(f"{name}/size", size)
    conversion.emit(name, op, (x.node, sizes), **attrs)
    conversion.finish(node, Value(name, (n, c, *size), NHWC, floor=x.floor))


def _copies(node: OnnxNode, way: bytes, up: int, across: int) -> bool:
    """Whether every old pixel becomes a block of up x across new ones, by the rounding that is asked for."""
    rounding = node.attrs.get("nearest_mode", b"floor" if way == b"asymmetric" and node.op == "Upsample"
                              else b"round_prefer_floor")
    if node.op == "Upsample" or max(up, across) == 1:
        return True
    if way == b"asymmetric":
        return bool(rounding == b"floor")
    return way in (b"half_pixel", b"pytorch_half_pixel") and rounding in (b"round_prefer_floor", b"round_prefer_ceil")


def _new_size(conversion: Conversion, node: OnnxNode, x: Value) -> tuple[int, int]:
    last = len(node.inputs) - 1
    scales, sizes = node.attrs.get("scales"), None
    if node.op == "Upsample" and scales is None:
        scales = conversion.data(node, 1, "scale")
    elif node.op == "Resize":
        at = 1 if conversion.graph.opset < 11 else 2
        scales = conversion.optional_data(node, at, "scale")
        sizes = conversion.optional_data(node, 3, "size") if last >= 3 else None
    if sizes is not None and sizes.size:
        wanted = [int(size) for size in sizes.reshape(-1)]
    elif scales is not None and np.size(scales):
        factors = [float(scale) for scale in np.asarray(scales).reshape(-1)]
        wanted = [math.floor(size * factor) for size, factor in zip(x.shape[-len(factors):], factors, strict=True)]
    else:
        raise GraphError("neither scales nor sizes", where=node.where)
    if len(wanted) == 4 and tuple(wanted[:2]) != x.shape[:2]:
        raise UnsupportedOp("a resize of batch or channels", where=node.where, got=wanted)
    height, width = wanted[-2:]
    if not 1 <= min(height, width) <= max(height, width) <= 1 << 14:
        raise GraphError("an impossible size", where=node.where, got=wanted)
    return height, width


