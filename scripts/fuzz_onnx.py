"""Damaged and hostile ONNX files for the reader and the converter.

    .venv/bin/python scripts/fuzz_onnx.py --runs 20000

Mutates any field of any message of small valid networks; rules and findings as in ``fuzz.py``.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import limit_memory, outcome
from fuzz_bytes import damage

from dpuflow.formats.onnx_graph import parse_onnx
from dpuflow.formats.onnx_import import CONVERTERS, convert_onnx
from dpuflow.formats.onnx_proto import ModelProto
from dpuflow.formats.onnx_static import STATIC
from dpuflow.model import model_from_tf

INTEGERS = (0, 1, -1, 2, 3, 4, 7, 8, 16, 127, 255, 4096, 1 << 20, (1 << 31) - 1, -(1 << 31), (1 << 62), -(1 << 63))
FLOATS = (0.0, -1.0, 0.5, 0.3, 1e-30, 1e30, float("inf"), float("nan"))
TEXTS = (b"", b"SAME_UPPER", b"VALID", b"nearest", b"linear", b"align_corners", b"x", b"../up", b"\xc3\xa9")
OPS = sorted({*CONVERTERS, *STATIC, "Shape", "Constant", "LSTM"})


def _tensor(graph: Any, name: str, data: Any) -> str:
    array = np.asarray(data)
    kinds = {"float32": 1, "int8": 3, "int64": 7}
    graph.initializer.add(name=name, dims=array.shape, data_type=kinds[array.dtype.name], raw_data=array.tobytes())
    return name


def _node(graph: Any, op: str, inputs: tuple[str, ...], **attrs: Any) -> str:
    name = f"t{len(graph.node)}"
    node = graph.node.add(name=name, op_type=op, input=inputs, output=[name])
    for key, value in attrs.items():
        if isinstance(value, list):
            node.attribute.add(name=key, ints=value, type=7)
        elif isinstance(value, int):
            node.attribute.add(name=key, i=value, type=2)
        else:
            node.attribute.add(name=key, f=value, type=1)
    return name


def seeds() -> list[bytes]:
    """Small valid networks that between them hold most operators."""
    rng = np.random.default_rng(0)
    made = []
    for variant in range(3):
        model = ModelProto(ir_version=8)
        model.opset_import.add(domain="", version=(13, 11, 18)[variant])
        graph = model.graph
        shape = graph.input.add(name="x").type.tensor_type
        shape.elem_type = 1
        for size in (1, 2, 6, 8):
            shape.shape.dim.add(dim_value=size)
        weights = _tensor(graph, "w", rng.normal(size=(4, 2, 3, 3)).astype(np.float32))
        x = "x"
        if variant == 2:
            pair = (_tensor(graph, "s", np.float32(0.25)), _tensor(graph, "z", np.int8(0)))
            x = _node(graph, "DequantizeLinear", (_node(graph, "QuantizeLinear", ("x", *pair)), *pair))
            weights = _node(graph, "DequantizeLinear", (_tensor(graph, "q", np.ones((4, 2, 3, 3), np.int8)), *pair))
        x = _node(graph, "Conv", (x, weights), pads=[1, 1, 1, 1], strides=[1, 1])
        x = _node(graph, "Relu", (x,)) if variant else _node(graph, "LeakyRelu", (x,), alpha=0.1)
        if variant == 0:
            kernel = _tensor(graph, "wt", np.ones((4, 4, 2, 2), np.float32))
            x = _node(graph, "ConvTranspose", (x, kernel), strides=[2, 2])
            terms = [_tensor(graph, f"b{i}", np.ones(4, np.float32)) for i in range(4)]
            x = _node(graph, "BatchNormalization", (x, *terms), epsilon=1e-3)
        x = _node(graph, "Concat", (x, _node(graph, "MaxPool", (x,), kernel_shape=[3, 3], pads=[1, 1, 1, 1])), axis=1)
        if variant == 1:
            x = _node(graph, "Slice", (x, *(_tensor(graph, f"l{i}", np.array([v])) for i, v in enumerate((1, 5, 1)))))
            sizes = (_tensor(graph, "one", np.array([1])), _tensor(graph, "rest", np.array([-1])))
            x = _node(graph, "Reshape", (x, _node(graph, "Concat", sizes, axis=0)))
        else:
            x = _node(graph, "Flatten", (_node(graph, "GlobalAveragePool", (x,)),))
        inputs = 192 if variant == 1 else 8
        x = _node(graph, "Gemm", (x, _tensor(graph, "d", np.ones((inputs, 3), np.float32))), alpha=1.0)
        graph.output.add(name=_node(graph, "Softmax", (x,), axis=1))
        made.append(model.SerializeToString())
    return made


def _messages(message: Any) -> list[Any]:
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is not None:
            parts = value if isinstance(value, (list, tuple)) or hasattr(value, "add") else [value]
            found += [inner for part in parts for inner in _messages(part)]
    return found


def _other(rng: random.Random, value: Any, names: list[str]) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(INTEGERS) if rng.random() < 0.6 else value + rng.randrange(-3, 4)
    if isinstance(value, float):
        return rng.choice(FLOATS)
    if isinstance(value, bytes):
        return rng.choice((*TEXTS, value[:rng.randrange(len(value) + 1)], damage(rng, value)))
    return rng.choice((*names, *OPS, "", "absent"))


def _mutate_field(rng: random.Random, message: Any, names: list[str]) -> None:
    fields = message.ListFields()
    if not fields:
        return
    field, value = rng.choice(fields)
    repeated = hasattr(value, "__len__") and not isinstance(value, (str, bytes))
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif repeated and field.message_type is None:
        at = rng.randrange(len(value))
        if rng.random() < 0.3:
            del value[at]
        else:
            value[at] = _other(rng, value[at], names)
    elif repeated:
        at = rng.randrange(len(value))
        if rng.random() < 0.5:
            value.add().CopyFrom(value[at])
        else:
            del value[at]
    elif field.message_type is None:
        setattr(message, field.name, _other(rng, value, names))


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A mutated model: mostly by its messages, sometimes by its bytes."""
    if rng.random() < 0.15:
        return damage(rng, data)
    model = ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        names = [name for node in model.graph.node for name in node.output] + ["x", "w"]
        try:
            _mutate_field(rng, rng.choice(_messages(model)), names)
        except (ValueError, TypeError):  # a number outside its field
            continue
    made: bytes = model.SerializeToString()
    return made


def read(data: bytes) -> None:
    """What every command does with a file."""
    model_from_tf(convert_onnx(parse_onnx(data)), "fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz/onnx"))
    options = parser.parse_args()
    rng, pool, counts, seen = random.Random(options.seed), seeds(), Counter[str](), set()
    for data in pool:
        if outcome(read, data)[0] == "finding":
            print(f"a seed fails: {outcome(read, data)}", file=sys.stderr)
            return 1
    limit_memory()
    started = time.monotonic()
    for run in range(options.runs):
        data = mutate(rng, rng.choice(pool))
        kind, what = outcome(read, data)
        counts[what if kind == "refused" else kind] += 1
        if kind == "finding" and what.splitlines()[-1] not in seen:
            seen.add(what.splitlines()[-1])
            options.findings.mkdir(parents=True, exist_ok=True)
            (options.findings / f"{run}.onnx").write_bytes(data)
            print(f"finding {run}: {what}", flush=True)
    parts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"{options.runs} runs in {time.monotonic() - started:.0f} s: {parts}; {len(seen)} different findings")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
