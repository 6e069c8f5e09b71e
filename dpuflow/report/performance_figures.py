"""Pictures of a predicted run: which engine works when, what bounds each layer, what lies in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dpuflow.planning.lifetimes import REGISTER_NAMES, Lifetime
from dpuflow.report.figures import BOUNDS, INK, SERIES, Drawing, legend_above, plain_rows

ENGINES = ("load", "conv", "dwconv", "pool", "eltwise", "alu", "save")


class Event(Protocol):
    """An engine at work for a layer."""

    @property
    def engine(self) -> str: ...
    @property
    def start_cycles(self) -> float: ...
    @property
    def end_cycles(self) -> float: ...
    @property
    def layer(self) -> str: ...


def _colour(name: str, known: Sequence[str]) -> str:
    return SERIES[known.index(name) % len(SERIES)] if name in known else SERIES[-1]


def engine_timeline(events: Sequence[Event], clock_mhz: float) -> str:
    """One row an engine, a bar whenever it works; the starts of layers as lines."""
    present = [engine for engine in ENGINES if any(event.engine == engine for event in events)]
    present += sorted({event.engine for event in events} - set(ENGINES))
    drawing = Drawing("timeline", 9.0, 0.9 + 0.42 * len(present))
    axes, ms = drawing.axes[0], 1.0 / clock_mhz / 1e3
    for row, engine in enumerate(present):
        bars = [(event.start_cycles * ms, (event.end_cycles - event.start_cycles) * ms)
                for event in events if event.engine == engine and event.end_cycles > event.start_cycles]
        axes.broken_barh(bars, (row - 0.36, 0.72), color=_colour(engine, ENGINES), linewidth=0)
    starts: dict[str, float] = {}
    for event in events:
        starts[event.layer] = min(starts.get(event.layer, event.start_cycles), event.start_cycles)
    for start in starts.values():
        axes.axvline(start * ms, color=INK, linewidth=0.3, alpha=0.35)
    axes.set_yticks(range(len(present)), present)
    axes.set(xlabel="predicted ms", ylim=(len(present) - 0.4, -0.6), xlim=(0, None))
    plain_rows(axes)
    return drawing.svg(f"Timeline of {len(present)} engines over {len(starts)} layers, predicted")


def roofline(layers: Sequence[Mapping[str, Any]], peak_gops: float, bytes_per_second: float) -> str:
    """Each layer's rate against its operations per byte, under the core's two ceilings."""
    shown = [layer for layer in layers if layer["ms"] > 0 and layer["macs"] and layer["bytes"]]
    drawing = Drawing("roofline", 9.0, 4.0)
    axes = drawing.axes[0]
    intensity = np.array([2.0 * layer["macs"] / layer["bytes"] for layer in shown])
    rate = np.array([2.0 * layer["macs"] / layer["ms"] / 1e6 for layer in shown])
    share = np.array([layer["ms"] for layer in shown]) / max(sum(layer["ms"] for layer in layers), 1e-12)
    known = [bound for bound in BOUNDS if any(layer["bound"] == bound for layer in shown)]
    for bound in known + sorted({str(layer["bound"]) for layer in shown} - set(BOUNDS)):
        here = np.array([layer["bound"] == bound for layer in shown])
        axes.scatter(intensity[here], rate[here], s=12 + 900 * share[here], color=_colour(bound, BOUNDS), alpha=0.7,
                     linewidth=0, label=f"bound by {bound}")
    low, high = (intensity.min() / 2, intensity.max() * 2) if shown else (1.0, 1000.0)
    x = np.geomspace(low, high, 100)
    axes.plot(x, np.minimum(peak_gops, x * bytes_per_second / 1e9), color=INK, linewidth=1.2,
              label="ceilings: array and memory")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte moved", ylabel="10⁹ operations per second",
             xlim=(low, high))
    legend_above(axes, 3)
    return drawing.svg(f"Roofline of {len(shown)} layers: rate against operations per byte moved")


def memory_map(lives: Sequence[Lifetime], layers: int, name: str = "memory") -> str:
    """Addresses against layers: a box for each feature map while it is needed, one colour a register."""
    registers = sorted({life.register for life in lives})
    tops = {register: max(life.offset + life.size_bytes for life in lives if life.register == register)
            for register in registers}
    base, bases = 0, {}
    for register in registers:
        bases[register], base = base, base + tops[register]
    drawing = Drawing(name, 9.0, 3.6)
    axes = drawing.axes[0]
    for register in registers:
        own = [life for life in lives if life.register == register]
        spans = [(life.first - 0.5, life.last - life.first + 1) for life in own]
        for life, span in zip(own, spans, strict=True):
            low = (bases[register] + life.offset) / 1e3
            axes.broken_barh([span], (low, life.size_bytes / 1e3), facecolor=SERIES[register], edgecolor=INK,
                             linewidth=0.25, alpha=0.75, label=REGISTER_NAMES.get(register) if life is own[0] else None)
    axes.set(xlabel="layer, in order", ylabel="kB from the start of the feature maps", xlim=(-0.5, layers - 0.5),
             ylim=(0, max(base, 1) / 1e3))
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend_above(axes, len(registers))
    return drawing.svg(f"Memory of {len(lives)} feature maps over {layers} layers, by register")
