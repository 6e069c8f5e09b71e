"""Model files: the numbers of the tables are LiteRT's own, its classes read what was written."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from dpuflow.engines.litert import flatbuffer
from dpuflow.engines.litert.model import ModelWriter, Quantization

FIELDS = [(table, name, *row) for table, rows in flatbuffer.TABLES.items() for name, row in rows.items()]


@pytest.mark.parametrize(("table", "name", "number", "kind"), FIELDS, ids=lambda value: str(value))
def test_fields_are_the_schema_s(table, name, number, kind):
    camel = "".join(part.title() for part in name.split("_"))
    found = re.search(r"Prepend(\w+)Slot\((\d+),", inspect.getsource(getattr(schema, f"{table}Add{camel}")))
    scalar = found[1].lower() if found[1] != "UOffsetTRelative" else None
    assert int(found[2]) == number
    assert scalar == (kind if kind in flatbuffer._SCALARS else None)


def test_numbers_are_the_schema_s():
    for name, number in flatbuffer.OPERATORS.items():
        assert getattr(schema.BuiltinOperator, name) == number
    for name, number in flatbuffer.OPTIONS.items():
        assert getattr(schema.BuiltinOptions, name) == number
        assert name in flatbuffer.TABLES
    assert {name: getattr(schema.Padding, name) for name in ("SAME", "VALID")} == flatbuffer.PADDINGS
    for name, number in flatbuffer.ACTIVATIONS.items():
        assert getattr(schema.ActivationFunctionType, name.upper()) == number
    for dtype, number in flatbuffer.TYPES.items():
        assert getattr(schema.TensorType, dtype.name.upper()) == number


def test_litert_reads_what_was_written():
    writer = ModelWriter()
    x = writer.tensor("x", (1, 5, 6, 2), Quantization(np.float32(0.25), -128))
    weights = np.arange(-9, 9, dtype=np.int8).reshape(1, 3, 3, 2)
    w = writer.tensor("w", weights.shape, Quantization(np.array([0.5, 0.25], np.float32), 0, 3), np.int8, weights)
    b = writer.tensor("b", (2,), Quantization(np.array([0.125, 0.0625], np.float32)), np.int32,
                      np.array([-70000, 5], np.int32))
    y, z = (writer.tensor(name, (1, 3, 6, 2), Quantization(np.float32(1.0))) for name in "yz")
    writer.depthwise([x, w, b], y, (2, 1), (1, 1), "SAME", "relu6", 1)
    writer.add(y, y, z, "none")
    model = schema.ModelT.InitFromPackedBuf(writer.finish([x], [z]), 0)
    assert (model.version, model.description) == (3, b"dpuflow fast engine")
    assert [(code.builtinCode, code.version) for code in model.operatorCodes] == [(4, 3), (0, 2)]
    (graph,) = model.subgraphs
    assert (list(graph.inputs), list(graph.outputs)) == ([x], [z])
    kernel, bias = graph.tensors[w], graph.tensors[b]
    assert (kernel.name, list(kernel.shape), kernel.type) == (b"w", [1, 3, 3, 2], schema.TensorType.INT8)
    assert list(kernel.quantization.scale) == [0.5, 0.25]
    assert kernel.quantization.quantizedDimension == 3
    assert list(graph.tensors[x].quantization.zeroPoint) == [-128]
    np.testing.assert_array_equal(model.buffers[kernel.buffer].data.view(np.int8), weights.reshape(-1))
    assert list(model.buffers[bias.buffer].data.view(np.int32)) == [-70000, 5]
    assert graph.tensors[y].buffer == 0
    first, second = graph.operators
    assert (first.opcodeIndex, list(first.inputs), list(first.outputs)) == (0, [x, w, b], [y])
    options = first.builtinOptions
    assert isinstance(options, schema.DepthwiseConv2DOptionsT)
    assert (options.strideH, options.strideW, options.depthMultiplier) == (2, 1, 1)
    assert (options.padding, options.fusedActivationFunction) == (schema.Padding.SAME, 3)
    assert (options.dilationHFactor, options.dilationWFactor) == (1, 1)
    assert isinstance(second.builtinOptions, schema.AddOptionsT)
