"""Values of variables from TensorFlow's checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from dpuflow.errors import DataError
from dpuflow.ir.graph import Array


def checkpoint_reader(path: Path | str) -> Callable[[str], Array]:
    """A function from variable names to values; a folder means its latest checkpoint."""
    found = tf.train.latest_checkpoint(str(path)) if Path(path).is_dir() else str(path)
    if not found:
        raise DataError("no checkpoint in this folder", where=path)
    try:
        reader = tf.train.load_checkpoint(found)
    except (ValueError, tf.errors.OpError) as error:
        raise DataError(f"cannot read the checkpoint ({str(error).splitlines()[0]})", where=path) from None

    def read(name: str) -> Array:
        if not reader.has_tensor(name):
            raise DataError("the checkpoint lacks a variable of the graph", where=path, got=name,
                            remedy="give the checkpoint that was trained with this graph")
        return np.asarray(reader.get_tensor(name))

    return read
