"""bias_add(conv(x, w), b) -> conv(x, w, b), under the bias addition's name.

    c = conv2d(x, w)
    y = bias_add(c, b)    ->    y = conv2d(x, w, b)
"""

from __future__ import annotations

from dpuflow.ir.graph import Graph, Node, rebuild

COMPUTE = ("conv2d", "depthwise_conv2d", "dense", "transposed_conv2d")


def only_reader(graph: Graph, name: str) -> Node | None:
    """The one node that reads ``name``, or None if there are more, fewer, or it is an output."""
    users = graph.users[name]
    return graph.by_name[users[0]] if len(users) == 1 and name not in graph.outputs else None


def fuse_bias(graph: Graph) -> Graph:
    """Give each convolution or dense layer the bias that alone follows it."""
    replaced: dict[str, Node | None] = {}
    for node in graph.nodes:
        if node.op != "bias_add":
            continue
        compute, bias = graph.operands(node)
        if (compute.op in COMPUTE and len(compute.inputs) == 2 and bias.op == "const"
                and only_reader(graph, compute.name)):
            replaced[compute.name] = None
            replaced[node.name] = compute.replace(
                name=node.name, inputs=(*compute.inputs, bias.name), label=compute.layer)
    return rebuild(graph, replaced, {})
