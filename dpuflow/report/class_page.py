"""The page of a network that classifies."""

from __future__ import annotations

from typing import Any

from dpuedge import scores
from dpuflow.report import figures, measures
from dpuflow.report.evidence import Evidence
from dpuflow.report.parts import ENGINE_TITLES, quantization_part, time_part, training_facts
from dpuflow.report.pictures import contact_sheet, png_uri
from dpuflow.report.provenance import provenance
from dpuflow.report.template import fill

EMULATED = "fast"  # the engine whose logits stand for "emulated"
MISTAKES, CONFUSIONS, SAMPLES, OTHERS = 30, 20, 96, 12


def render(evidence: Evidence) -> str:
    """The page of a classifying network as text; the same evidence gives the same bytes."""
    return fill("report.html", content(evidence))


def content(evidence: Evidence) -> dict[str, Any]:
    """All that the template shows, by name."""
    logits = evidence.logits[EMULATED]
    return {
        "name": evidence.name, "model": evidence.model, "labels": evidence.labels, "titles": ENGINE_TITLES,
        "pictures": len(evidence.truth), "training": training_facts(evidence),
        **accuracy_part(evidence), **confusion_part(evidence, logits), **mistakes_part(evidence, logits),
        **reality_part(evidence, logits), **training_part(evidence), **quantization_part(evidence),
        **time_part(evidence), "provenance": provenance(evidence),
    }


def accuracy_part(evidence: Evidence) -> dict[str, Any]:
    """Accuracy and agreement of the engines, and whether the two emulators give the same bits."""
    rows = measures.engine_rows(evidence)
    return {
        "rows": rows, "by_engine": {row.engine: row for row in rows}, "engines": evidence.engines,
        "same_logits": measures.equal_rows(evidence, "reference", "fast"), "emulated": EMULATED,
    }


def confusion_part(evidence: Evidence, logits: Any) -> dict[str, Any]:
    """The matrix, the confusions that happen most, accuracy per class."""
    predicted = scores.classify(logits, evidence.fake_class)
    counts = measures.confusion_matrix(evidence.truth, predicted, len(evidence.labels))
    return {
        "confusion_svg": figures.confusion_image(counts, evidence.labels),
        "confusions": measures.frequent_confusions(counts, evidence.labels, CONFUSIONS),
        "class_rows": measures.class_rows(counts, evidence.labels),
        "twin_errors": sum(c.count for c in measures.frequent_confusions(counts, evidence.labels, counts.size)
                           if c.is_case_twin),
        "errors": int(counts.sum() - counts.trace()),
    }


def mistakes_part(evidence: Evidence, logits: Any) -> dict[str, Any]:
    """The worst mistakes with their pictures."""
    mistakes = measures.worst_mistakes(evidence, logits, MISTAKES)
    return {"mistakes": [(png_uri(evidence.test_gray[mistake.index]), mistake) for mistake in mistakes]}


def reality_part(evidence: Evidence, logits: Any) -> dict[str, Any]:
    """P(real) of characters against other pictures, and the pictures that fooled the network."""
    reality = measures.reality(evidence, logits)
    if reality is None:
        return {"reality": None}
    order = (-reality.others).argsort(kind="stable")[:OTHERS]
    return {
        "reality": reality, "reality_svg": figures.reality_histogram(reality.characters, reality.others),
        "fooled": [(png_uri(evidence.nonchar_gray[i]), float(reality.others[i])) for i in order],
    }


def training_part(evidence: Evidence) -> dict[str, Any]:
    """Curves and generator samples."""
    curves = measures.series(evidence.training.get("curve", []))
    samples = evidence.samples[:SAMPLES]
    return {
        "curves_svg": figures.training_curves(curves),
        "samples_uri": png_uri(contact_sheet(samples, 24)) if len(samples) else None, "sample_count": len(samples),
    }
