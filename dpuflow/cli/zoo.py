"""``dpuflow zoo``: well-known networks with made-up weights."""

from __future__ import annotations

import argparse

import numpy as np

from dpuflow.planning.inspection import node_macs
from dpuflow.zoo import ZOO, float_network


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command has no options."""
    return commands.add_parser("zoo", help="list the networks that can be named instead of a file, as zoo:NAME",
                               description="inspect, estimate, compile and emulate take zoo:NAME in place of a file. "
                               "The weights are random: speed, placement and bits can be studied, accuracy cannot.")


def run(options: argparse.Namespace) -> None:
    """One row a network."""
    width = max(map(len, ZOO))
    print(f"{'zoo:NAME':<{width + 4}} {'input':<12} {'GMAC':>7} {'M params':>9}  what")
    for name, build in ZOO.items():
        graph = float_network(name, weights="zeros")
        macs = sum(node_macs(graph, node) for node in graph.nodes)
        parameters = sum(int(np.prod(node.shape)) for node in graph.nodes if node.data is not None)
        size = "x".join(map(str, graph.inputs[0].shape[1:]))
        summary = " ".join((build.__doc__ or "").split()).rstrip(".")
        print(f"zoo:{name:<{width}} {size:<12} {macs / 1e9:>7.3f} {parameters / 1e6:>9.2f}  {summary}")
