"""Drawing a graph: every edge goes down, nodes of a layer do not overlap, orders that avoid crossings."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dpuflow.describe.description import Description, Layer
from dpuflow.describe.drawing import draw
from dpuflow.describe.layout import layered


def graphs():
    """{node: operands} with operands among the nodes before it."""
    return st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=14).map(
        lambda rows: {f"n{at}": tuple(f"n{pick % at}" for pick in picks) if at else ()
                      for at, picks in enumerate(rows)})


@given(graphs())
def test_every_edge_leads_one_layer_down(edges):
    layout = layered(edges)
    depth = {name: at for at, layer in enumerate(layout.layers) for name in layer}
    assert {name for name in depth if not name.startswith("\0")} == set(edges)
    for name, operands in edges.items():
        for operand in set(operands):
            path = [operand, *layout.routes[operand, name], name]
            assert [depth[step] for step in path] == list(range(depth[operand], depth[name] + 1))


def test_two_chains_do_not_cross():
    """Listed crosswise, drawn side by side."""
    layout = layered({"a": (), "b": (), "d": ("b",), "c": ("a",), "f": ("d",), "e": ("c",)})
    first = [layer[0] for layer in layout.layers]
    assert first in (["a", "c", "e"], ["b", "d", "f"])


def test_operands_that_are_not_there_are_not_drawn():
    assert layered({"a": ("absent",)}).layers == (("a",),)
    assert layered({}).layers == ()


def description(*layers: Layer) -> Description:
    return Description("f.pb", "a kind", "0" * 64, 1, True, 0, layers=layers)


def test_the_drawing_holds_every_layer_once():
    svg = draw(description(Layer("a<b", "input", shape=(1, 4, 4, 2), fix_point=3), Layer("y", "add", ("a<b", "a<b"))))
    assert svg.count("<rect") == 2
    assert svg.count("<path") == 1
    assert "a&lt;b" in svg
    assert "a<b" not in svg
    boxes = [tuple(map(float, match)) for match in re.findall(r'<rect x="(\S+)" y="(\S+)"', svg)]
    assert boxes[0][1] < boxes[1][1]


def test_an_empty_drawing():
    assert draw(description()).startswith("<svg")
