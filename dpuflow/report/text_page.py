"""The page of a network that reads text: from evidence to HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpuflow.report import figures, text_measures
from dpuflow.report.measures import series
from dpuflow.report.parts import ENGINE_TITLES, quantization_part, time_part, training_facts
from dpuflow.report.pictures import png_uri
from dpuflow.report.provenance import provenance
from dpuflow.report.template import fill
from dpuflow.report.text_evidence import EMULATED, TextEvidence, read_text_evidence
from dpuflow.target.host import ZYNQ_7000_NUMPY

GRID = 16  # pictures of the grid, four by four
MISTAKES = 40


def render_text(build: Path) -> str:
    """The page as text; the same evidence gives the same bytes."""
    return fill("text.html", text_content(read_text_evidence(build)))


def text_content(evidence: TextEvidence) -> dict[str, Any]:
    """All that the template shows, by name."""
    return {
        "name": evidence.name, "model": evidence.model, "labels": evidence.labels, "titles": ENGINE_TITLES,
        "pictures": len(evidence.truth), "training": training_facts(evidence), "accuracy": evidence.accuracy,
        "int8": evidence.accuracy[EMULATED], "beam": evidence.beam, "engines": evidence.engines,
        "layer_table": evidence.table, "boundary": evidence.boundary, "others": evidence.others,
        "compared_svg": figures.words_against_time(evidence.others) if len(evidence.others) > 1 else None,
        "curves_svg": figures.training_curves(series(evidence.training.get("curve", []))),
        **reading_part(evidence), **processor_part(evidence), **quantization_part(evidence), **time_part(evidence),
        "provenance": provenance(evidence),
    }


def reading_part(evidence: TextEvidence) -> dict[str, Any]:
    """The grid, the mistakes, and the errors by kind, place and symbol."""
    read = evidence.read[EMULATED]
    found = text_measures.mistakes(evidence.truth, read, evidence.confidence)
    counts = text_measures.symbol_confusion(evidence.truth, read, evidence.labels)
    places = text_measures.position_accuracy(evidence.truth, read)
    chosen = [at * len(read) // GRID for at in range(GRID)] if len(read) >= GRID else range(len(read))
    return {
        "grid": [(png_uri(evidence.gray[at]), evidence.truth[at], read[at], float(evidence.confidence[at]))
                 for at in chosen],
        "mistakes": [(png_uri(evidence.gray[mistake.index]), mistake) for mistake in found[:MISTAKES]],
        "mistake_count": len(found), "kinds": text_measures.error_kinds(found), "places": places,
        "places_svg": figures.place_accuracy(places), "confidences_svg": figures.confidences(
            evidence.confidence, [t == r for t, r in zip(evidence.truth, read, strict=True)]),
        "confusion_svg": figures.confusion_image(counts, [*evidence.labels, text_measures.NOTHING]),
        "symbol_rows": text_measures.symbol_rows(counts, evidence.labels),
    }


def processor_part(evidence: TextEvidence) -> dict[str, Any]:
    """Where the time goes on the board: the DPU's estimate and the processor's, scaled from this computer's."""
    times, board = evidence.host_times, ZYNQ_7000_NUMPY
    dpu_ms = float(evidence.estimate["total_ms"])
    host_ms = float(times["tail_ms"]) + float(times["greedy_ms"])
    parts = [("DPU: convolutions", dpu_ms)]
    parts += [(f"processor: {step['name']} ({step['op']})", board.scaled_ms(step["ms"])) for step in times["tail"]
              if step["macs"]]
    moved = sum(step["ms"] for step in times["tail"] if not step["macs"])
    if times["tail"]:
        parts.append(("processor: moving and joining", board.scaled_ms(moved)))
    parts.append(("processor: decoding", board.scaled_ms(times["greedy_ms"])))
    return {"host_times": times, "host_ms": host_ms, "processor": board, "board_ms": dpu_ms + board.scaled_ms(host_ms),
            "split_svg": figures.time_split(parts)}
