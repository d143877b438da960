"""Placing the names of points so that they cover neither one another nor the points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DIRECTIONS = ((1, 0), (-1, 0), (0.6, 1), (-0.6, 1), (0.6, -1), (-0.6, -1), (0, 1), (0, -1))
_RADII = (8, 14, 22, 32, 44, 58, 74)
_POINT_RADIUS = 7
_HEIGHT = 13.0
_PER_CHARACTER = 5.9
"""Width of a character of a name in pixels, at 11 pixels of size: what a name in bold takes on average."""


@dataclass(frozen=True)
class Label:
    """The place of a name: the left end and the middle of its line, and where a line from its point ends if it is far.

    All in pixels, of which y grows downwards.
    """

    point: int
    x: float
    y: float
    leader: tuple[float, float] | None


def place_labels(
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    front: Sequence[int],
    named: Sequence[int],
    frame: tuple[float, float],
) -> list[Label]:
    """Give the name of each point of ``named`` the nearest place that is free and inside the frame.

    points: in pixels
    front: the points that a line of the chart joins, in its order; no name covers that line, and theirs come first
    frame: width and height of the chart
    """
    pixels = np.asarray(points, dtype=float).reshape(-1, 2)
    line = _small_boxes(_along(pixels[list(front)], 6), 3)
    taken = np.concatenate([_small_boxes(pixels, _POINT_RADIUS), line])
    inside = np.array([[0.0, 0.0, *frame]])
    labels = []
    for index in sorted(named, key=lambda i: (i not in front, i)):
        size = np.array([_PER_CHARACTER * len(names[index]), _HEIGHT])
        offset = _free_offset(pixels[index], size, np.delete(taken, index, axis=0), inside)
        corner = pixels[index] + offset
        taken = np.concatenate([taken, np.concatenate([corner, corner + size])[None]])
        nearest = np.clip(np.zeros(2), offset, offset + size)
        end = pixels[index] + nearest
        leader = (float(end[0]), float(end[1])) if np.hypot(*nearest) > 14 else None
        labels.append(Label(index, float(corner[0]), float(corner[1] + size[1] / 2), leader))
    return labels


def _free_offset(at: np.ndarray, size: np.ndarray, taken: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Give the way from a point to the upper left corner of its name; the least bad one where none is free.

    taken: boxes that the name must not cover, (N, 4): left, top, right and bottom; frame: that of the chart, (1, 4)
    """
    best, best_cost = np.zeros(2), np.inf
    for radius in _RADII:
        for dx, dy in _DIRECTIONS:
            offset = np.array([dx, dy]) * radius + (np.sign([dx, dy]) - 1) * size / 2
            box = np.concatenate([at + offset, at + offset + size])
            cost = _overlap(box, taken) + 4 * (float(size.prod()) - _overlap(box, frame))
            if cost < 1e-6:
                return offset
            if cost < best_cost:
                best, best_cost = offset, cost
    return best


def _small_boxes(at: np.ndarray, radius: float) -> np.ndarray:
    return np.concatenate([at - radius, at + radius], axis=1)


def _along(corners: np.ndarray, step: float) -> np.ndarray:
    """Points on the line through the corners, (N, 2), that lie at most ``step`` apart."""
    points = [np.empty((0, 2))]
    for start, end in itertools.pairwise(corners):
        count = int(np.hypot(*(end - start)) / step) + 2
        points.append(np.linspace(start, end, count))
    return np.concatenate(points)


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """The area that a box shares with others, summed over them."""
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(shared.clip(min=0).prod(axis=1).sum())
