"""The search stops when the limit holds, records what it tried, and goes on after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dpuflow.formats.graphdef import serialize_graphdef
from dpuflow.recipe import RECIPES
from dpuflow.recipe import record as record_module
from dpuflow.recipe.search import DEFAULT, PLANS, auto
from recipe.networks import job, separable


def read(folder):
    return json.loads((folder / record_module.FILE).read_text(encoding="utf-8"))


class Accuracies:
    """An evaluation that answers from a list, and fails where the list holds an error."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def __call__(self, quantized):
        answer = self.answers[self.asked]
        self.asked += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer


def task(folder, *answers, **changes):
    return job(separable(2), folder, evaluate=Accuracies(*answers), float_accuracy=0.9, max_drop=0.5, **changes)


def test_it_stops_at_the_first_plan_within_the_limit(tmp_path):
    asked = task(tmp_path, 0.80, 0.896, 0.1)
    made = RECIPES["auto"](asked)
    found = read(tmp_path)
    assert [trial["plan"] for trial in found["trials"]] == ["vendor", "correct biases"]
    assert found["best"] == "correct biases" and "holds" in found["ended"]
    assert found["trials"][1]["drop_points"] == pytest.approx(0.4)
    assert "accuracy" in found["judged_by"]
    assert asked.evaluate.asked == 2
    assert len(made.positions) == len(set(made.positions))


def test_without_a_plan_within_the_limit_the_best_one_is_returned(tmp_path, monkeypatch):
    monkeypatch.setattr("dpuflow.recipe.search.PLANS", PLANS[:3])
    made = auto(task(tmp_path, 0.5, 0.8, 0.7))
    assert read(tmp_path)["best"] == "correct biases"
    assert "no plan" in read(tmp_path)["ended"]
    again = auto(task(tmp_path))  # everything was tried: nothing is asked again
    assert serialize_graphdef(again.deploy) == serialize_graphdef(made.deploy)


def test_an_evaluation_too_small_for_the_limit_does_not_end_the_search_at_once(tmp_path):
    """One of 100 images is a point: up to the default's plan all are tried, and the least noise decides."""
    asked = task(tmp_path, 0.9, 0.91, 0.9, evaluation_images=100)
    auto(asked)
    found = read(tmp_path)
    assert [trial["plan"] for trial in found["trials"]] == ["vendor", "correct biases", DEFAULT.name]
    least = min(found["trials"], key=lambda trial: trial["output_noise"])
    assert found["best"] == least["plan"] != "vendor"
    assert "one image is 1.00 points" in found["ended"]
    fine = task(tmp_path / "fine", 0.9, evaluation_images=200)
    auto(fine)
    assert fine.evaluate.asked == 1
    assert "one image" not in read(tmp_path / "fine")["ended"]


def test_an_interrupted_search_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        auto(task(tmp_path, 0.5, KeyboardInterrupt()))
    assert [trial["plan"] for trial in read(tmp_path)["trials"]] == ["vendor"]
    second = task(tmp_path, 0.4, 0.9)
    made = auto(second)
    assert second.evaluate.asked == 2
    whole = auto(task(tmp_path / "whole", 0.5, 0.4, 0.9))
    assert serialize_graphdef(made.evaluation) == serialize_graphdef(whole.evaluation)
    assert [path.name for path in tmp_path.glob("*.pb")] == [read(tmp_path)["best_file"]]


@pytest.mark.parametrize("damage", ["another job", "no JSON", "lost network"])
def test_a_record_that_does_not_fit_is_begun_anew(damage, tmp_path):
    auto(task(tmp_path, 0.9))
    changed = task(tmp_path, 0.9)
    if damage == "another job":
        changed = replace(changed, seed=5)
    elif damage == "no JSON":
        (tmp_path / record_module.FILE).write_text("{", encoding="utf-8")
    else:
        (tmp_path / read(tmp_path)["best_file"]).unlink()
    auto(changed)
    assert changed.evaluate.asked == 1


def test_without_an_evaluation_it_says_what_it_judged_by(tmp_path):
    RECIPES["auto"](job(separable(2, spread=1.0), tmp_path, max_drop=100.0))
    found = read(tmp_path)
    assert "held-out calibration images" in found["judged_by"]
    assert 0 <= found["trials"][0]["drop_points"] <= 100 and np.isfinite(found["trials"][0]["output_noise"])
