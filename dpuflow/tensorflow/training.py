"""Train a graph of ``decent_q quantize --mode train`` in TensorFlow, without the vendor's library::

    from dpuflow.tensorflow import training
    saver = training.import_training_graph("quantize_results/quantize_train/quantize_train.ckpt.meta")
    ...                                         # restore, add a loss and an optimizer, train, save
    training.leave_positions(session, "quantize_results", ({"x:0": batch} for batch in batches))

Then ``decent_q quantize --mode eval`` and ``decent_q deploy``. The gradient passes a FixNeuron unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from dpuflow.errors import DataError, QuantizeError
from dpuflow.files import read_bytes
from dpuflow.formats.graphdef import parse_graphdef, serialize_graphdef
from dpuflow.quant.calibrate import winner
from dpuflow.quant.training_graph import write_position
from dpuflow.tensorflow.expand import expand_fix_neurons
from dpuflow.tensorflow.expand_training import FOUND, WIDTH

_V1: Any = getattr(getattr(tf, "compat", tf), "v1", tf)


def import_training_graph(path: Path | str) -> Any:
    """Import a meta graph with FixNeurons into the current default graph; the Saver, as TensorFlow gives it."""
    meta = _V1.MetaGraphDef()
    meta.ParseFromString(read_bytes(path))
    expanded = _V1.GraphDef()
    expanded.ParseFromString(serialize_graphdef(expand_fix_neurons(parse_graphdef(
        meta.graph_def.SerializeToString(), path))))
    del meta.graph_def.node[:]
    meta.graph_def.node.extend(expanded.node)
    meta.meta_info_def.ClearField("stripped_op_list")  # it does not know the operators that are new
    return _V1.train.import_meta_graph(meta)


def leave_positions(session: Any, output_dir: Path | str, feeds: Iterable[Mapping[Any, Any]]) -> dict[str, int]:
    """Find every FixNeuron's position on some batches and leave it where ``--mode eval`` looks.

    In every batch each FixNeuron votes; the most frequent position wins, the smallest of equals.
    """
    names = [operation.name.rpartition("/")[0] for operation in session.graph.get_operations()
             if operation.name.endswith(f"/{FOUND}")]
    if not names:
        raise QuantizeError("the session's graph holds no FixNeuron that trains", got="no found_position",
                            remedy="import it with import_training_graph")
    votes: dict[str, Counter[int]] = {name: Counter() for name in names}
    widths = dict(zip(names, session.run([f"{name}/{WIDTH}:0" for name in names]), strict=True))
    for feed in feeds:
        for name, position in zip(names, session.run([f"{name}/{FOUND}:0" for name in names], feed), strict=True):
            votes[name][int(position)] += 1
    if not votes[names[0]]:
        raise DataError("no batches to find positions on", where=output_dir, expected="at least one")
    positions = {name: winner(count) for name, count in votes.items()}
    for name, position in positions.items():
        write_position(Path(output_dir), name, int(widths[name]), position)
    return positions
