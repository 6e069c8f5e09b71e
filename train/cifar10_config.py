"""The configuration of a CIFAR-10 training: a TOML table, overridden on the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from train_config import config_table, typed_entries

from dpuflow.errors import ConfigError


@dataclass(frozen=True)
class CifarConfig:
    """One training run; the meaning of each entry stands in ``configs/mobilenet_cifar10.toml``."""

    network: str
    width: float
    epochs: float
    batch: int
    seed: int
    split_seed: int
    validation_images: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    label_smoothing: float
    shift: int

    def as_json(self) -> Mapping[str, Any]:
        """The resolved configuration as a JSON object."""
        return dataclasses.asdict(self)


def load_cifar_config(model: str, overrides: Mapping[str, Any]) -> CifarConfig:
    """The configuration of ``model`` with some entries replaced; ConfigError naming a wrong entry."""
    table, path = config_table(model)
    config = CifarConfig(**typed_entries(CifarConfig, {**table, **overrides}, path))
    for name, good in (("width", 0 < config.width <= 4), ("epochs", config.epochs > 0), ("batch", config.batch >= 1),
                       ("validation_images", 1 <= config.validation_images <= 40000), ("shift", 0 <= config.shift < 16),
                       ("learning_rate", config.learning_rate > 0)):
        if not good:
            raise ConfigError(f"impossible value of {name}", where=path, got=getattr(config, name))
    return config
