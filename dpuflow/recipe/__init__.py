"""Recipes: ways to quantize that lose less accuracy than the vendor's rule, with the vendor's files as result."""

from __future__ import annotations

from collections.abc import Mapping

from dpuflow.quant.job import Recipe
from dpuflow.quant.recipes import vendor
from dpuflow.recipe.search import auto, default

RECIPES: Mapping[str, Recipe] = {"vendor": vendor, "default": default, "auto": auto}
