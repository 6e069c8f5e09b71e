"""The report's figures: matplotlib drawings as inline SVG that follow the page's light or dark colours."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dpuflow.errors import ConfigError
from dpuflow.ir.graph import Array

# Marks that matplotlib draws with, replaced by the page's own colours: variables of style.css.
INK, GRID = "#010101", "#020202"
SERIES = ("#010203", "#010204", "#010205", "#010206", "#010207", "#010208", "#010209", "#01020a")
VARIABLES = {INK: "--ink", GRID: "--grid", **{mark: f"--series-{i + 1}" for i, mark in enumerate(SERIES)}}
BOUNDS = ("conv", "load", "ddr", "save", "pool", "fixed cost", "dwconv", "eltwise")  # a colour for each
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "dpuflow", "font.family": "sans-serif", "font.size": 9,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID, "xtick.color": INK, "ytick.color": INK,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.6, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "axes.titlesize": 10, "axes.titleweight": "bold",
}


class Drawing:
    """A matplotlib figure that becomes a piece of HTML; use :meth:`axes`, then :meth:`svg`."""

    def __init__(self, name: str, width: float, height: float, columns: int = 1, **grid: Any) -> None:
        try:
            import matplotlib as mpl
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ConfigError(f"the report needs matplotlib ({error})",
                              remedy="pip install 'dpuflow[report]'") from None
        self.name = name
        self._context = mpl.rc_context(STYLE)
        self._context.__enter__()
        self.figure = Figure(figsize=(width, height), layout="constrained")
        axes = self.figure.subplots(1, columns, squeeze=False, **grid)
        self.axes = list(axes[0])

    def svg(self, description: str) -> str:
        """The drawing as one ``<svg>`` element with ``description`` for those who cannot see it."""
        stream = io.StringIO()
        try:
            self.figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        finally:
            self._context.__exit__(None, None, None)
        return inline_svg(stream.getvalue(), self.name, description)


def inline_svg(text: str, name: str, description: str) -> str:
    """An SVG document as an element: no prologue, ids of its own, the page's colours, a description."""
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for mark, variable in VARIABLES.items():
        text = text.replace(mark, f"var({variable})")
    text = re.sub(r"font: [^;\"]*?(\d+(?:\.\d+)?)px [^;\"]*", r"font-size: \1px", text)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = re.sub(r'<svg ([^>]*?)width="([\d.]+)pt" ', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="([\d.]+)pt" ', r"<svg \1", text, count=1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def legend_above(axes: Any, columns: int) -> None:
    """The legend over the axes, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2, handlelength=1.6)


def plain_rows(axes: Any) -> None:
    """Horizontal bars need no grid lines and no ticks along them."""
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def training_curves(curves: Mapping[str, tuple[list[float], list[float]]]) -> str | None:
    """Losses on the left, accuracies on the right; None without any curve."""
    groups = {"loss": [n for n in curves if "loss" in n], "accuracy": [n for n in curves if "accuracy" in n]}
    shown = [(title, names) for title, names in groups.items() if names]
    if not shown:
        return None
    drawing = Drawing("curves", 9.0, 2.9, columns=len(shown))
    for axes, (title, names) in zip(drawing.axes, shown, strict=True):
        for index, name in enumerate(names):
            axes.plot(*curves[name], color=SERIES[index % len(SERIES)], label=name.replace("_", " "),
                      linewidth=1.6, linestyle=("-", "--", "-.", ":")[index % 4],
                      marker="o" if len(curves[name][0]) == 1 else None)
        axes.set(xlabel="epoch", ylabel=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        legend_above(axes, 3)
    return drawing.svg("Training curves per epoch: " + ", ".join(name.replace("_", " ") for name in curves))


def confusion_image(counts: Array, labels: Sequence[str]) -> str:
    """The confusion matrix, each row as shares of its class; darker is more, small shares lifted."""
    drawing = Drawing("confusion", 8.6, 8.2)
    axes = drawing.axes[0]
    edges = np.arange(len(labels) + 1) - 0.5
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for hit, colour in ((np.eye(len(labels), dtype=bool), SERIES[0]), (~np.eye(len(labels), dtype=bool), SERIES[3])):
        for row, column in np.argwhere((counts > 0) & hit):
            axes.fill_between(edges[[column, column + 1]], edges[row], edges[row + 1], color=colour, linewidth=0,
                              alpha=0.12 + 0.88 * float(shares[row, column]) ** 0.5)
    ticks = np.arange(len(labels))
    size = 7 if len(labels) > 40 else 9
    axes.set_xticks(ticks, labels, fontsize=size, family="monospace")
    axes.set_yticks(ticks, labels, fontsize=size, family="monospace")
    axes.tick_params(length=0, labeltop=True)
    axes.set(xlim=(-0.5, len(labels) - 0.5), ylim=(len(labels) - 0.5, -0.5), xlabel="read as", ylabel="true class")
    axes.grid(linewidth=0.3)
    return drawing.svg(f"Confusion matrix of {len(labels)} classes: rows the true class, columns the class read; "
                       "the most frequent confusions are listed in the table beside it")


def reality_histogram(characters: Array, others: Array) -> str:
    """P(real) of characters and of other pictures, as shares of each."""
    drawing = Drawing("reality", 7.4, 2.8)
    axes, bins = drawing.axes[0], np.linspace(0.0, 1.0, 26)
    for values, colour, label in ((characters, SERIES[0], "characters (test set)"),
                                  (others, SERIES[1], "other pictures")):
        axes.hist(values, bins=bins, weights=np.full(len(values), 100.0 / len(values)), color=colour, alpha=0.65,
                  label=f"{label}, {len(values)}")
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="P(real)", ylabel="share of the pictures [%]", xlim=(0, 1))
    legend_above(axes, 2)
    return drawing.svg("Histogram of P(real) for characters and for other pictures")


def layer_ranges(layers: Sequence[Mapping[str, Any]]) -> str:
    """How much of its int8 range each tensor uses, and its signal to quantization noise."""
    drawing = Drawing("layers", 9.0, 0.8 + 0.24 * len(layers), columns=2, sharey=True)
    left, right = drawing.axes
    places = np.arange(len(layers))
    unit = np.array([2.0 ** layer["fix_point"] / 128.0 for layer in layers])
    low, high = (np.array([layer[side] for layer in layers], float) * unit for side in ("min", "max"))
    left.barh(places, high - low, left=low, color=SERIES[0], height=0.62)
    left.axvline(-1, color=SERIES[3], linewidth=1)
    left.axvline(127 / 128, color=SERIES[3], linewidth=1)
    left.set(xlabel="float values in units of the int8 range", title="range")
    noise = np.array([np.nan if layer["sqnr_db"] is None else layer["sqnr_db"] for layer in layers], float)
    right.barh(places, noise, color=SERIES[2], height=0.62)
    right.set(xlabel="signal to quantization noise [dB]", title="error against float")
    left.set_yticks(places, [layer["name"] for layer in layers], fontsize=7.5)
    left.set_ylim(len(layers) - 0.4, -0.6)
    for axes in drawing.axes:
        plain_rows(axes)
    return drawing.svg("Range used and signal to quantization noise of each tensor; the figures are in the table")


def layer_times(layers: Sequence[Mapping[str, Any]]) -> str:
    """Predicted milliseconds per layer, coloured by what bounds it."""
    drawing = Drawing("times", 9.0, 1.0 + 0.28 * len(layers))
    axes, places = drawing.axes[0], np.arange(len(layers))
    # A layer without time of its own (fused into the one before) needs no colour.
    names = [str(layer["bound"]) if layer["ms"] > 0 else "" for layer in layers]
    known = [bound for bound in BOUNDS if bound in names] + sorted(set(names) - set(BOUNDS) - {""})
    for bound in known:
        here = np.array([name == bound for name in names])
        colour = SERIES[BOUNDS.index(bound) if bound in BOUNDS else -1]
        axes.barh(places[here], np.array([layer["ms"] for layer in layers])[here], color=colour, height=0.66,
                  label=f"bound by {bound}")
    for place, layer in zip(places, layers, strict=True):
        axes.annotate(f"{layer['ms']:.3f} · {layer['bound']}", (layer["ms"], place), va="center", fontsize=8,
                      xytext=(4, 0), textcoords="offset points")
    axes.set_yticks(places, [str(layer["name"]) for layer in layers], fontsize=7.5)
    axes.set(xlabel="predicted ms", ylim=(len(layers) - 0.4, -0.6))
    axes.margins(x=0.14)
    plain_rows(axes)
    legend_above(axes, len(known))
    return drawing.svg("Predicted milliseconds per layer and what bounds each; the figures are in the table")


def place_accuracy(places: Sequence[Any]) -> str:
    """How often the symbol at each place of a word was read, with 95 % intervals."""
    drawing = Drawing("places", 5.2, 2.6)
    axes, at = drawing.axes[0], np.arange(len(places))
    shares = np.array([100 * place.share for place in places])
    ends = np.array([[100 * (p.share - p.low) for p in places], [100 * (p.high - p.share) for p in places]])
    axes.errorbar(at, shares, yerr=ends, fmt="o", color=SERIES[0], capsize=4)
    axes.set_xticks(at, [str(place + 1) for place in at])
    axes.set(xlabel="place in the word", ylabel="read rightly [%]", xlim=(-0.6, len(places) - 0.4))
    return drawing.svg("Share of symbols read rightly at each place of the word; the figures are in the text")


def confidences(values: Array, right: Sequence[bool]) -> str:
    """The confidence of words read rightly and wrongly."""
    drawing = Drawing("confidences", 5.2, 2.6)
    axes, bins, hit = drawing.axes[0], np.linspace(0.0, 1.0, 26), np.array(right, bool)
    for chosen, colour, label in ((hit, SERIES[0], "right"), (~hit, SERIES[3], "wrong")):
        axes.hist(np.asarray(values)[chosen], bins=bins, color=colour, alpha=0.7,
                  label=f"{label}, {int(chosen.sum())}")
    axes.set(xlabel="probability of the word", ylabel="words", xlim=(0, 1), yscale="symlog")
    legend_above(axes, 2)
    return drawing.svg("Histogram of the words' probabilities, those read rightly and those read wrongly")


def time_split(parts: Sequence[tuple[str, float]]) -> str:
    """Predicted milliseconds of each part of the work on the board."""
    drawing = Drawing("split", 9.0, 0.9 + 0.3 * len(parts))
    axes, places = drawing.axes[0], np.arange(len(parts))
    axes.barh(places, [ms for _, ms in parts], height=0.66,
              color=[SERIES[0] if name.startswith("DPU") else SERIES[1] for name, _ in parts])
    for place, (_, ms) in zip(places, parts, strict=True):
        axes.annotate(f"{ms:.3g} ms", (ms, place), va="center", fontsize=8, xytext=(4, 0), textcoords="offset points")
    axes.set_yticks(places, [name for name, _ in parts], fontsize=8)
    axes.set(xlabel="predicted ms on the board", ylim=(len(parts) - 0.4, -0.6))
    axes.margins(x=0.14)
    plain_rows(axes)
    return drawing.svg("Predicted milliseconds of the DPU and of the processor's parts; the figures are in the table")


def words_against_time(networks: Sequence[Any]) -> str:
    """Words read, with intervals, against the DPU's predicted milliseconds, a point for each network."""
    drawing = Drawing("compared", 7.4, 3.2)
    axes = drawing.axes[0]
    for at, one in enumerate(sorted(networks, key=lambda network: network.dpu_ms)):
        share, low, high = (100 * one.words[key] for key in ("accuracy", "low", "high"))
        axes.errorbar([one.dpu_ms], [share], yerr=[[share - low], [high - share]], fmt="o", capsize=4,
                      color=SERIES[at % len(SERIES)], label=one.name)
    axes.set(xlabel="predicted ms on the DPU", ylabel="words read, int8 [%]")
    axes.set_xlim(left=0)
    legend_above(axes, 4)
    return drawing.svg("Words read against predicted milliseconds on the DPU; the figures are in the table")
