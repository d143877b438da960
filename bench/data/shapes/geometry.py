"""The outlines and masks of the generated demo dataset's shapes."""

from __future__ import annotations

import math

import numpy as np

from bench.data.coco_json import mask_library

RING_HOLE = 0.55
"""Radius of a ring's hole over its outer radius."""

STAR_INNER = 0.45
"""Radius of a star's notches over that of its tips."""

BAR_WIDTH = 0.12
"""Width of a bar over its length."""

RADIUS_OF_UNIT_AREA = {
    "circle": 1 / math.sqrt(math.pi),
    "square": 1 / math.sqrt(2),
    "triangle": 1 / math.sqrt(3 * math.sqrt(3) / 4),
    "star": 1 / math.sqrt(5 * STAR_INNER * math.sin(math.pi / 5)),
    "ring": 1 / math.sqrt(math.pi * (1 - RING_HOLE**2)),
    "bar": math.sqrt(1 + BAR_WIDTH**2) / (2 * math.sqrt(BAR_WIDTH)),
}
"""The radius of the circumscribed circle of each shape that has an area of 1."""


def outline(shape: str, x: float, y: float, radius: float, rotation: float) -> list[float]:
    """Return the outer outline [x1, y1, x2, y2, ...] of a shape in a circle of ``radius`` pixels around (x, y)."""
    if shape in ("circle", "ring"):
        corners = [(1.0, 2 * math.pi * k / 48) for k in range(48)]
    elif shape == "bar":
        half = math.atan(BAR_WIDTH)
        corners = [(1.0, angle) for angle in (half, math.pi - half, math.pi + half, -half)]
    elif shape == "star":
        corners = [(1.0 if k % 2 == 0 else STAR_INNER, math.pi * k / 5) for k in range(10)]
    else:
        sides = {"triangle": 3, "square": 4}[shape]
        corners = [(1.0, 2 * math.pi * k / sides) for k in range(sides)]
    # Rounded, so that a cosine that differs in its last bit between machines moves no pixel.
    return [
        round(value, 2)
        for scale, angle in corners
        for value in (
            x + scale * radius * math.cos(angle + rotation),
            y + scale * radius * math.sin(angle + rotation),
        )
    ]


def rasterise(polygon: list[float], height: int, width: int) -> np.ndarray:
    """Fill a polygon, bool (height, width), by COCO's own rule: evaluators make exactly this mask of the polygon."""
    library = mask_library()
    return library.decode(library.frPyObjects([polygon], height, width)[0]).astype(bool)


def shape_mask(shape: str, x: float, y: float, radius: float, rotation: float, height: int, width: int) -> np.ndarray:
    """Return the mask of one whole shape, bool (height, width); a ring has its hole."""
    mask = rasterise(outline(shape, x, y, radius, rotation), height, width)
    if shape == "ring":
        mask &= ~rasterise(outline("circle", x, y, RING_HOLE * radius, 0.0), height, width)
    return mask
