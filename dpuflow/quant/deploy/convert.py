"""Groups become the operators that the compiler knows (quantizer specification, section 8, step 4).

A compute node carries its parameters; bias additions disappear; nonlinearities stay.
"""

from __future__ import annotations

import warnings
from types import MappingProxyType

from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode, rewire
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.known_patterns import Match, find_groups, nodes_to_ignore

Nodes = tuple[TFNode, ...]


def copy_attr(source: TFNode, key: str, target: TFNode, name: str) -> TFNode:
    """``target`` with an attribute of ``source``, byte for byte; QuantizeError if it is missing."""
    if key not in source.attrs:
        raise QuantizeError(f"[DEPLOY ERROR] Cannot find quantize info for {name}: {source.name}",
                            where=f"node '{target.name}' ({target.op})", expected=f"the attribute '{key}'",
                            remedy="quantize the graph again, or name the layer in --ignore_nodes")
    return target.replace(attrs=MappingProxyType({**target.attrs, name: source.attrs[key]}))


class Converter:
    """The nodes that take the place of one group."""

    def __init__(self, graph: TFGraph, match: Match, ignored: bool) -> None:
        self.graph, self.match, self.roles, self.ignored = graph, match, match.roles, ignored
        self.rename: dict[str, str] = {}

    def node(self, role: str) -> TFNode:
        return self.graph.node(self.roles[role])

    def mark(self, node: TFNode) -> TFNode:
        """An ignored group says so."""
        return node.with_attrs(quantize_ignored=True) if self.ignored else node

    def copy_position(self, role: str, key: str, target: TFNode, name: str) -> TFNode:
        return target if self.ignored else copy_attr(self.node(role), key, target, name)

    def parameter(self, role: str, target: TFNode, name: str, position: str) -> TFNode:
        """A constant operand as an attribute, with its position."""
        source = self.node(role)
        if source.op != "Const":
            raise QuantizeError(f"[DEPLOY ERROR] Expect const node for {name}, but {source.op}({source.name}) found.",
                                where=f"node '{target.name}' ({target.op})", remedy="freeze the model")
        return self.copy_position(role, "wpos", copy_attr(source, "value", target, name), position)

    def last_position(self, target: TFNode) -> TFNode:
        """The group's output position, on the node that computes."""
        last = self.graph.node(self.match.last)
        return target if self.ignored else copy_attr(last, "opos", target, "opos")

    def compute(self) -> Nodes:
        """Convolution, transposed or dilated convolution, dense layer."""
        node = self.node("compute")
        made = node.replace(inputs=(self.roles["input"],), op="Deconv2d" if "shape" in self.roles else node.op)
        if "atrous" in self.roles:
            made = self.dilated(made)
        made = self.parameter("weights", made, "weights", "wpos")
        if "biases" in self.roles:
            made = self.parameter("biases", made, "bias", "bpos")
        made = self.mark(self.last_position(made))
        for role in ("atrous", "bias", "identity"):
            if role in self.roles:
                self.rename[self.roles[role]] = node.name
        return (made, *self.nonlinear(made))

    def dilated(self, conv: TFNode) -> TFNode:
        """The block becomes the dilation; SAME stays SAME (the vendor's tool loses SpaceToBatchND's padding)."""
        block = [int(size) for size in self.node("block").tensor().reshape(-1)]
        old = list(conv.get("dilations", (1, 1, 1, 1)))
        made = conv.with_attrs(dilations=[old[0], *block[:2], old[3]])
        pads, crops = (self.node(role).tensor().reshape(-1).tolist() for role in ("paddings", "crops"))
        kept = [pad - crop for pad, crop in zip(pads, crops, strict=True)]
        reach = [(size - 1) * step for size, step in zip(self.node("weights").tensor().shape, block, strict=False)]
        same = [part for total in reach for part in (total // 2, total - total // 2)]
        return made.with_attrs(padding=b"SAME") if kept == same else made

    def nonlinear(self, under: TFNode) -> Nodes:
        """The relu or leaky relu behind a compute node."""
        if "relu" in self.roles:
            return (self.mark(self.node("relu").replace(inputs=(under.name,))),)
        return (self.leaky(under.name),) if "leaky" in self.roles else ()

    def leaky(self, operand: str) -> TFNode:
        made = self.node("leaky").replace(op="LeakyReLU", inputs=(operand,))
        if "alpha" in self.roles:
            made = self.parameter("alpha", made, "alpha", "wpos")
        return self.mark(made)

    def lone_leaky(self) -> Nodes:
        return (self.leaky(self.roles["input"]),)

    def batch_norm(self) -> Nodes:
        """A normalisation that could not be folded: a Scale, and its relu."""
        made = self.node("add").replace(op="Scale", inputs=(self.roles["input"],)).with_attrs(T=FLOAT)
        made = self.parameter("offset", self.parameter("scale", made, "weights", "wpos"), "bias", "bpos")
        warnings.warn(f"[DECENT_WARNING] Batchnorm Node ({self.roles['add']} + {self.roles['mul']}) is not folded. It "
                      f"will be converted to a Scale node ({made.name}) to deploy on DPU. This may cause accuracy "
                      "decrease and error for DPU compiler.", stacklevel=4)
        made = self.mark(self.last_position(made))
        return (made, *(relu.with_attrs(drop=("quantize_ignored",)) for relu in self.nonlinear(made)))

    def upsampling(self) -> Nodes:
        """Resizing by factors or to a size."""
        node = self.node("resize")
        if self.match.kind == "tpu_nearest_neighbor_upsampling":
            ones = self.node("ones").tensor().shape
            sizes = {"scale_h": ones[2], "scale_w": ones[4]}
        else:
            source, key = (self.node("factor"), "scale") if "factor" in self.roles else (self.node("size"), "size")
            if source.op != "Const":
                raise QuantizeError(f"[DEPLOY ERROR] Expect const node for size, but {source.op}({source.name}) found.",
                                    where=f"node '{node.name}' ({node.op})", remedy="give the size as a constant")
            height, width = (int(size) for size in source.tensor().reshape(-1)[:2])
            sizes = {f"{key}_h": height, f"{key}_w": width}
        kind = "Bilinear" if node.op == "ResizeBilinear" else "Nearest"
        made = node.replace(op="DeephiResize", inputs=(self.roles["input"],))
        return (self.mark(made.with_attrs(**sizes, resize_type=kind)),)

    def pool(self) -> Nodes:
        """The pool keeps its name and takes the product's position."""
        node = self.node("avgpool")
        self.rename[self.match.last] = node.name
        return (self.mark(self.last_position(node)),)

    def other(self) -> Nodes:
        """One node as it is, under its old name, and its relu."""
        node = self.node("array" if "array" in self.roles else "other")
        made = node.replace(op="Add") if node.op == "AddV2" else node
        if "relu" not in self.roles:
            return (self.mark(made),)
        return (self.mark(self.last_position(made)), self.mark(self.node("relu")))

    def placeholder(self) -> Nodes:
        """The batch becomes 1 where it is open."""
        node = self.node("placeholder")
        shape = node.get("shape", TShape(None))
        if shape.dims:
            node = node.with_attrs(shape=TShape((1 if shape.dims[0] < 0 else shape.dims[0], *shape.dims[1:])))
        return (self.mark(node),)

    def convert(self) -> Nodes:
        """The group's nodes in their order."""
        if self.match.is_compute:
            return self.compute()
        roles = (("leaky", self.lone_leaky), ("scale", self.batch_norm), ("resize", self.upsampling),
                 ("avgpool", self.pool), ("placeholder", self.placeholder))
        return next((make for role, make in roles if role in self.roles), self.other)()


def convert_groups(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Replace every group where its first node stands; other nodes stay."""
    group_of: dict[str, Match] = {}
    for match in find_groups(graph):
        group_of.update(dict.fromkeys(match.claimed, match))
    ignored = nodes_to_ignore(graph, config.ignore_nodes)
    done: set[str] = set()
    nodes: list[TFNode] = []
    rename: dict[str, str] = {}
    for node in graph.nodes:
        if node.name in done:
            continue
        group = group_of.get(node.name)
        if group is None:
            nodes.append(node)
            continue
        converter = Converter(graph, group, bool(ignored.intersection(group.claimed)))
        nodes.extend(converter.convert())
        rename.update(converter.rename)
        done.update(group.claimed)
    return graph.replace(rewire(nodes, rename))


