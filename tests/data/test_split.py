"""Tests of dpuflow.data.split, pictures and classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.data import classes
from dpuflow.data.pictures import Item, Pictures, gather, join, summary
from dpuflow.data.split import deduplicate, split_by_class, split_by_group, without
from dpuflow.errors import DataError


def picture(value: int, label: int, name: str = "", group: str = "", shape: tuple[int, int] = (2, 3)) -> Item:
    return Item(np.full(shape, value, np.uint8), label, name or f"{value}", group)


def numbered(labels: list[int], groups: list[str] | None = None) -> Pictures:
    """Pictures that are all different."""
    names = groups or [""] * len(labels)
    return gather(picture(i % 256, label, f"n{i}", group, (1, 1 + i // 256))
                  for i, (label, group) in enumerate(zip(labels, names, strict=True)))


def test_duplicates_go_and_conflicts_go_altogether() -> None:
    cleaned = deduplicate(gather([picture(1, 0, "a"), picture(1, 0, "b"), picture(2, 0, "c"), picture(2, 5, "d"),
                                  picture(2, 5, "e"), picture(3, 4, "f"), picture(1, 0, "g", shape=(3, 2))]))
    assert list(cleaned.pictures.names) == ["a", "f", "g"]
    assert cleaned.as_json() == {"duplicates_dropped": 1, "conflicting_dropped": 3}


def test_without_compares_pixels_not_names() -> None:
    rest = without(gather([picture(1, 0, "x"), picture(2, 0, "y")]), gather([picture(1, 9, "other")]))
    assert list(rest.names) == ["y"]


@given(st.lists(st.integers(0, 61), min_size=1, max_size=300), st.integers(0, 5))
def test_a_split_loses_and_repeats_nothing(labels: list[int], seed: int) -> None:
    parts = split_by_class(numbered(labels), (0.7, 0.1, 0.2), seed)
    names = [name for part in parts for name in part.names]
    assert sorted(names) == sorted(f"n{i}" for i in range(len(labels)))
    for label in set(labels):
        count, last = labels.count(label), int((parts[2].labels == label).sum())
        assert abs(last - 0.2 * count) <= 0.5


def test_a_split_depends_on_its_seed_alone() -> None:
    pictures = numbered([i % 4 for i in range(80)])
    one, again, other = (split_by_class(pictures, (0.5, 0.5), seed)[0].names for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_families_stay_together() -> None:
    groups = [f"f{i % 9}" for i in range(90)]
    parts = split_by_group(numbered([0] * 90, groups), (0.8, 0.1, 0.1), 3)
    families = [set(part.groups) for part in parts]
    assert [len(family) for family in families] == [7, 1, 1]
    small = split_by_group(numbered([0] * 90, [f"f{i % 3}" for i in range(90)]), (0.9, 0.05, 0.05), 3)
    assert [len(set(part.groups)) for part in small] == [1, 1, 1]
    assert not families[0] & families[1]
    assert not (families[0] | families[1]) & families[2]


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(DataError, match="too few groups"):
        split_by_group(numbered([0, 1], ["a", "a"]), (0.5, 0.5), 0)
    with pytest.raises(DataError, match="shares"):
        split_by_class(numbered([0, 1]), (0.5, 0.6), 0)


def test_the_digest_sees_pixels_names_and_labels_but_not_order() -> None:
    base = numbered([1, 2, 3])
    assert base.take([2, 0, 1]).digest() == base.digest()
    changed = [gather([picture(0, 1, "n0"), picture(1, 2, "n1"), picture(9, 3, "n2")]), numbered([1, 2, 4]),
               base.take([0, 1])]
    assert len({base.digest(), *(pictures.digest() for pictures in changed)}) == 4
    assert summary(join([base, base.take([0])]))["per_class"]["1"] == 2
    assert len(join([])) == 0


def test_the_classes() -> None:
    assert len(classes.LABELS) == 62
    assert classes.LABELS[0] + classes.LABELS[10] + classes.LABELS[36] + classes.LABELS[61] == "0Aaz"
    merged = classes.merge_case(np.arange(62))
    for label, other in enumerate(merged.tolist()):
        assert classes.LABELS[other] == classes.LABELS[label].upper()


def test_accuracy_has_the_wilson_interval() -> None:
    # Literal case: 8 of 10; interval 0.4902 .. 0.9433 (E. B. Wilson, z = 1.96).
    result = classes.accuracy(np.array([True] * 8 + [False] * 2))
    assert (result.share, result.count) == (0.8, 10)
    assert result.low == pytest.approx(0.4902, abs=1e-4)
    assert result.high == pytest.approx(0.9433, abs=1e-4)
    assert math.isnan(classes.accuracy(np.zeros(0, bool)).share)


def test_case_twins_count_as_right_only_when_merged() -> None:
    scores = classes.score(np.array([10, 36, 0, 24]), np.array([36, 10, 0, 0]))
    assert scores["top1"]["accuracy"] == 0.25
    assert scores["case_merged"]["accuracy"] == 0.75  # O and 0 are different characters
