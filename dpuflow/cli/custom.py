"""``--custom-op TYPE=module.function``: the user's code for operators that a file only names."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable

from dpuflow.errors import ConfigError
from dpuflow.ops.custom import CustomFunction


def add_custom_option(parser: argparse.ArgumentParser) -> None:
    """The option, for every command that runs a file."""
    parser.add_argument("--custom-op", action="append", default=[], metavar="TYPE=module.function",
                        help="a Python function for a custom operator: function(operands, attrs) -> array")


def _function(kind: str, name: str) -> CustomFunction:
    module_name, _, function_name = name.rpartition(".")
    where = f"--custom-op {kind}={name}"
    if "./" not in sys.path:
        sys.path.append("./")
    importlib.invalidate_caches()
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise ConfigError(f"cannot import the function ({error})", where=where,
                          remedy="run from the folder of the module, or set PYTHONPATH") from error
    if not callable(function):
        raise ConfigError("not a function", where=where, got=type(function).__name__)
    made: CustomFunction = function
    return made


def custom_functions(texts: Iterable[str]) -> dict[str, CustomFunction]:
    """The functions by operator type; ConfigError for text of another form or what cannot be imported."""
    functions = {}
    for text in texts:
        kind, separator, name = text.partition("=")
        if not separator or not kind or "." not in name.strip("."):
            raise ConfigError("not a custom operator", where="--custom-op", got=text, expected="TYPE=module.function")
        functions[kind] = _function(kind, name)
    return functions
