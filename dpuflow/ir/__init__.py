"""The network as data: immutable graphs of typed nodes, their text form and their verification."""

from dpuflow.ir.graph import Array, Fix, Graph, Node, Shape

__all__ = ["Array", "Fix", "Graph", "Node", "Shape"]
