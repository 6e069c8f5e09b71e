"""Positions of a prepared graph by TensorFlow's own float operators and the oracle's rule.

Every FixNeuron becomes a Placeholder; in the order of the graph the tensor that it would read is
computed by TensorFlow, quantized by the oracle and fed to what follows.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from dpuflow.formats.graphdef import TFGraph, new_node, serialize_graphdef
from dpuflow.formats.tf_values import FLOAT, TShape

from quant import tf_oracle


def calibrate(tf: Any, graph: TFGraph, batches: list[np.ndarray]) -> dict[str, int]:
    """The position of every FixNeuron, by name."""
    fixes = [node for node in graph.nodes if node.op == "FixNeuron"]
    cut = graph.replace(new_node(node.name, "Placeholder", dtype=FLOAT, shape=TShape(None))
                        if node.op == "FixNeuron" else node for node in graph.nodes)
    graph_def = tf.compat.v1.GraphDef.FromString(serialize_graphdef(cut))
    votes: dict[str, Counter] = {fix.name: Counter() for fix in fixes}
    with tf.Graph().as_default() as loaded:
        tf.graph_util.import_graph_def(graph_def, name="")
        with tf.compat.v1.Session(graph=loaded) as session:
            for batch in batches:
                feeds = {"x:0": batch}
                for fix in fixes:
                    value = session.run(f"{fix.inputs[0]}:0", feeds)
                    activation = fix.get("mode") == 1
                    pos = tf_oracle.overflow(value) if fix.get("method") == 0 else tf_oracle.diffs(value, activation)
                    votes[fix.name][pos] += 1
                    feeds[f"{fix.name}:0"] = tf_oracle.quant(value, pos, activation)
    return {name: min(count, key=lambda pos: (-count[pos], pos)) for name, count in votes.items()}
