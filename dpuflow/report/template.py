"""The one place that fills a template, and how numbers stand in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpuflow.errors import ConfigError

HERE = Path(__file__).parent


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
