"""The recipe that a name means."""

from __future__ import annotations

from dpuflow.errors import ConfigError
from dpuflow.quant.job import QuantizeJob, Recipe
from dpuflow.quant.quantizer import Quantized, quantize_graph

PACKAGE = "dpuflow.recipe"  # its RECIPES table; it builds on this package, so it is imported on use
PREFERRED = "default"


def vendor(job: QuantizeJob) -> Quantized:
    """decent_q's rule, nothing else."""
    return quantize_graph(job.graph, job.config, job.batches)


def all_recipes() -> dict[str, Recipe]:
    """Every recipe by name."""
    import importlib.util

    if importlib.util.find_spec(PACKAGE) is None:
        return {"vendor": vendor}
    return {"vendor": vendor, **importlib.import_module(PACKAGE).RECIPES}


def find_recipe(name: str | None) -> tuple[Recipe, str]:
    """The recipe and its name, the preferred one where none is named; ConfigError listing those there are."""
    recipes = all_recipes()
    wanted = name or (PREFERRED if PREFERRED in recipes else "vendor")
    if wanted not in recipes:
        raise ConfigError("no such recipe", where="--recipe", got=wanted, expected=" or ".join(recipes))
    return recipes[wanted], wanted
