"""Tests of the page of networks that read text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import text_synthetic as synthetic

from dpuflow.errors import ArtifactError
from dpuflow.report import shown_beside, write_report
from dpuflow.report.text_evidence import read_text_evidence
from dpuflow.report.text_measures import (
    NOTHING,
    error_kinds,
    mistakes,
    position_accuracy,
    symbol_confusion,
    symbol_rows,
)
from dpuflow.target.host import ZYNQ_7000_NUMPY


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return synthetic.write_text_network(tmp_path / "words")


def page(build: Path) -> str:
    write_report(build, build / "report.html")
    return (build / "report.html").read_text(encoding="utf-8")


def test_the_page_says_what_was_read(build: Path) -> None:
    html = page(build)
    assert html == page(build)
    for text in ("words: from training to the DPU", "50.00\u00a0%", "1 symbols are replaced, 1 inserted, 1 missing",
                 "3 of 6 words are read wrongly", "is ac", "not run on hardware", "memory/forward", "<code>conv</code>",
                 "layer table &lt;of&gt; the network", "Bit-equal"):
        assert text in html, text
    assert html.count("<img") == 6 + 3  # every picture in the grid, the mistakes again
    assert "Compared" not in html and "hands over" not in html
    assert "://" not in html.replace("http://www.w3.org", "")  # the name of SVG, no address to load


def test_the_processors_time_is_scaled_and_said(build: Path) -> None:
    html = page(build)
    assert f"times {ZYNQ_7000_NUMPY.times_slower:.0f}" in html and ZYNQ_7000_NUMPY.processor in html
    assert f"{0.5 * ZYNQ_7000_NUMPY.times_slower:.1f}" in html
    total = 0.1 + (0.75 + 0.25) * ZYNQ_7000_NUMPY.times_slower
    assert f"{total:.1f} ms" in html


def test_other_text_networks_are_compared(build: Path) -> None:
    other = synthetic.write_text_network(build.parent / "others")
    synthetic.write_train(build.parent / "unfinished")
    synthetic.write_quantize(build)
    assert shown_beside(build) == [other]
    assert [row.name for row in read_text_evidence(build).others] == ["words", "others"]
    html = page(build)
    assert "Compared" in html and ">others <" in html
    assert "int8 at position 2 (the quantizer's own rule: 3)" in html.replace("&#39;", "'")


def test_errors_name_the_stage_to_run_again(build: Path) -> None:
    synthetic.write_emulate(build, labels=np.zeros((6, 2), int))
    with pytest.raises(ArtifactError, match=r"another test set.*run `make emulate` again"):
        page(build)
    (build / "emulate" / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="run `make emulate` first"):
        page(build)
    synthetic.write_train(build, task="magic")
    with pytest.raises(ArtifactError, match="no page for this task"):
        page(build)


# -- measures ----------------------------------------------------------------------------------------------

def test_mistakes_by_kind_place_and_symbol() -> None:
    truth, read = synthetic.TRUTH, synthetic.READ
    found = mistakes(truth, read, np.linspace(0.4, 0.9, 6))
    assert [(mistake.truth, mistake.read) for mistake in found] == [("ca", "cab"), ("bb", "b"), ("ac", "bc")]
    assert error_kinds(found) == {"substitution": 1, "insertion": 1, "deletion": 1}
    places = position_accuracy(truth, read)
    assert [place.count for place in places] == [6, 6]
    assert sum(round(6 * (1 - place.share)) for place in places) == 2  # the inserted symbol hurts no place
    counts = symbol_confusion(truth, read, synthetic.SYMBOLS)
    assert counts.tolist() == [[3, 1, 0, 0], [0, 4, 0, 1], [0, 0, 3, 0], [0, 1, 0, 0]]
    rows = symbol_rows(counts, synthetic.SYMBOLS)
    assert [(row.symbol, row.accuracy.count, row.most_taken_for) for row in rows] == [
        ("a", 4, "b (1×)"), ("b", 5, f"{NOTHING} (1×)"), ("c", 3, "–")]


def test_nothing_read_wrongly() -> None:
    assert mistakes(("a",), ("a",), np.ones(1)) == []
    assert position_accuracy((), ()) == []
