"""The page of one network on one core: when each engine works, what bounds it, what lies in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpuflow.compiler.compiled import Compiled
from dpuflow.errors import ConfigError
from dpuflow.planning.estimate import programs_of
from dpuflow.planning.inspection import inspect_compiled
from dpuflow.planning.inspection_text import inspection_json
from dpuflow.planning.lifetimes import lifetimes
from dpuflow.planning.timeline import engine_intervals
from dpuflow.report import performance_figures as pictures
from dpuflow.report.parts import BOUND_MEANING
from dpuflow.report.template import count, number, percent
from dpuflow.target.board import board_timing

HERE = Path(__file__).parent
_DRAWN_KERNELS = 3
_TIMELINE_NOTE = ("The virtual program's own clock: every bar is instructions at work, a gap is waiting for another "
                  "engine's token. Silicon runs the vendor's schedule, not this one.")


def render_performance(compiled: Compiled, estimate: Mapping[str, Any],
                       questions: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page as text; ConfigError without the ``report`` extra. ``estimate`` and ``questions`` are the
    values that ``dpuflow estimate --json`` prints."""
    try:
        import jinja2
    except ImportError as error:
        raise ConfigError(f"the report needs jinja2 ({error})", remedy="pip install 'dpuflow[report]'") from None
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, loader=jinja2.FileSystemLoader(HERE))
    environment.filters.update(pct=percent, num=number, count=count)
    parts = {name: (HERE / name).read_text(encoding="utf-8") for name in ("style.css", "table.js")}
    return environment.get_template("performance.html").render(
        style=parts["style.css"], script=parts["table.js"], **content(compiled, estimate, questions))


def content(compiled: Compiled, estimate: Mapping[str, Any], questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All that the template shows, by name."""
    from dpuflow import __version__

    return {"name": compiled.name, "estimate": estimate, "questions": questions, "version": __version__,
            "meaning": BOUND_MEANING, "floors": _floors(estimate),
            **_rates(compiled, estimate), **_times(compiled, estimate),
            **_memory(compiled, estimate["clock_mhz"]), **_placement(compiled, estimate)}


_FLOORS: Mapping[str, str] = {
    "array": "convolution array, with sums", "alu": "pools, depthwise convolutions and resizes", "load": "loads",
    "save": "saves", "ddr": "the memory, loads and saves together",
    "steps": "layer by layer, the busiest engine of each",
}


def _floors(estimate: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What each engine needs at least, and the simple fixed schedule; nothing without a layer on the DPU."""
    rows = [(_FLOORS[engine], ms) for engine, ms in estimate["floors_ms"].items()]
    return [*rows, ("the simple fixed schedule", estimate["baseline_ms"])] if rows else []


def _rates(compiled: Compiled, estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Peak, use, traffic and the roofline."""
    core, layers, clock = compiled.core, estimate["layers"], estimate["clock_mhz"]
    peak = core.peak_ops_per_cycle * clock / 1e3
    operations = 2 * sum(layer["macs"] for layer in layers)
    used = operations / (estimate["total_ms"] * 1e6) / peak if estimate["total_ms"] else 0.0
    board = board_timing(core)
    rate = min(board.ddr_bytes_per_second, 2 * board.port_bytes_per_cycle * board.port_efficiency * clock * 1e6)
    return {"peak_gops": peak, "peak_per_cycle": core.peak_ops_per_cycle, "use": used,
            "moved_bytes": sum(layer["bytes"] for layer in layers),
            "roofline_svg": pictures.roofline(layers, peak, rate)}


def _times(compiled: Compiled, estimate: Mapping[str, Any]) -> dict[str, Any]:
    """The timeline, and how the time divides."""
    events = engine_intervals(programs_of(compiled, estimate["clock_mhz"], board_timing(compiled.core)))
    shares: dict[str, float] = {}
    for layer in estimate["layers"]:
        shares[layer["bound"]] = shares.get(layer["bound"], 0.0) + layer["ms"]
    return {"timeline_svg": pictures.engine_timeline(events, estimate["clock_mhz"]), "timeline_note": _TIMELINE_NOTE,
            "bound_shares": sorted(((bound, ms) for bound, ms in shares.items() if ms > 0), key=lambda item: -item[1])}


def _memory(compiled: Compiled, clock_mhz: float) -> dict[str, Any]:
    """A picture for each of the first kernels."""
    shown = []
    for program in programs_of(compiled, clock_mhz, board_timing(compiled.core))[:_DRAWN_KERNELS]:
        lives, kernel = lifetimes(program), program.kernel
        top = {register: max(life.offset + life.size_bytes for life in lives if life.register == register)
               for register in {life.register for life in lives}}
        picture = pictures.memory_map(lives, len(program.layers), f"memory{kernel.id}")
        shown.append((kernel.name, picture, sum(top.values())))
    return {"memories": shown, "more_kernels": len(compiled.dpu_kernels) - len(shown)}


def _placement(compiled: Compiled, estimate: Mapping[str, Any]) -> dict[str, Any]:
    fields = inspection_json(inspect_compiled(compiled, estimate["clock_mhz"]))
    rewritten = {layer["name"]: layer for layer in fields["layers"] if layer["rewritten"]}
    return {"total": fields["total"], "assumptions": fields["assumptions"], "rewritten": list(rewritten.values()),
            "on_cpu": [layer for layer in fields["layers"] if layer["device"] == "CPU"]}
