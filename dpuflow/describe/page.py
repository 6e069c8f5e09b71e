"""The description of a file as one HTML page without anything from outside."""

from __future__ import annotations

from html import escape
from pathlib import Path

from dpuflow.describe.description import Description, Layer, fact_text
from dpuflow.describe.drawing import draw


def _facts(description: Description) -> str:
    d = description
    rows = {"kind": d.kind, "parameters": f"{d.parameters:,}", "bytes": f"{d.size_bytes:,}", "sha256": d.sha256}
    if d.core:
        rows["core"] = fact_text(d.core)
    rows |= {key: fact_text(value) for key, value in d.facts.items()}
    rows["outputs"] = ", ".join(d.outputs)
    items = (f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in rows.items())
    return f"<dl>{''.join(items)}</dl>"


def _troubles(description: Description) -> str:
    d = description
    texts = ([f"cannot be run: {d.problem}"] if d.problem else []) + list(d.warnings) + [
        f"a vendor's loader would refuse it: {text}" for text in d.broken_rules]
    return "".join(f'<p class="problem">{escape(text)}</p>' for text in texts)


def _rows(heads: tuple[tuple[str, str], ...], rows: list[tuple[object, ...]]) -> str:
    top = "".join(f'<th class="{kind}">{escape(head)}</th>' for head, kind in heads)
    body = "".join("<tr>" + "".join(f'<td class="{kind}">{escape(str(cell))}</td>'
                                    for cell, (_, kind) in zip(row, heads, strict=True)) + "</tr>" for row in rows)
    return f'<div class="frame"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _parts(description: Description) -> str:
    if not description.parts:
        return ""
    heads = (("part", "name"), ("device", ""), ("operators", "number"), ("", ""))
    return "<h2>Parts</h2>" + _rows(heads, [
        (part.name, part.device, part.operators, fact_text(part.facts)) for part in description.parts])


def _layer(layer: Layer) -> tuple[object, ...]:
    return (layer.name, layer.op, "x".join(map(str, layer.shape)),
            "" if layer.fix_point is None else layer.fix_point, layer.device, layer.parameters or "",
            fact_text(layer.notes))


def _layers(description: Description) -> str:
    heads = (("layer", "name"), ("operator", ""), ("shape", ""), ("fix_point", "number"), ("device", ""),
             ("parameters", "number"), ("attributes", ""))
    return "<h2>Layers</h2>" + _rows(heads, [_layer(layer) for layer in description.layers])


_KEY = ('<p class="key"><span class="dpu">8 bits, DPU</span><span class="cpu">float or CPU</span>'
        '<span class="user">input, or not said</span></p>')


def page(description: Description) -> str:
    """The whole page."""
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    name = escape(Path(description.file).name)
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{name}</title><style>{css}</style></head><body><h1>{name}</h1>"
            f"{_troubles(description)}{_facts(description)}<h2>Graph</h2>{_KEY}"
            f'<div class="frame">{draw(description)}</div>{_parts(description)}{_layers(description)}</body></html>\n')
