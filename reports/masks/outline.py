"""The outline of a mask as an SVG path: a few dozen points, sharp at every size, where a picture takes kilobytes."""

from __future__ import annotations

from collections.abc import Callable

import contourpy
import numpy as np

UNITS = 2
"""Units of a path for a pixel of the drawing: an outline goes through the middles of pixels' edges."""

TOLERANCE = 0.75
"""How far an outline may lie from that of the pixels, in pixels of the drawing."""

MOST_CHARACTERS = 3000
"""The longest path. Noise, as are an untrained model's masks, is drawn in larger pixels until its path is shorter."""

MOST_EDGES = 12_000
"""More edges between pixels, along one direction, are not followed: they are of noise."""

COARSEST = 32
"""The largest pixels in which a mask is drawn, in pixels of the drawing."""


def outline(at: Callable[[int, int], np.ndarray], height: int, width: int) -> tuple[str, bool]:
    """Give the outline of a mask as the ``d`` of an SVG path, filled by ``evenodd``, and whether it is coarse.

    Coordinates are :data:`UNITS` to a pixel of the drawing. "" stands for a mask without pixels.

    Args:
        at: gives the mask at a height and a width, bool (H, W)
        height, width: of the drawing in pixels
    """
    larger, path = 1, ""
    while larger <= COARSEST:
        rows, columns = max(1, height // larger), max(1, width // larger)
        mask = at(rows, columns)
        if np.count_nonzero(mask[1:] != mask[:-1]) <= MOST_EDGES:
            path = _path(mask, height / rows, width / columns)
            if len(path) <= MOST_CHARACTERS:
                return path, larger > 1
        larger *= 2
    return _bounds(path, mask, height / rows, width / columns), True


def _bounds(path: str, mask: np.ndarray, down: float, across: float) -> str:
    """The path of the box around a mask whose own is too long."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.zeros_like(mask)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return _path(box, down, across) if path or len(rows) else ""


def _path(mask: np.ndarray, down: float, across: float) -> str:
    """The path of a mask whose pixels are ``down`` x ``across`` pixels of the drawing."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return ""
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A pixel is a point of the grid, and the outline goes halfway between one inside and one outside.
    lines = contourpy.contour_generator(z=np.pad(part, 1).astype(np.float64)).lines(0.5)
    origin = np.array([columns[0] - 0.5, rows[0] - 0.5])
    words: list[str] = []
    here = np.zeros(2, np.int64)
    for line in lines:
        every = np.asarray(line)[:-1] + origin
        few = simplified(_corners(every), TOLERANCE)
        # A mask that is thinner than the tolerance would be a line, and not be seen.
        points = few if len(few) > 2 else every
        whole = np.rint(points * (across * UNITS, down * UNITS)).astype(np.int64)
        steps = np.diff(whole, axis=0, prepend=here[None])
        words.append(_subpath(steps))
        here = whole[0]  # to which z goes back
    return "".join(words)


def _corners(points: np.ndarray) -> np.ndarray:
    """The points of a closed line, float (N, 2), at which it turns: most of a line along pixels' edges does not."""
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _subpath(steps: np.ndarray) -> str:
    """A closed part of a path; a number needs no space before its minus."""
    return f"m{' '.join(map(str, steps.ravel().tolist()))}z".replace(" -", "-")


def simplified(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Leave out points of a closed line, float (N, 2), that lie within a tolerance of what is left (Douglas and Peucker
    1973); the last point is not the first one again."""
    ring = np.concatenate([points, points[:1]])
    keep = np.zeros(len(ring), bool)
    far = int(np.abs(ring - ring[0]).sum(1).argmax())
    keep[[0, far]] = True
    parts = [(0, far), (far, len(ring) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        along, between = ring[last] - ring[first], ring[first + 1 : last] - ring[first]
        length = float(np.hypot(*along))
        away = np.abs(between[:, 0] * along[1] - between[:, 1] * along[0]) / length if length else np.hypot(*between.T)
        place = int(away.argmax())
        if away[place] > tolerance:
            keep[middle := first + 1 + place] = True
            parts += [(first, middle), (middle, last)]
    return ring[:-1][keep[:-1]]
