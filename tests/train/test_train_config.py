"""Tests of train/train_config.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_config import load_config, parse_setting

from dpuflow.errors import ConfigError


def test_the_shipped_configuration_is_valid_and_complete() -> None:
    config = load_config("chars74k", {})
    assert config.mode == "gan"
    assert config.steps == config.samples // config.batch
    assert load_config("chars74k", {"samples": 10, "batch": 256}).steps == 1
    assert load_config("chars74k", {"data": "good + bad"}).parts == ("good", "bad")


@pytest.mark.parametrize("changes", [
    {"mode": "magic"}, {"data": "good+cats"}, {"labelled_share": 0.0}, {"labelled_share": 1.5}, {"batch": 0},
    {"samples": -1}, {"real_samples": 0}, {"dropout": 1.0}, {"zoom_low": 2.0}, {"seed": -1}, {"learning_rate": 0.0},
    {"batch": "many"}, {"batch": True}, {"batch": 1.5}, {"generator_every": 0}, {"speed": 3},
])
def test_impossible_entries_are_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        load_config("chars74k", changes)


def test_whole_numbers_serve_as_floats() -> None:
    assert load_config("chars74k", {"labelled_share": 1}).labelled_share == 1.0


def test_files_that_cannot_serve_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration"):
        load_config("nothing", {})
    for text in ("[train", "a = 1", "[train]\nbatch = 1"):
        path = tmp_path / "x.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match="x.toml"):
            load_config(str(path), {})


@pytest.mark.parametrize(("text", "name", "value"), [
    ("batch=3", "batch", 3), ("shift = 0.5", "shift", 0.5), ("mode=gan", "mode", "gan"), ('mode="gan"', "mode", "gan"),
])
def test_settings(text: str, name: str, value: object) -> None:
    assert parse_setting(text) == (name, value)


@pytest.mark.parametrize("text", ["batch", "=3"])
def test_a_setting_needs_name_and_value(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_setting(text)
