"""A graph as SVG: one box a layer, coloured by device, edges as curves."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from dpuflow.describe.description import Description, Layer, fact_text
from dpuflow.describe.layout import Layout, layered

_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 230, 46, 26, 40, 16
_LONGEST = 31  # characters that fit a box


def _short(text: str) -> str:
    """A name's end says more than its beginning."""
    return text if len(text) <= _LONGEST else "…" + text[-(_LONGEST - 1):]


def _second_line(layer: Layer) -> str:
    size = "x".join(map(str, layer.shape[1:])) or "scalar"
    position = f" @{layer.fix_point}" if layer.fix_point is not None else ""
    return f"{layer.op} {size}{position}"


def _hover(layer: Layer) -> str:
    notes = [f"{key}: {fact_text(value)}" for key, value in layer.notes.items()]
    facts = [layer.name, _second_line(layer), layer.device and f"device: {layer.device}",
             layer.parameters and f"parameters: {layer.parameters}", *notes]
    return "\n".join(str(fact) for fact in facts if fact)


def _positions(layout: Layout) -> dict[str, tuple[float, float]]:
    """The middle of every box; each layer is centred, invisible nodes are narrow."""
    widths = [[_GAP_X if name.startswith("\0") else _BOX_WIDTH for name in layer] for layer in layout.layers]
    widest = max((sum(row) + _GAP_X * (len(row) - 1) for row in widths), default=0)
    places: dict[str, tuple[float, float]] = {}
    for depth, (layer, row) in enumerate(zip(layout.layers, widths, strict=True)):
        x = _MARGIN + (widest - sum(row) - _GAP_X * (len(row) - 1)) / 2
        y = _MARGIN + depth * (_BOX_HEIGHT + _GAP_Y) + _BOX_HEIGHT / 2
        for name, width in zip(layer, row, strict=True):
            places[name] = (x + width / 2, y)
            x += width + _GAP_X
    return places


def _edge(points: list[tuple[float, float]]) -> str:
    (x, y), half = points[0], _BOX_HEIGHT / 2
    path = [f"M{x:.0f},{y + half:.0f}"]
    y += half
    for at, (to_x, to_y) in enumerate(points[1:], 2):
        end = to_y - half if at == len(points) else to_y
        middle = (y + end) / 2
        path.append(f"C{x:.0f},{middle:.0f} {to_x:.0f},{middle:.0f} {to_x:.0f},{end:.0f}")
        x, y = to_x, end
    return f'<path d="{" ".join(path)}"/>'


def _box(layer: Layer, place: tuple[float, float]) -> str:
    x, y = place[0] - _BOX_WIDTH / 2, place[1] - _BOX_HEIGHT / 2
    device = (layer.device or ("fixed" if layer.fix_point is not None else "float")).lower()
    return (f'<g class="node {escape(device)}"><title>{escape(_hover(layer))}</title>'
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>'
            f'<text x="{place[0]:.0f}" y="{y + 19:.0f}" class="name">{escape(_short(layer.name))}</text>'
            f'<text x="{place[0]:.0f}" y="{y + 36:.0f}">{escape(_short(_second_line(layer)))}</text></g>')


def draw(description: Description) -> str:
    """The description's layers as an SVG element."""
    layers: Mapping[str, Layer] = {layer.name: layer for layer in description.layers}
    layout = layered({name: layer.inputs for name, layer in layers.items()})
    places = _positions(layout)
    width = max((x for x, _ in places.values()), default=0) + _BOX_WIDTH / 2 + _MARGIN
    height = len(layout.layers) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _MARGIN
    edges = [_edge([places[source], *(places[name] for name in route), places[reader]])
             for (source, reader), route in layout.routes.items()]
    boxes = [_box(layer, places[name]) for name, layer in layers.items()]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img" aria-label="the network, drawn">'
            f'<g class="edges">{"".join(edges)}</g>{"".join(boxes)}</svg>')
