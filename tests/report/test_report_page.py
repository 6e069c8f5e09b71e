"""Tests of the report's page on synthetic artefacts."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic

from dpuflow.artifact import MANIFEST, file_digest
from dpuflow.errors import ArtifactError
from dpuflow.report import write_report
from dpuflow.report.class_page import render
from dpuflow.report.evidence import Evidence, read_evidence
from dpuflow.report.pictures import contact_sheet
from dpuflow.report.provenance import flatten
from dpuflow.report.template import count, kind, number, percent, signed

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """The page's elements; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def html(evidence: Evidence) -> str:
    """The page."""
    return render(evidence)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """Its elements."""
    return Page(html)


def test_the_page_needs_nothing_from_outside(html: str, page: Page) -> None:
    assert all(src.startswith("data:image/png;base64,") for src in page.values("src"))
    assert all(href.startswith("#") for href in page.values("href") + page.values("xlink:href"))
    assert not re.search(r"@import|url\((?!#)", html)
    assert not [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "base")]


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = {href[1:] for href in page.values("href") + page.values("xlink:href")}
    targets |= set(page.values("aria-labelledby"))
    assert targets <= set(ids)
    assert len(targets) > 10


def test_pictures_and_figures_have_a_text(page: Page) -> None:
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) > 20
    assert all(attributes["alt"] for attributes in images)
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(drawings) == 5
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawings)


def test_the_page_says_what_was_not_run_on_hardware(page: Page) -> None:
    assert "emulated: no DPU ran" in page.text
    assert page.text.count("predicted, not run on hardware") >= 2
    assert "error band ±10 % compute-bound" in page.text


def test_the_figures_are_those_of_the_artefacts(page: Page, evidence: Evidence) -> None:
    right = int((evidence.logits["fast"][:, :62].argmax(axis=1) == evidence.truth).sum())
    assert f"{100 * right / 124:.2f} %" in page.text
    assert f"{124 - right} of 124 pictures are read wrongly" in page.text
    assert "sha256 " + evidence.model.sha256[:16] in page.text
    assert "Bit-equal: the two emulator engines were compared on 14 tensors over 124 pictures" in page.text
    assert "discriminator/conv2d_3" in page.text


def test_colours_are_the_pages_own(html: str) -> None:
    drawings = "".join(re.findall(r"<svg .*?</svg>", html, flags=re.S))
    assert "var(--series-1)" in drawings
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", drawings)) == set()


def test_the_same_evidence_gives_the_same_bytes(html: str, evidence: Evidence) -> None:
    assert render(evidence) == html


def test_text_of_the_artefacts_cannot_become_markup(evidence: Evidence) -> None:
    model = evidence.model._replace(labels=("<b>&", *evidence.labels[1:]), name="<script>x</script>")
    text = render(replace(evidence, model=model, kernels="</pre><script>"))
    assert text.count("<script>") == 1
    assert "&lt;b&gt;&amp;" in text
    Page(text)


def test_engines_that_differ_are_called_so(evidence: Evidence) -> None:
    logits = {**evidence.logits, "fast": evidence.logits["fast"] + np.float32(0.125)}
    assert "Not bit-equal:" in Page(render(replace(evidence, logits=logits))).text
    counted = {"tensors_compared": 14, "tensors_different": 2, "images": 124}
    assert "Not bit-equal:" in Page(render(replace(evidence, engines=counted))).text


def test_a_plain_classifier_without_mistakes_has_a_page_too(evidence: Evidence) -> None:
    logits = np.eye(62, dtype=np.float32)[evidence.truth]
    bare = replace(evidence, model=evidence.model._replace(fake_class=None), samples=np.zeros((0, 32, 32), np.uint8),
                   logits=dict.fromkeys(evidence.logits, logits), training={"mode": "supervised"}, layers=[])
    text = Page(render(bare)).text
    assert "No picture of the test set is read wrongly" in text
    assert "AUC" not in text
    assert "recorded no curves" in text


def test_write_report_writes_the_page_as_a_whole(build: Path, html: str, tmp_path: Path) -> None:
    write_report(build, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == html
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


@pytest.mark.parametrize("stage", ["train", "compile", "emulate"])
def test_a_missing_stage_names_the_make_target(build: Path, tmp_path: Path, stage: str) -> None:
    copy = shutil.copytree(build, tmp_path / "chars74k")
    shutil.rmtree(copy / stage)
    with pytest.raises(ArtifactError, match=f"run `make {stage}` first"):
        write_report(copy, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def change(folder: Path, name: str, data: bytes) -> None:
    """Replace a stage's file and the digest that its manifest records."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = file_digest(folder / name)
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(("name", "data", "expected"), [
    ("emulate/evaluation.npz", b"", "run `make emulate` again"),
    ("emulate/evaluation.npz", b"no archive", "run `make emulate` again"),
    ("emulate/evaluation.json", b"{", "run `make emulate` again"),
    ("emulate/evaluation.json", b"[]", "not a JSON object"),
    ("emulate/evaluation.json", b'{"engines": {}}', "entries are missing.*expected layers"),
    ("compile/estimate.json", b"{}", "run `make compile` again"),
    ("compile/kernels.txt", b"\xff\xff", "run `make compile` again"),
    ("compile/chars74k.json", b"{}", "unknown manifest schema.*run `make compile` again"),
    ("train/training.json", b"\x00", "run `make train` again"),
])
def test_a_damaged_file_names_the_stage(build: Path, tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    copy = shutil.copytree(build, tmp_path / "chars74k")
    stage, file = name.split("/")
    change(copy / stage, file, data)
    with pytest.raises(ArtifactError, match=expected):
        read_evidence(copy)


@pytest.mark.parametrize(("array", "value"), [
    ("labels", np.zeros(124, np.int64)), ("labels", np.zeros(3, np.int64)),
    ("fast_logits", np.zeros((124, 62), np.float32)), ("nonchar_logits", np.zeros((3, 63), np.float32)),
])
def test_an_evaluation_of_another_test_set_is_refused(tmp_path: Path, array: str, value: np.ndarray) -> None:
    build = synthetic.write_all(tmp_path / "chars74k", **{array: value})
    with pytest.raises(ArtifactError, match="run `make emulate` again"):
        read_evidence(build)


def test_numbers_are_written_for_people() -> None:
    assert percent(0.91234) == "91.23\u00a0%"
    assert percent(float("nan")) == number(None) == number(float("nan")) == "–"
    assert (signed(0.0), signed(-0.0051), signed(0.0051)) == ("±0.00", "−0.51", "+0.51")
    assert number(-1.5, 1) == "−1.5"
    assert count(1234567) == "1\u202f234\u202f567"
    assert [kind(text) for text in ("7", "I", "l", "?", "ab")] == ["digit", "capital", "small", "", ""]


def test_a_contact_sheet_holds_every_picture() -> None:
    pictures = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 4), np.uint8)
    sheet = contact_sheet(pictures, 3, gap=1)
    assert sheet.shape == (2 * 4 + 1, 3 * 5 + 1)
    assert [int(sheet[1 + 4 * (i // 3), 1 + 5 * (i % 3)]) for i in range(5)] == [0, 1, 2, 3, 4]
    assert sheet[0, 0] == sheet[-2, -2] == 255


def test_settings_are_flattened_and_kept_short() -> None:
    flat = dict(flatten({"a": {"b": 1, "c": [1, 2]}, "labels": list(range(62)), "long": "x" * 500}))
    assert (flat["a.b"], flat["a.c"], flat["labels"]) == ("1", "1, 2", "62 entries")
    assert len(flat["long"]) == 120
