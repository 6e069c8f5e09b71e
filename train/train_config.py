"""The configuration of a training run: a TOML table, overridden on the command line."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "configs"
MODES = ("gan", "supervised")
PARTS = ("good", "bad", "hnd", "fnt", "glyphs")


@dataclass(frozen=True)
class TrainConfig:
    """One training run; the meaning of each entry stands in ``configs/chars74k.toml``."""

    data: str
    fonts: str
    mode: str
    labelled_share: float
    samples: int
    real_samples: int
    batch: int
    seed: int
    split_seed: int
    validation_share: float
    test_share: float
    learning_rate: float
    weight_decay: float
    warmup_share: float
    label_smoothing: float
    dropout: float
    average_decay: float
    fake_share: float
    fake_weight: float
    generator_rate: float
    generator_every: int
    rotation_degrees: float
    shear: float
    zoom_low: float
    zoom_high: float
    stretch: float
    shift: float
    elastic: float
    invert_share: float
    degrade_share: float
    cutout_share: float
    checkpoint_steps: int

    @property
    def steps(self) -> int:
        """Training steps of the whole run."""
        return max(self.samples // self.batch, 1)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the data set, in the order given."""
        return tuple(part.strip() for part in self.data.split("+"))

    def as_json(self) -> Mapping[str, Any]:
        """The resolved configuration as a JSON object."""
        return dataclasses.asdict(self)


def load_config(model: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """The configuration of ``model`` (a name in ``configs/`` or a TOML file) with some entries replaced.

    ConfigError for a missing file, unknown or missing entries, wrong types and impossible values.
    """
    table, path = config_table(model)
    return _checked({**table, **overrides}, path)


def config_table(model: str) -> tuple[Mapping[str, Any], Path]:
    """The entries of ``[train]`` for ``model``, a name in ``configs/`` or a TOML file, and where they stand.

    A configuration whose table ``[model]`` names a ``base`` states only what differs from that one.
    """
    path, table, base = _path(model), _read(_path(model)).get("train"), _base(model)
    if not isinstance(table, dict):
        raise ConfigError("the configuration has no table [train]", where=path)
    return ({**config_table(base)[0], **table} if base else table), path


def _path(model: str) -> Path:
    return Path(model) if model.endswith(".toml") else FOLDER / f"{model}.toml"


def _base(model: str) -> str:
    """The configuration that ``model`` builds on, or nothing; ConfigError for a base that has one itself."""
    table = _read(_path(model)).get("model", {})
    base = str(table.get("base", "")) if isinstance(table, dict) else ""
    if base and (base == model or "base" in _read(_path(base)).get("model", {})):
        raise ConfigError("a base that builds on another configuration", where=_path(model), got=base)
    return base


def task_of(model: str) -> str:
    """What the networks of a configuration do, ``[model] task``: "classification" unless it says otherwise."""
    table = _read(_path(_base(model) or model)).get("model", {})
    return str(table.get("task", "classification")) if isinstance(table, dict) else "classification"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(item.stem for item in FOLDER.glob("*.toml")))
        raise ConfigError("no such configuration", where=path, expected=f"one of {known}, or a .toml file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the configuration ({error})", where=path) from None


def typed_entries(kind: type, values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The entries of a configuration class, each of its type; ConfigError for unknown, missing and wrong ones."""
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    unknown, missing = sorted(set(values) - set(fields)), sorted(set(fields) - set(values))
    if unknown or missing:
        raise ConfigError("wrong entries in [train]", where=path, got=f"unknown {unknown}, missing {missing}",
                          remedy=f"known entries: {', '.join(fields)}")
    return {name: _typed(name, values[name], wanted, path) for name, wanted in fields.items()}


def _checked(values: Mapping[str, Any], path: Path) -> TrainConfig:
    config = TrainConfig(**typed_entries(TrainConfig, values, path))
    for name, good, expected in _limits(config):
        if not good:
            raise ConfigError(f"impossible value of {name}", where=path, expected=expected,
                              got=getattr(config, name, None))
    return config


def _typed(name: str, value: Any, kind: str, path: Path) -> Any:
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value).__name__ != kind:
        raise ConfigError(f"wrong type of {name}", where=path, expected=kind, got=repr(value))
    return value


def _limits(config: TrainConfig) -> Sequence[tuple[str, bool, str]]:
    shares = ("validation_share", "test_share",
              "warmup_share", "label_smoothing", "dropout")
    whole = ("invert_share", "degrade_share", "cutout_share")
    counts = ("samples", "real_samples", "batch", "generator_every", "checkpoint_steps")
    return (
        ("mode", config.mode in MODES, " or ".join(MODES)),
        ("data", config.data == "auto" or set(config.parts) <= set(PARTS), f"auto or {', '.join(PARTS)} joined by +"),
        ("labelled_share", 0 < config.labelled_share <= 1, "above 0, at most 1"),
        ("average_decay", 0 <= config.average_decay < 1, "from 0, below 1"),
        ("zoom_low", 0 < config.zoom_low <= config.zoom_high, "above 0, at most zoom_high"),
        ("fake_share", config.fake_share > 0, "above 0"),
        ("learning_rate", config.learning_rate > 0, "above 0"),
        *((name, 0 <= getattr(config, name) < 1, "from 0, below 1") for name in shares),
        *((name, 0 <= getattr(config, name) <= 1, "from 0 to 1") for name in whole),
        *((name, getattr(config, name) >= 1, "at least 1") for name in counts),
        ("seed", config.seed >= 0, "not negative"), ("split_seed", config.split_seed >= 0, "not negative"),
    )


def parse_setting(text: str) -> tuple[str, Any]:
    """``NAME=VALUE`` of --set; the value as TOML, or as plain text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError("--set takes NAME=VALUE", got=text)
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        return name.strip(), value.strip()
