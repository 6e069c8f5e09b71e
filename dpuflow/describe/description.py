"""The description of a model file, whatever its container."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """One operator as its file holds it; constants are counted, not listed, in ``parameters``."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    fix_point: int | None = None
    bit_width: int | None = None
    device: str = ""
    part: str = ""  # the subgraph or kernel that holds it
    parameters: int = 0
    layer: str = ""  # its name in the vendor's tools, where that differs
    notes: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A subgraph of an xmodel or a kernel of a DNNDK file."""

    name: str
    device: str
    operators: int
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """A file: what it is, what it is for, its parts and layers in order.

    ``problem`` says why the network cannot be run, ``broken_rules`` what a vendor's loader would refuse.
    """

    file: str
    kind: str
    sha256: str
    size_bytes: int
    quantized: bool
    parameters: int
    core: Facts = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    layers: tuple[Layer, ...] = ()
    outputs: tuple[str, ...] = ()
    problem: str = ""
    broken_rules: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def as_json(description: Description) -> dict[str, Any]:
    """JSON values; empty fields are left out of layers and parts."""
    values = dataclasses.asdict(description)
    values["nodes"] = [_without_empty(layer) for layer in values.pop("layers")]
    values["parts"] = [_without_empty(part) for part in values["parts"]]
    return values


_ALWAYS = ("name", "op", "inputs", "shape", "device", "operators")


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items()
            if key in _ALWAYS or value not in (None, "", 0, (), {}) or (key == "fix_point" and value is not None)}


def _fixed(layer: Layer) -> str:
    if layer.fix_point is not None:
        return f"int{layer.bit_width or 8}@{layer.fix_point}"
    if "dtype" in layer.notes:
        scale = layer.notes.get("scale")
        return str(layer.notes["dtype"]) + (f" x {scale:.4g}" if scale is not None else "")
    return "float32" if layer.shape else ""


def _layer_rows(layers: tuple[Layer, ...]) -> list[tuple[str, ...]]:
    return [(layer.name, layer.op, "x".join(map(str, layer.shape)), _fixed(layer), layer.device,
             f"{layer.parameters}" if layer.parameters else "", ", ".join(layer.inputs)) for layer in layers]


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Aligned lines; empty columns are left out."""
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    widths = [max(len(heads[at]), *(len(row[at]) for row in rows)) for at in kept]
    return [" ".join(f"{row[at]:<{width}}" for at, width in zip(kept, widths, strict=True)).rstrip()
            for row in (heads, *rows)] if kept else []


def fact_text(value: Any) -> str:
    """A fact's value in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {fact_text(item)}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def as_text(description: Description) -> str:
    """The description for a terminal."""
    d = description
    lines = [f"{d.file}: {d.kind}, {d.parameters} parameters" + (f", {d.size_bytes} bytes" if d.sha256 else "")]
    lines += [f"sha256 {d.sha256}"] if d.sha256 else []
    if d.core:
        rest = {key: value for key, value in d.core.items() if key != "name"}
        lines.append(f"compiled for {d.core.get('name')}, {fact_text(rest)}")
    lines += [f"{key}: {fact_text(value)}" for key, value in d.facts.items()]
    if d.parts:
        lines += ["", *table(("part", "device", "operators", "facts"), [
            (part.name, part.device, str(part.operators), fact_text(part.facts)) for part in d.parts])]
    lines += ["", *table(("layer", "operator", "shape", "type", "device", "parameters", "reads"),
                         _layer_rows(d.layers))]
    lines.append("outputs " + ", ".join(d.outputs))
    if d.problem:
        lines.append(f"cannot be run: {d.problem}")
    lines += [f"warning: {text}" for text in d.warnings]
    lines += [f"a vendor's loader would refuse it: {text}" for text in d.broken_rules]
    return "\n".join(lines) + "\n"
