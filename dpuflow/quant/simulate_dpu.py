"""Make the float graph compute as the DPU does (quantizer specification, section 3.3)."""

from __future__ import annotations

import numpy as np

from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node, rewire
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT
from dpuflow.ir.graph import Shape
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT
from dpuflow.ops.pool import average_factor
from dpuflow.quant.config import QuantizeConfig

# The kernels that releases before 1.4, and so DNNDK-like files, scale.
_EARLY_KERNELS = {(3, 3), (5, 5), (6, 6), (7, 7), (14, 14)}
_LEAKY_TOLERANCE = 1e-5


def _map_shapes(graph: TFGraph, config: QuantizeConfig) -> dict[str, Shape]:
    shaped = import_tf(graph, config.output_nodes, config.shapes)
    return {node.name: node.shape for node in shaped.nodes}


def mean_to_average_pool(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Mean over height and width with kept dims becomes AvgPool over the whole map."""
    means = [node for node in graph.nodes if node.op == "Mean" and node.get("keep_dims", False)]
    if not config.simulate_dpu or not means:
        return graph
    shapes = _map_shapes(graph, config)
    replaced = {}
    for node in means:
        x = shapes.get(node.operands[0])
        axes = graph.node(node.operands[1])
        if x is not None and axes.op == "Const" and sorted(axes.tensor().reshape(-1).tolist()) == [1, 2]:
            replaced[node.name] = new_node(
                node.name, "AvgPool", node.inputs[:1], T=FLOAT, data_format=b"NHWC", padding=b"VALID",
                ksize=[1, x[1], x[2], 1], strides=[1, 1, 1, 1])
    return graph.replace(replaced.get(node.name, node) for node in graph.nodes)


def _is_scaled(kernel: tuple[int, int], config: QuantizeConfig) -> bool:
    if config.scale_all_avgpool:
        return max(kernel) <= 256
    return kernel in _EARLY_KERNELS


def scale_average_pools(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Each AvgPool gets ``<pool>/mul`` by the DPU's factor; its readers move to the Mul."""
    if not config.simulate_dpu:
        return graph
    nodes: list[TFNode] = []
    rename: dict[str, str] = {}
    for node in graph.nodes:
        nodes.append(node)
        ksize = node.get("ksize", (1, 1, 1, 1)) if node.op == "AvgPool" else (1, 1, 1, 1)
        kernel = (int(ksize[1]), int(ksize[2]))
        if node.op != "AvgPool" or not _is_scaled(kernel, config):
            continue
        n, m = average_factor(kernel)
        value = np.array(kernel[0] * kernel[1] * n / 2.0**m, np.float32)
        rename[node.name] = f"{node.name}/mul"
        nodes.append(const_node(f"{node.name}/scale_value", value))
        nodes.append(new_node(f"{node.name}/mul", "Mul", (node.name, f"{node.name}/scale_value"), T=FLOAT))
    made = set(rename.values())
    return graph.replace(node if node.name in made else rewire((node,), rename)[0] for node in nodes)


def _leaky_constant(graph: TFGraph, name: str) -> bool:
    """Whether a constant is the slope of Maximum(Mul(slope, x), x) or of the Keras form."""
    return any(
        reader.op == "Mul" and any(graph.node(user).op in ("Maximum", "Sub") for user in graph.users[reader.name])
        for reader in map(graph.node, graph.users[name])
    )


def set_leaky_slope(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """A leaky slope within 1e-5 of 0.1 becomes the DPU's 26/256."""
    if not config.simulate_dpu:
        return graph
    slope = LEAKY_FACTOR / (1 << LEAKY_SHIFT)
    nodes = []
    for node in graph.nodes:
        if node.op == "LeakyRelu" and abs(node.get("alpha", 0.2) - 0.1) < _LEAKY_TOLERANCE:
            node = node.with_attrs(alpha=float(slope))
        elif node.op == "Const" and _leaky_constant(graph, node.name) and node.tensor().size == 1:
            value = node.tensor()
            if abs(float(value.reshape(-1)[0]) - 0.1) < _LEAKY_TOLERANCE:
                node = const_node(node.name, np.full(value.shape, slope, value.dtype))
        nodes.append(node)
    return graph.replace(nodes)
