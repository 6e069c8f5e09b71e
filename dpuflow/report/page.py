"""From evidence to HTML: the one place that fills the template."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dpuedge import scores
from dpuflow.artifact import atomic_path, load_stage
from dpuflow.errors import ArtifactError, ConfigError
from dpuflow.report import figures, measures
from dpuflow.report.evidence import Artefacts, Evidence, again, read_evidence
from dpuflow.report.pictures import contact_sheet, png_uri
from dpuflow.report.provenance import provenance

HERE = Path(__file__).parent
EMULATED = "fast"  # the engine whose logits stand for "emulated"
MISTAKES, CONFUSIONS, SAMPLES, OTHERS = 30, 20, 96, 12
ENGINE_TITLES = {
    "float": "float32, as trained",
    "quantized": "quantized, simulated in float32",
    "reference": "emulated DPU, reference engine (int64)",
    "fast": "emulated DPU, fast engine",
}
BOUND_MEANING = {
    "conv": "the convolution array", "pool": "the pooling engine", "dwconv": "the depthwise engine",
    "eltwise": "the element-wise engine", "load": "loading weights and features", "save": "storing features",
    "ddr": "the memory's rate", "fixed cost": "the fixed cost of a node", "placement": "a change of layout only",
    "resize": "the resizing engine", "copy": "bytes that are moved from place to place",
    "fused": "nothing of its own: the layer before it takes it in",
}


def write_report(build: Path, out: Path) -> None:
    """Write the report of the stages under ``build`` to the HTML file ``out``, as a whole or not at all.

    ArtifactError when a stage is missing, damaged or does not fit the others (it names the make
    target); ConfigError without the libraries of the ``report`` extra.
    """
    build = Path(build)
    html = PAGES[task_name(build)](build)
    with atomic_path(Path(out)) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render(evidence: Evidence) -> str:
    """The page of a classifying network as text; the same evidence gives the same bytes."""
    return fill("report.html", content(evidence))


def fill(template: str, values: Mapping[str, Any]) -> str:
    """A template of this folder with the shared style and script; ConfigError without jinja2."""
    try:
        import jinja2
    except ImportError as error:
        raise ConfigError(f"the report needs jinja2 ({error})", remedy="pip install 'dpuflow[report]'") from None
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, loader=jinja2.FileSystemLoader(HERE))
    environment.filters.update(pct=percent, num=number, kind=kind, signed=signed, count=count)
    parts = {name: (HERE / name).read_text(encoding="utf-8") for name in ("style.css", "table.js")}
    return environment.get_template(template).render(style=parts["style.css"], script=parts["table.js"], **values)


def _text_page(build: Path) -> str:
    from dpuflow.report.text_page import render_text

    return render_text(build)


def shown_beside(build: Path) -> list[Path]:
    """The other networks' folders whose figures the page of the network below ``build`` shows too."""
    if task_name(build) != "ctc":
        return []
    from dpuflow.report.text_evidence import comparable_folders

    return comparable_folders(build)


# By the task that the train stage records.
PAGES: Mapping[str, Callable[[Path], str]] = {
    "classification": lambda build: render(read_evidence(build)),
    "ctc": _text_page,
}


def task_name(build: Path) -> str:
    """The task of the network below ``build``; ArtifactError for one that has no page."""
    train = load_stage(build / "train")
    name = str(train.info.get("task", "classification"))
    if name not in PAGES:
        raise ArtifactError("no page for this task", where=train.folder, got=name, expected=" or ".join(PAGES),
                            remedy=again(train))
    return name


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


def training_facts(evidence: Artefacts) -> list[tuple[str, str]]:
    """What the training stage says about itself beside its curves, as (name, text)."""
    return [(key.replace("_", " "), fact_text(value)) for key, value in evidence.training.items()
            if key != "accuracy" and not isinstance(value, list) and value not in ("", None)]


def training_part(evidence: Evidence) -> dict[str, Any]:
    """Curves and generator samples."""
    curves = measures.series(evidence.training.get("curve", []))
    samples = evidence.samples[:SAMPLES]
    return {
        "curves_svg": figures.training_curves(curves),
        "samples_uri": png_uri(contact_sheet(samples, 24)) if len(samples) else None, "sample_count": len(samples),
    }


def quantization_part(evidence: Artefacts) -> dict[str, Any]:
    """Range, position and error per tensor."""
    return {"layers": evidence.layers, "layers_svg": figures.layer_ranges(evidence.layers) if evidence.layers else None}


def time_part(evidence: Artefacts) -> dict[str, Any]:
    """Predicted time per layer and what bounds it."""
    layers = evidence.estimate["layers"]
    shares: dict[str, float] = {}
    for layer in layers:
        shares[layer["bound"]] = shares.get(layer["bound"], 0.0) + layer["ms"]
    return {
        "estimate": evidence.estimate, "kernels": evidence.kernels, "bounds": BOUND_MEANING,
        "bound_shares": sorted(((bound, ms) for bound, ms in shares.items() if ms > 0), key=lambda item: -item[1]),
        "times_svg": figures.layer_times(layers) if layers else None,
    }


# -- filters ------------------------------------------------------------------------------------------------

def percent(share: float, digits: int = 2) -> str:
    """A share as per cent: 0.9123 -> "91.23 %"."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}\u00a0%"


def signed(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "±0.00" if abs(share) < 5e-5 else f"{100 * share:+.2f}".replace("-", "−")


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed digits; a dash for none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def count(value: float) -> str:
    """A whole number with narrow spaces between the thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def kind(label: str) -> str:
    """What tells twins apart in words: digit, capital, small; empty for other labels."""
    if len(label) != 1:
        return ""
    return "digit" if label.isdigit() else "capital" if label.isupper() else "small" if label.islower() else ""


def fact_text(value: Any) -> str:
    """A JSON value as short text for a table."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {fact_text(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(fact_text(item) for item in value[:8])
        return shown + (f", … ({len(value)})" if len(value) > 8 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
