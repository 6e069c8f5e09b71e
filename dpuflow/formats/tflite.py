"""TFLite files, read through LiteRT's interpreter; for looking at and comparing with only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpuflow.errors import FormatError
from dpuflow.files import read_bytes


def open_tflite(path: Path) -> Any:
    """An interpreter with its tensors allocated; FormatError for what is no TFLite file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        # Without delegates, so that every operator stands as the file has it.
        interpreter = Interpreter(model_content=read_bytes(path),
                                  experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise FormatError(f"not a TFLite file ({error})", where=path) from None
    return interpreter
