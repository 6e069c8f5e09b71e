"""A Mean over height and width becomes an AvgPool (quantizer specification, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping

from dpuflow.formats.graphdef import TFGraph, TFNode, new_node
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT
from dpuflow.ir.graph import Shape
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import ANY, op
from dpuflow.quant.rewrite import Edit, replace_matches

_MEAN = op("mean", "Mean", ANY, op("axes", "Const"))


def _pool(name: str, operand: str, size: Shape) -> TFNode:
    return new_node(name, "AvgPool", (operand,), T=FLOAT, data_format=b"NHWC", padding=b"VALID",
                    ksize=[1, size[1], size[2], 1], strides=[1, 1, 1, 1])


def _without_dims(mean: TFNode, operand: str, size: Shape) -> tuple[TFNode, ...]:
    """AvgPool under the mean's name and ``<mean>/squeeze``, as release 3.5 writes them."""
    squeeze = new_node(f"{mean.name}/squeeze", "Squeeze", (mean.name,), T=FLOAT, squeeze_dims=[1, 2])
    return _pool(mean.name, operand, size), squeeze


def mean_to_average_pool(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Means over the axes [1, 2] become pools over the whole map, under the same name."""
    if not config.simulate_dpu or not any(node.op == "Mean" for node in graph.nodes):
        return graph
    shapes = {node.name: node.shape for node in import_tf(graph, config.output_nodes, config.shapes).nodes}

    def replace(graph: TFGraph, roles: Mapping[str, str]) -> Edit | None:
        mean, axes, x = graph.node(roles["mean"]), graph.node(roles["axes"]), graph.node(roles["input"])
        size = shapes.get(x.name, ())
        if len(size) != 4 or axes.tensor().reshape(-1).tolist() != [1, 2]:
            return Edit((x, axes, mean))
        if mean.get("keep_dims", False):
            return Edit((x, _pool(mean.name, x.name, size)))
        if config.release.mean_without_dims and mean.name not in config.output_nodes:
            pool, squeeze = _without_dims(mean, x.name, size)
            return Edit((x, pool, squeeze), {mean.name: squeeze.name}, (squeeze.name,))
        return Edit((x, axes, mean))

    return replace_matches(graph, _MEAN, replace)[0]
