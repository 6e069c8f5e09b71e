"""Tests of the report's figures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.data.classes import LABELS, merge_case
from dpuflow.report import measures
from dpuflow.report.evidence import Evidence

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=12).map(lambda values: np.array(values) / 5)


@given(SCORES, SCORES)
def test_auc_is_the_share_of_pairs_in_the_right_order(positive: np.ndarray, negative: np.ndarray) -> None:
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    assert measures.auc(positive, negative) == pytest.approx(np.mean(pairs))


def test_case_groups_are_those_of_the_data_package() -> None:
    groups, merged = measures.case_groups(LABELS), merge_case(np.arange(len(LABELS)))
    assert all((groups[i] == groups[j]) == (merged[i] == merged[j]) for i in range(62) for j in range(62))
    assert len(set(groups)) == 36


def literal(evidence: Evidence) -> Evidence:
    """Four pictures of A b B 7 with logits of one unit each; the fake class last."""
    labels = ("A", "b", "B", "7")
    model = evidence.model._replace(labels=labels, fake_class=4)
    right = np.eye(5, dtype=np.float32)[[0, 1, 2, 3]]
    wrong = np.array([[3, 0, 0, 0, 9], [0, 0, 2, 0, 0], [0, 0, 1, 0, 0], [5, 0, 0, 0, 0]], np.float32)
    logits = {"float": right, "quantized": wrong, "reference": wrong, "fast": wrong}
    return replace(evidence, model=model, truth=np.arange(4), logits=logits)


def test_engine_rows_of_literal_logits(evidence: Evidence) -> None:
    rows = {row.engine: row for row in measures.engine_rows(literal(evidence))}
    assert (rows["float"].top1.share, rows["float"].agreement.share, rows["float"].gain) == (1.0, 1.0, 0.0)
    fast = rows["fast"]
    assert fast.top1.share == 0.5  # A and B right; b read as B; 7 read as A
    assert fast.merged.share == 0.75
    assert fast.top5.share == 1.0
    assert fast.agreement.share == 0.5
    assert fast.gain == -0.5


def test_worst_mistakes_come_most_certain_first(evidence: Evidence) -> None:
    case = literal(evidence)
    first, second = measures.worst_mistakes(case, case.logits["fast"], 10)
    assert (first.index, first.truth, first.predicted) == (3, "7", "A")
    assert first.probability == pytest.approx(np.exp(5) / (np.exp(5) + 4))
    assert (second.index, second.truth, second.predicted) == (1, "b", "B")
    assert second.truth_probability == pytest.approx(1 / (np.exp(2) + 4))
    assert second.p_real == pytest.approx((np.exp(2) + 3) / (np.exp(2) + 4))
    assert measures.worst_mistakes(case, case.logits["float"], 10) == []


def test_equal_rows_counts_pictures_with_the_same_bits(evidence: Evidence) -> None:
    case = literal(evidence)
    assert measures.equal_rows(case, "reference", "fast") == 4
    other = case.logits["fast"].copy()
    other[2, 4] = -1
    assert measures.equal_rows(replace(case, logits={**case.logits, "fast": other}), "reference", "fast") == 3


def test_confusions_count_only_wrong_answers() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 2, 2])
    counts = measures.confusion_matrix(truth, predicted, 3)
    assert counts.tolist() == [[1, 2, 0], [0, 1, 1], [0, 0, 1]]
    found = measures.frequent_confusions(counts, ["x", "X", "y"], 5)
    facts = [(c.truth, c.predicted, c.count, c.is_case_twin) for c in found]
    assert facts == [("x", "X", 2, True), ("X", "y", 1, False)]
    assert found[0].share == pytest.approx(2 / 3)


def test_class_rows_say_what_a_class_is_taken_for() -> None:
    rows = measures.class_rows(np.array([[1, 2, 0], [0, 4, 0], [0, 0, 0]]), ["x", "X", "y"])
    assert [(row.accuracy.count, row.most_taken_for) for row in rows] == [(3, "X (2×)"), (4, "–"), (0, "–")]
    assert rows[0].accuracy.share == pytest.approx(1 / 3)
    assert np.isnan(rows[2].accuracy.share)


def test_top_count_breaks_ties_by_the_lowest_class() -> None:
    logits = np.zeros((1, 7), np.float32)
    assert [bool(measures.in_top(logits, np.array([truth]), 6, 5)[0]) for truth in range(6)] == 5 * [True] + [False]


def test_reality_by_kind(evidence: Evidence) -> None:
    reality = measures.reality(evidence, evidence.logits["fast"])
    assert reality is not None
    assert [(row.kind, row.rejected.count) for row in reality.kinds] == [("noise", 15), ("texture", 15)]
    weighted = np.mean([row.auc for row in reality.kinds])
    assert reality.auc == pytest.approx(weighted)
    no_fake = replace(evidence, model=evidence.model._replace(fake_class=None))
    assert measures.reality(no_fake, evidence.logits["fast"]) is None


def test_series_skip_what_an_epoch_did_not_record() -> None:
    history = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "validation_accuracy": 0.5, "stopped": True}]
    assert measures.series(history) == {"loss": ([1, 2], [2, 1]), "validation_accuracy": ([2], [0.5])}
