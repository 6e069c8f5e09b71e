"""The configuration of a captcha training: ``[train]`` of ``configs/captcha*.toml``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captcha_networks import NETWORKS
from train_config import config_table, typed_entries

from dpuflow.data.captcha import Alphabet
from dpuflow.errors import ConfigError


@dataclass(frozen=True)
class CaptchaConfig:
    """One training run; the meaning of each entry stands in ``configs/captcha_conv.toml``."""

    network: str
    data: str
    drawn: int
    symbols: str
    length: int
    folds: int
    fold: int
    split_seed: int
    validation_share: float
    validation_views: int
    epochs: int
    frame_epochs: int
    batch: int
    seed: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    average_decay: float
    clip_norm: float
    look_epochs: int
    patience: int
    rotation_degrees: float
    shear: float
    zoom: float
    shift_x: float
    shift_y: float
    curve_share: float
    contrast: float
    noise: float
    checkpoint_steps: int

    @property
    def alphabet(self) -> Alphabet:
        """The symbols and the length of a word."""
        return Alphabet(self.symbols, self.length)

    def as_json(self) -> Mapping[str, Any]:
        """The resolved configuration as a JSON object."""
        return dataclasses.asdict(self)


def load_captcha_config(model: str, overrides: Mapping[str, Any]) -> CaptchaConfig:
    """The configuration of ``model`` with some entries replaced; ConfigError as :func:`config_table` says."""
    table, path = config_table(model)
    config = CaptchaConfig(**typed_entries(CaptchaConfig, {**table, **overrides}, path))
    for name, good, expected in _limits(config):
        if not good:
            raise ConfigError(f"impossible value of {name}", where=path, expected=expected, got=getattr(config, name))
    return config


def _limits(config: CaptchaConfig) -> Sequence[tuple[str, bool, str]]:
    counts = ("drawn", "length", "epochs", "batch", "look_epochs", "patience", "checkpoint_steps")
    spreads = ("weight_decay", "rotation_degrees", "shear", "shift_x", "shift_y", "contrast", "noise",
               "validation_views")
    return (
        ("network", config.network in NETWORKS, " or ".join(NETWORKS)),
        ("data", config.data in ("auto", "captcha", "drawn"), "auto, captcha or drawn"),
        ("symbols", 1 <= len(config.symbols) == len(set(config.symbols)), "different symbols"),
        ("folds", config.folds >= 2, "at least 2"),
        ("fold", 0 <= config.fold < config.folds, f"0 to {config.folds - 1}"),
        ("frame_epochs", 0 <= config.frame_epochs <= config.epochs, "0 to epochs"),
        ("validation_share", 0 < config.validation_share < 1, "above 0, below 1"),
        ("warmup_share", 0 <= config.warmup_share < 1, "from 0, below 1"),
        ("average_decay", 0 <= config.average_decay < 1, "from 0, below 1"),
        ("zoom", 0 <= config.zoom < 1, "from 0, below 1"),
        ("curve_share", 0 <= config.curve_share <= 1, "0 to 1"),
        ("learning_rate", config.learning_rate > 0, "above 0"),
        ("clip_norm", config.clip_norm > 0, "above 0"),
        *((name, getattr(config, name) >= 1, "at least 1") for name in counts),
        *((name, getattr(config, name) >= 0, "at least 0") for name in spreads),
    )
