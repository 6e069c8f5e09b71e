"""The recipe that a name means."""

from __future__ import annotations

from dpuflow.errors import ConfigError
from dpuflow.quant.job import QuantizeJob, Recipe
from dpuflow.quant.quantizer import Quantized, quantize_graph


def vendor(job: QuantizeJob) -> Quantized:
    """decent_q's rule, nothing else."""
    return quantize_graph(job.graph, job.config, job.batches)


def find_recipe(name: str | None) -> tuple[Recipe, str]:
    """The recipe and its name; ConfigError listing those there are."""
    recipes: dict[str, Recipe] = {"vendor": vendor}
    wanted = name or "vendor"
    if wanted not in recipes:
        raise ConfigError("no such recipe", where="--recipe", got=wanted, expected=" or ".join(recipes))
    return recipes[wanted], wanted
