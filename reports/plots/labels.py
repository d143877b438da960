"""Placing the labels of a scatter plot so that they cover neither one another nor the points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

_DIRECTIONS = ((1, 0), (-1, 0), (0.6, 1), (-0.6, 1), (0.6, -1), (-0.6, -1), (0, 1), (0, -1))
_RADII = (8, 14, 22, 32, 44, 58, 74)
_POINT_RADIUS = 6


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    front: Sequence[int],
    named: Sequence[int] | None = None,
) -> None:
    """Write a name beside each point, or each of ``named``, at the nearest place that is free and inside the axes.

    A name that stands far from its point gets a thin line to it.

    front: indices of the points that a line of the plot joins, in its order; their names are written in bold, and no
        name covers that line
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.canvas.draw()
    # The layout engine would move the axes again after the places are found.
    figure.set_layout_engine("none")
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    scale = figure.dpi / 72
    pixels = axes.transData.transform(np.asarray(points, dtype=float))
    line = _small_boxes(_along(pixels[list(front)], 6 * scale), 3 * scale)
    taken = np.concatenate([_small_boxes(pixels, _POINT_RADIUS * scale), line])
    frame = np.array([axes.get_window_extent(renderer).extents])
    for index in sorted(range(len(points)) if named is None else named, key=lambda i: (i not in front, i)):
        weight = "bold" if index in front else "normal"
        text = axes.annotate(
            names[index], points[index], (0, 0), textcoords="offset points", fontsize=8.5, fontweight=weight
        )
        extent = text.get_window_extent(renderer)
        others = np.delete(taken, index, axis=0)
        offset = _free_offset(pixels[index], extent.width, extent.height, scale, others, frame)
        text.set_position((offset[0] / scale, offset[1] / scale))
        box = _label_box(pixels[index] + offset, extent.width, extent.height)
        taken = np.concatenate([taken, box[None]])
        distance = np.hypot(*_nearest_corner(offset, extent.width, extent.height)) / scale
        if distance > 12:
            _leader(axes, pixels[index], offset, extent.width, extent.height)


def _free_offset(
    at: np.ndarray, width: float, height: float, scale: float, taken: np.ndarray, frame: np.ndarray
) -> np.ndarray:
    """The offset in pixels from a point to the lower left corner of its label; the least bad one where none is free.

    taken: boxes that the label must not cover, (N, 4); frame: the box of the axes, (1, 4). A box is left, bottom,
        right and top, in pixels.
    """
    best, best_cost = np.zeros(2), np.inf
    for radius in _RADII:
        for dx, dy in _DIRECTIONS:
            centre = np.array([dx, dy]) * radius * scale + np.array([np.sign(dx) * width, np.sign(dy) * height]) / 2
            offset = centre - np.array([width, height]) / 2
            box = _label_box(at + offset, width, height)
            cost = _overlap(box, taken) + 4 * (width * height - _overlap(box, frame))
            if cost < 1e-6:
                return offset
            if cost < best_cost:
                best, best_cost = offset, cost
    return best


def _label_box(corner: np.ndarray, width: float, height: float) -> np.ndarray:
    return np.array([corner[0], corner[1], corner[0] + width, corner[1] + height])


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


def _nearest_corner(offset: np.ndarray, width: float, height: float) -> np.ndarray:
    """The way from the point to the nearest place on the rectangle of its label, (2,), in pixels."""
    return np.clip(np.zeros(2), offset, offset + np.array([width, height]))


def _leader(axes: Axes, at: np.ndarray, offset: np.ndarray, width: float, height: float) -> None:
    ends = np.stack([at, at + _nearest_corner(offset, width, height)])
    axes.plot(
        *axes.transData.inverted().transform(ends).T,
        color="#B0B5BA",
        linewidth=0.7,
        zorder=0.5,
        scalex=False,
        scaley=False,
    )
