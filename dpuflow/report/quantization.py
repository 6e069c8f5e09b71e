"""The page of one quantization: what each tensor lost, what each layer costs, what would help.

Made from the record that ``dpuflow quantize --json`` writes (:mod:`dpuflow.analysis.record`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.errors import ConfigError
from dpuflow.report import figures
from dpuflow.report.template import count, number, percent, signed

HERE = Path(__file__).parent
SHOWN_LAYERS = 24


def render_quantization(record: Mapping[str, Any]) -> str:
    """The page as text; the same record gives the same bytes. ConfigError without the ``report`` extra."""
    try:
        import jinja2
    except ImportError as error:
        raise ConfigError(f"the report needs jinja2 ({error})", remedy="pip install 'dpuflow[report]'") from None
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, loader=jinja2.FileSystemLoader(HERE))
    environment.filters.update(pct=percent, num=number, count=count, signed=signed)
    parts = {name: (HERE / name).read_text(encoding="utf-8") for name in ("style.css", "table.js")}
    return environment.get_template("quantization.html").render(
        style=parts["style.css"], script=parts["table.js"], **content(record))


def content(record: Mapping[str, Any]) -> dict[str, Any]:
    """All that the template shows, by name."""
    measured = record.get("cost_unit") == "accuracy"
    layers = record.get("layers", [])
    tensors = {tensor["name"]: tensor for tensor in record.get("tensors", [])}
    return {
        "record": record, "name": Path(record["network"]["file"]).name, "measured": measured,
        "accuracy": record.get("accuracy") or None, "closeness": record.get("closeness"), "layers": layers,
        "tensors": [(tensor, histogram_svg(tensor)) for tensor in tensors.values()],
        "bias_modes": record.get("bias_modes", []), "what_if": record.get("what_if", []),
        "search": record.get("search"),
        "findings": record.get("findings", []), "illegal": record.get("illegal_shifts", []),
        "costs_svg": cost_figure(layers[:SHOWN_LAYERS], measured) if layers else None,
        "noise_svg": noise_figure(list(tensors.values())) if tensors else None,
    }


def cost_figure(layers: Sequence[Mapping[str, Any]], measured: bool) -> str:
    """What each layer costs, the dearest on top."""
    columns = 2 if measured else 1
    drawing = figures.Drawing("costs", 9.0, 0.9 + 0.26 * len(layers), columns=columns, sharey=True)
    left, right = drawing.axes[0], drawing.axes[-1]
    places = np.arange(len(layers))
    if measured:
        left.barh(places, [100 * layer["cost"] for layer in layers], color=figures.SERIES[3], height=0.62)
        left.axvline(0, color=figures.INK, linewidth=0.8)
        left.set(xlabel="points of accuracy", title="cost in accuracy")
    right.barh(places, [100 * layer["noise_share"] for layer in layers], color=figures.SERIES[0], height=0.62)
    right.axvline(0, color=figures.INK, linewidth=0.8)
    right.set(xlabel="share of the output's noise power [%]", title="noise that goes when it stays in float")
    left.set_yticks(places, [layer["name"] for layer in layers], fontsize=7.5)
    left.set_ylim(len(layers) - 0.4, -0.6)
    for axes in drawing.axes:
        figures.plain_rows(axes)
    return drawing.svg("Cost of each layer, measured by leaving it alone in float; the figures are in the table")


def noise_figure(tensors: Sequence[Mapping[str, Any]]) -> str:
    """Signal to noise of each tensor: by its own rounding, and against the float network."""
    drawing = figures.Drawing("noise", 9.0, 0.9 + 0.22 * len(tensors))
    axes, places = drawing.axes[0], np.arange(len(tensors))
    for key, colour, label, marker in (("own_sqnr_db", figures.SERIES[2], "its own rounding", "o"),
                                       ("sqnr_db", figures.SERIES[3], "against the float network", "D")):
        axes.plot([np.nan if tensor[key] is None else tensor[key] for tensor in tensors], places, marker,
                  color=colour, label=label, markersize=5)
    axes.set_yticks(places, [tensor["name"] for tensor in tensors], fontsize=7.5)
    axes.set(xlabel="signal to quantization noise [dB], more is better", ylim=(len(tensors) - 0.4, -0.6))
    figures.plain_rows(axes)
    figures.legend_above(axes, 2)
    return drawing.svg("Signal to quantization noise of each tensor; the figures are in the table")


def histogram_svg(tensor: Mapping[str, Any], width: int = 132, height: int = 30) -> str:
    """A small histogram of a tensor's float values; the middle half is what the integers can hold."""
    counts = np.array(tensor["histogram"], float)
    if not counts.sum():
        return ""
    bars = np.sqrt(counts / counts.max())
    step = width / len(bars)
    inside = (1 + (len(bars) - 2) / 4, 1 + 3 * (len(bars) - 2) / 4)
    parts = [f'<rect x="{inside[0] * step:.1f}" y="0" width="{(inside[1] - inside[0]) * step:.1f}" height="{height}" '
             'fill="var(--grid)" opacity="0.45"/>']
    for place, value in enumerate(bars):
        if value:
            lost = not inside[0] <= place + 0.5 <= inside[1]
            parts.append(f'<rect x="{place * step:.1f}" y="{height * (1 - value):.1f}" width="{step:.1f}" '
                         f'height="{height * value:.1f}" fill="var(--series-{4 if lost else 1})"/>')
    label = f"Histogram of {tensor['name']}".replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return (f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}">{"".join(parts)}</svg>')
