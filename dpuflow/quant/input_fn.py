"""The user's calibration function (quantizer specification, section 2)."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dpuflow.errors import ConfigError, QuantizeError

InputFn = Callable[[int], Mapping[str, Any]]


def load_input_fn(name: str, flag: str = "--input_fn") -> InputFn:
    """``module.function``, looked up from the current folder and the Python path; ``flag`` gave the name."""
    return _caller(load_function(name, flag), name)


def load_function(name: str, flag: str) -> Callable[..., Any]:
    """The user's function of that name; ConfigError or QuantizeError naming the flag."""
    module_name, _, function_name = name.rpartition(".")
    if not module_name:
        raise ConfigError("not the name of a function", where=flag, got=name, expected="module.function")
    if "./" not in sys.path:
        sys.path.append("./")
    importlib.invalidate_caches()
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module_name), function_name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        raise QuantizeError(f"Fail to import {flag.lstrip('-')}, error: {error}", where=f"{flag} {name}",
                            remedy="run from the folder of the module, or set PYTHONPATH") from error
    if not callable(function):
        raise ConfigError("not a function", where=f"{flag} {name}", got=type(function).__name__)
    return function


def _takes_keyword(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any((p.name == "iter" and p.kind is not inspect.Parameter.POSITIONAL_ONLY)
               or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def _caller(function: Callable[..., Any], name: str) -> InputFn:
    """Call by the keyword ``iter``, as 1.2 to 1.4 do, else by position, as 3.5 does."""
    keyword = _takes_keyword(function)

    def call(iteration: int) -> Mapping[str, Any]:
        try:
            result: Mapping[str, Any] = function(iter=iteration) if keyword else function(iteration)
        except (Exception, SystemExit) as error:  # whatever the user's function raises
            raise QuantizeError(f"input_fn failed: {type(error).__name__}: {error}",
                                where=f"{name}(iter={iteration})",
                                remedy="run it by hand; --debug shows the traceback") from error
        return result

    return call
