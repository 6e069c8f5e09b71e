"""Write LiteRT models layer by layer, with the schema classes that LiteRT carries.

Only the flatbuffer is made here; which layer may go in, and with which numbers, is decided in
``dpuflow.engines.litert.layers``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from dpuflow.ir.graph import Array, Shape

_TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.int32): schema.TensorType.INT32}
ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_PADDINGS = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


@dataclass(frozen=True)
class Quantization:
    """Scale (one, or one a channel along ``axis``) and zero point of a LiteRT tensor."""

    scale: Array
    zero_point: int = 0
    axis: int = 0


class ModelWriter:
    """Collects tensors and operators of one subgraph."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = b"dpuflow fast engine"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.codes: dict[int, int] = {}

    def tensor(self, name: str, shape: Shape, quantization: Quantization | None, dtype: Any = np.int8,
               data: Array | None = None) -> int:
        """A tensor, constant if it has data; returns its index."""
        tensor = schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = _TYPES[np.dtype(dtype)]
        tensor.buffer = self._buffer(data)
        if quantization is not None:
            tensor.quantization = schema.QuantizationParametersT()
            scale = np.atleast_1d(np.asarray(quantization.scale, np.float32))
            tensor.quantization.scale = scale
            tensor.quantization.zeroPoint = np.full(scale.shape, quantization.zero_point, np.int64)
            tensor.quantization.quantizedDimension = quantization.axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _buffer(self, data: Array | None) -> int:
        if data is None:
            return 0
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def operator(self, code: int, inputs: list[int], output: int, options: Any, kind: int, version: int) -> None:
        """An operator with its options."""
        if code not in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.version = code, version
            entry.deprecatedBuiltinCode = min(code, 127)
            self.codes[code] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(entry)
        made = schema.OperatorT()
        made.opcodeIndex = self.codes[code]
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        made.builtinOptions, made.builtinOptionsType = options, kind
        self.graph.operators.append(made)

    def conv2d(self, inputs: list[int], output: int, stride: tuple[int, int], dilation: tuple[int, int],
               padding: str, activation: str) -> None:
        """CONV_2D with int8 per-channel weights."""
        options = schema.Conv2DOptionsT()
        options.strideH, options.strideW = stride
        options.dilationHFactor, options.dilationWFactor = dilation
        options.padding, options.fusedActivationFunction = _PADDINGS[padding], ACTIVATIONS[activation]
        self.operator(schema.BuiltinOperator.CONV_2D, inputs, output, options,
                      schema.BuiltinOptions.Conv2DOptions, 3)

    def depthwise(self, inputs: list[int], output: int, stride: tuple[int, int], dilation: tuple[int, int],
                  padding: str, activation: str, multiplier: int) -> None:
        """DEPTHWISE_CONV_2D with int8 per-channel weights."""
        options = schema.DepthwiseConv2DOptionsT()
        options.strideH, options.strideW = stride
        options.dilationHFactor, options.dilationWFactor = dilation
        options.depthMultiplier = multiplier
        options.padding, options.fusedActivationFunction = _PADDINGS[padding], ACTIVATIONS[activation]
        self.operator(schema.BuiltinOperator.DEPTHWISE_CONV_2D, inputs, output, options,
                      schema.BuiltinOptions.DepthwiseConv2DOptions, 3)

    def fully_connected(self, inputs: list[int], output: int, activation: str) -> None:
        """FULLY_CONNECTED with int8 weights."""
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[activation]
        self.operator(schema.BuiltinOperator.FULLY_CONNECTED, inputs, output, options,
                      schema.BuiltinOptions.FullyConnectedOptions, 5)

    def max_pool(self, source: int, output: int, kernel: tuple[int, int], stride: tuple[int, int],
                 padding: str) -> None:
        """MAX_POOL_2D."""
        options = schema.Pool2DOptionsT()
        options.filterHeight, options.filterWidth = kernel
        options.strideH, options.strideW = stride
        options.padding, options.fusedActivationFunction = _PADDINGS[padding], ACTIVATIONS["none"]
        self.operator(schema.BuiltinOperator.MAX_POOL_2D, [source], output, options,
                      schema.BuiltinOptions.Pool2DOptions, 2)

    def pad(self, source: int, pads: int, value: int, output: int) -> None:
        """PADV2: pads with the given constant."""
        self.operator(schema.BuiltinOperator.PADV2, [source, pads, value], output, schema.PadV2OptionsT(),
                      schema.BuiltinOptions.PadV2Options, 2)

    def reshape(self, source: int, output: int, shape: Shape) -> None:
        """RESHAPE; -1 stands for the batch."""
        options = schema.ReshapeOptionsT()
        options.newShape = np.array(shape, np.int32)
        target = self.tensor(f"shape_{output}", (len(shape),), None, np.int32, np.array(shape, np.int32))
        self.operator(schema.BuiltinOperator.RESHAPE, [source, target], output, options,
                      schema.BuiltinOptions.ReshapeOptions, 1)

    def add(self, first: int, second: int, output: int, activation: str) -> None:
        """ADD of two maps."""
        options = schema.AddOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[activation]
        self.operator(schema.BuiltinOperator.ADD, [first, second], output, options,
                      schema.BuiltinOptions.AddOptions, 2)

    def concat(self, sources: list[int], output: int, axis: int) -> None:
        """CONCATENATION of maps of one scale and zero point."""
        options = schema.ConcatenationOptionsT()
        options.axis, options.fusedActivationFunction = axis, ACTIVATIONS["none"]
        self.operator(schema.BuiltinOperator.CONCATENATION, sources, output, options,
                      schema.BuiltinOptions.ConcatenationOptions, 2)

    def depth_to_space(self, source: int, output: int, block: int) -> None:
        """DEPTH_TO_SPACE."""
        options = schema.DepthToSpaceOptionsT()
        options.blockSize = block
        self.operator(schema.BuiltinOperator.DEPTH_TO_SPACE, [source], output, options,
                      schema.BuiltinOptions.DepthToSpaceOptions, 2)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The model's bytes."""
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        self.model.subgraphs = [self.graph]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
