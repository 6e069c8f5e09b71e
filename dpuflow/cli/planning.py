"""Networks for the commands that plan: what runs where, how fast. Weights do not matter to them."""

from __future__ import annotations

from dpuflow.compiler.driver import quantized_form
from dpuflow.ir.graph import Graph
from dpuflow.model import ZOO_PREFIX, load

FILE_HELP = "a float or quantized model file, or zoo:NAME (list them with `dpuflow zoo`)"


def planned_graph(file: str) -> Graph:
    """The quantized graph of a file or of ``zoo:NAME``; a float network as if quantized."""
    if file.startswith(ZOO_PREFIX):
        from dpuflow.passes.as_if_quantized import as_if_quantized
        from dpuflow.zoo import float_network

        return as_if_quantized(float_network(file.removeprefix(ZOO_PREFIX), weights="zeros"))
    return quantized_form(load(file))
