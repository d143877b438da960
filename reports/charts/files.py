"""Charts as files: SVG, PDF and PNG of one specification."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vl_convert
from PIL import Image

from reports.charts.labels import place_labels
from reports.charts.look import Look, Spec

WIDTH = 900
"""Width of a chart's axes in a picture, in pixels of CSS."""

SCALE, SCALE_OF_MANY = 1.6, 1.1
"""Pixels of a PNG for each of CSS; the second where more than :data:`MANY` rows stand one below the other."""

MANY = 30

ENDINGS = (".png", ".pdf", ".svg")


def write(spec: Spec, path: Path, rows: int = 0) -> None:
    """Write a chart of Vega-Lite, or of Vega, as a PNG to ``path``, and beside it as PDF and SVG; fetch nothing.

    rows: how many stand one below the other, in a chart that has a line for each
    """
    vega = spec if "marks" in spec else compiled(spec)
    svg = vl_convert.vega_to_svg(vega, allowed_base_urls=[])
    path.with_suffix(".svg").write_text(svg, encoding="utf-8")
    path.with_suffix(".pdf").write_bytes(vl_convert.svg_to_pdf(svg))
    with Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=SCALE_OF_MANY if rows > MANY else SCALE))) as image:
        image.convert("RGB").save(path, optimize=False, compress_level=3)  # a third of what was given


def compiled(spec: Spec) -> Spec:
    """Give the specification of Vega that Vega-Lite's compiler makes of one."""
    vega: Spec = vl_convert.vegalite_to_vega(spec)
    return vega


def with_names(vega: Spec, look: Look, most: int) -> Spec:
    """Give a trade-off with names beside its points: of more than ``most`` points beside those on the front."""
    scene = vl_convert.vega_to_scenegraph(vega, allowed_base_urls=[])["scenegraph"]
    points, front = _items(scene, "dots_marks"), _items(scene, "front_marks")
    places = [(item["x"], item["y"]) for item in points]
    names = [str(value["name"]) for value in _values(vega)]
    on_front = [places.index((item["x"], item["y"])) for item in front]
    named = list(range(len(places))) if len(places) <= most else on_front
    frame = (float(vega["width"]), float(vega["height"]))
    marks = []
    for label in place_labels(places, names, on_front, named, frame):
        if label.leader:
            (x, y), (x2, y2) = places[label.point], label.leader
            ends = {key: {"value": value} for key, value in (("x", x), ("y", y), ("x2", x2), ("y2", y2))}
            marks.append(_mark("rule", **ends, stroke={"value": look.quiet}, strokeOpacity={"value": 0.5}))
        bold = "bold" if label.point in on_front else "normal"
        shown: dict[str, Any] = {"text": names[label.point], "fill": look.ink, "fontSize": 11, "fontWeight": bold}
        at = {"x": label.x, "y": label.y, "baseline": "middle", "align": "left"}
        marks.append(_mark("text", **{key: {"value": value} for key, value in (shown | at).items()}))
    return vega | {"marks": [*vega["marks"], *marks]}


def _mark(kind: str, **encode: Any) -> Spec:
    return {"type": kind, "encode": {"enter": encode}}


def _values(vega: Spec) -> list[dict[str, Any]]:
    [shown] = [data for data in vega["data"] if data["name"] == "shown"]
    values: list[dict[str, Any]] = shown["values"]
    return values


def _items(node: Any, name: str) -> list[dict[str, Any]]:
    """Give the items of the mark of this name, in the order of their data."""
    return next((mark["items"] for mark in _marks(node) if mark.get("name") == name), [])


def _marks(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "marktype" in node:
            yield node
        for item in node.get("items", ()):
            yield from _marks(item)
