"""Write LiteRT models layer by layer.

Only the model file is made here; which layer may go in, and with which numbers, is decided in
``dpuflow.engines.litert.layers``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.engines.litert.flatbuffer import ACTIVATIONS, OPERATORS, OPTIONS, PADDINGS, TYPES, model_bytes
from dpuflow.ir.graph import Array, Shape


@dataclass(frozen=True)
class Quantization:
    """Scale (one, or one a channel along ``axis``) and zero point of a LiteRT tensor."""

    scale: Array
    zero_point: int = 0
    axis: int = 0


class ModelWriter:
    """Collects tensors and operators of one subgraph."""

    def __init__(self) -> None:
        self.buffers: list[dict[str, Any]] = [{}]  # the first stands for no data
        self.tensors: list[dict[str, Any]] = []
        self.operators: list[dict[str, Any]] = []
        self.codes: dict[str, int] = {}  # the version of every kind of operator

    def tensor(self, name: str, shape: Shape, quantization: Quantization | None, dtype: Any = np.int8,
               data: Array | None = None) -> int:
        """A tensor, constant if it has data; returns its index."""
        made = {"name": name, "shape": shape, "type": TYPES[np.dtype(dtype)], "buffer": self._buffer(data)}
        if quantization is not None:
            scale = np.atleast_1d(quantization.scale)
            made["quantization"] = {"scale": scale, "zero_point": np.full(scale.shape, quantization.zero_point),
                                    "quantized_dimension": quantization.axis}
        self.tensors.append(made)
        return len(self.tensors) - 1

    def _buffer(self, data: Array | None) -> int:
        if data is None:
            return 0
        self.buffers.append({"data": np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)})
        return len(self.buffers) - 1

    def operator(self, kind: str, version: int, inputs: list[int], output: int, options: str, **values: Any) -> None:
        """An operator with its table of options."""
        self.codes.setdefault(kind, version)
        self.operators.append({"opcode_index": list(self.codes).index(kind), "inputs": inputs, "outputs": [output],
                               "builtin_options_type": OPTIONS[options], "builtin_options": (options, values)})

    def conv2d(self, inputs: list[int], output: int, stride: tuple[int, int], dilation: tuple[int, int],
               padding: str, activation: str) -> None:
        """CONV_2D with int8 per-channel weights."""
        self.operator("CONV_2D", 3, inputs, output, "Conv2DOptions", **_window(stride, padding, activation),
                      dilation_h_factor=dilation[0], dilation_w_factor=dilation[1])

    def depthwise(self, inputs: list[int], output: int, stride: tuple[int, int], dilation: tuple[int, int],
                  padding: str, activation: str, multiplier: int) -> None:
        """DEPTHWISE_CONV_2D with int8 per-channel weights."""
        self.operator("DEPTHWISE_CONV_2D", 3, inputs, output, "DepthwiseConv2DOptions",
                      **_window(stride, padding, activation), depth_multiplier=multiplier,
                      dilation_h_factor=dilation[0], dilation_w_factor=dilation[1])

    def fully_connected(self, inputs: list[int], output: int, activation: str) -> None:
        """FULLY_CONNECTED with int8 weights."""
        self.operator("FULLY_CONNECTED", 5, inputs, output, "FullyConnectedOptions",
                      fused_activation_function=ACTIVATIONS[activation])

    def max_pool(self, source: int, output: int, kernel: tuple[int, int], stride: tuple[int, int],
                 padding: str) -> None:
        """MAX_POOL_2D."""
        self.operator("MAX_POOL_2D", 2, [source], output, "Pool2DOptions", **_window(stride, padding, "none"),
                      filter_height=kernel[0], filter_width=kernel[1])

    def pad(self, source: int, pads: int, value: int, output: int) -> None:
        """PADV2: pads with the given constant."""
        self.operator("PADV2", 2, [source, pads, value], output, "PadV2Options")

    def reshape(self, source: int, output: int, shape: Shape) -> None:
        """RESHAPE; -1 stands for the batch."""
        target = self.tensor(f"shape_{output}", (len(shape),), None, np.int32, np.array(shape, np.int32))
        self.operator("RESHAPE", 1, [source, target], output, "ReshapeOptions", new_shape=shape)

    def add(self, first: int, second: int, output: int, activation: str) -> None:
        """ADD of two maps."""
        self.operator("ADD", 2, [first, second], output, "AddOptions",
                      fused_activation_function=ACTIVATIONS[activation])

    def concat(self, sources: list[int], output: int, axis: int) -> None:
        """CONCATENATION of maps of one scale and zero point."""
        self.operator("CONCATENATION", 2, sources, output, "ConcatenationOptions", axis=axis)

    def depth_to_space(self, source: int, output: int, block: int) -> None:
        """DEPTH_TO_SPACE."""
        self.operator("DEPTH_TO_SPACE", 2, [source], output, "DepthToSpaceOptions", block_size=block)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The model's bytes."""
        codes = [{"builtin_code": OPERATORS[kind], "version": version,
                  "deprecated_builtin_code": min(OPERATORS[kind], 127)} for kind, version in self.codes.items()]
        graph = {"tensors": self.tensors, "inputs": inputs, "outputs": outputs, "operators": self.operators}
        return model_bytes({"version": 3, "description": "dpuflow fast engine", "operator_codes": codes,
                            "subgraphs": [graph], "buffers": self.buffers})


def _window(stride: tuple[int, int], padding: str, activation: str) -> dict[str, int]:
    return {"padding": PADDINGS[padding], "fused_activation_function": ACTIVATIONS[activation],
            "stride_h": stride[0], "stride_w": stride[1]}
