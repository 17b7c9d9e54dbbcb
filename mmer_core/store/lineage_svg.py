"""A lineage graph as an SVG, for viewers without Mermaid or Graphviz."""

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from itertools import pairwise
from statistics import fmean
from typing import Any
from xml.sax.saxutils import escape

from mmer_core.escaping import one_line

_WIDTH, _HEIGHT, _GAP, _ROW = 152, 46, 32, 60  # pixels: a box, the gap between columns, the height of a row
_MARGIN = 12
_SWEEPS = 8

Edge = tuple[str, str]
"""(input, output)"""
Node = Any  # the name of a box, or (input, output, column) where an arrow passes through a column
Point = tuple[float, float]


def lineage_svg(labels: Mapping[str, tuple[str, str]], edges: Iterable[Edge]) -> str:
    """An SVG with a box of two lines per node, in columns from the first inputs to the last output.

    Arrows implied by a longer path are omitted: a report shows its model, but not the model's own inputs again.
    The picture has a white background, so it is readable on dark pages.

    Args:
        labels: The two lines of each node.
        edges: Acyclic edges between nodes.
    """
    before = {node: {source for source, made in edges if made == node} for node in labels}
    reach = _ancestors(before)
    direct = [
        (source, made)
        for made, sources in before.items()
        for source in sources
        if not any(source in reach[other] for other in sources)
    ]
    column = _columns(before)
    routes = [_route(edge, column) for edge in sorted(direct)]
    everywhere = column | {stop: stop[2] for _, *stops, _ in routes for stop in stops}
    row = _rows(everywhere, routes)
    corner = {node: _corner((at, row[node])) for node, at in everywhere.items()}
    width = 2 * _MARGIN + (1 + max(column.values())) * (_WIDTH + _GAP) - _GAP
    height = 2 * _MARGIN + max(row.values()) * _ROW + _HEIGHT
    shapes = [_line([corner[stop] for stop in route]) for route in routes]
    shapes += [_box(corner[node], *label) for node, label in labels.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" width="{width}" height="{height:g}" '
        'font-family="system-ui, sans-serif" font-size="13">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>'
        f'<rect width="100%" height="100%" rx="8" fill="#fff"/>{"".join(shapes)}</svg>'
    )


def _ancestors(before: Mapping[str, set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in TopologicalSorter(before).static_order():
        found[node] = before[node].union(*(found[source] for source in before[node]))
    return found


def _columns(before: Mapping[str, set[str]]) -> dict[Node, int]:
    """The column of each node, after the columns of all its inputs."""
    column: dict[Node, int] = {}
    for node in TopologicalSorter(before).static_order():
        column[node] = 1 + max((column[source] for source in before[node]), default=-1)
    return column


def _route(edge: Edge, column: Mapping[Node, int]) -> list[Node]:
    """Both ends, and a waypoint in every column between them, so that the arrow avoids other boxes."""
    source, made = edge
    return [source, *((source, made, at) for at in range(column[source] + 1, column[made])), made]


def _rows(column: Mapping[Node, int], routes: list[list[Node]]) -> dict[Node, float]:
    """A row for every node and waypoint, close to its neighbours."""
    members: dict[int, list[Node]] = {}
    for node, at in column.items():
        members.setdefault(at, []).append(node)
    joined: dict[Node, list[Node]] = {node: [] for node in column}
    for route in routes:
        for one, other in pairwise(route):
            joined[one].append(other)
            joined[other].append(one)
    row = {node: float(index) for nodes in members.values() for index, node in enumerate(nodes)}
    tallest = max(map(len, members.values()))
    for sweep in range(_SWEEPS):
        for at in sorted(members, reverse=bool(sweep % 2)):
            nodes = members[at]
            nodes.sort(key=lambda node: fmean([row[other] for other in joined[node]] or [row[node]]))
            top = (tallest - len(nodes)) / 2
            row |= {node: top + index for index, node in enumerate(nodes)}
    return row


def _box(corner: Point, title: str, note: str) -> str:
    x, y = corner
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#eef2ff" stroke="#6366f1"/>'
        f'<text x="{x + 8:g}" y="{y + 19:g}" font-weight="600" fill="#1e1b4b">{escape(one_line(title))}</text>'
        f'<text x="{x + 8:g}" y="{y + 36:g}" font-size="12" fill="#475569">{escape(one_line(note))}</text>'
    )


def _line(corners: list[Point]) -> str:
    """From the right side of the first box through the waypoints to the left side of the last."""
    middle = _HEIGHT / 2
    (x, y), *rest = corners
    way = f"M{x + _WIDTH:g} {y + middle:g}"
    at = (x + _WIDTH, y + middle)
    for place, (x, y) in enumerate(rest):
        way += _bend(at, (x, y + middle))
        if place < len(rest) - 1:
            way += f"H{x + _WIDTH:g}"
            at = (x + _WIDTH, y + middle)
    return f'<path d="{way}" fill="none" stroke="#94a3b8" marker-end="url(#tip)"/>'


def _bend(start: Point, end: Point) -> str:
    half = (start[0] + end[0]) / 2
    return f"C{half:g} {start[1]:g} {half:g} {end[1]:g} {end[0]:g} {end[1]:g}"


def _corner(place: tuple[int, float]) -> Point:
    """The upper left corner of a box, in pixels."""
    column, row = place
    return _MARGIN + column * (_WIDTH + _GAP), _MARGIN + row * _ROW
