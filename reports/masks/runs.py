"""Masks at the size of a drawing, straight from the runs of COCO's RLE: the mask of the whole image is never made.

A cell is the rectangle of the image's pixels that becomes one pixel of the drawing. How much of it a mask covers
follows from the number of mask pixels before a place, which grows by one a pixel inside of a run and not at all between
runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.coco_json import rle_counts

BLOCK = 1 << 18
"""How many places are looked up at once; each takes about 40 bytes."""


@dataclass(frozen=True)
class _Cells:
    """The cells along one side: the first pixel of each, and the one behind its last; int64 (N,) each."""

    first: np.ndarray
    behind: np.ndarray

    @classmethod
    def along(cls, pixels: int, cells: int) -> _Cells:
        edges = np.arange(cells + 1, dtype=np.int64) * pixels // cells
        # Where the drawing is larger than the image, several cells show one pixel.
        return cls(edges[:-1], np.maximum(edges[1:], edges[:-1] + 1))

    def between(self, low: int, high: int) -> slice:
        """The cells that hold a pixel from ``low`` to ``high``, both included."""
        return slice(int(np.searchsorted(self.behind, low, "right")), int(np.searchsorted(self.first, high, "right")))

    def __getitem__(self, some: slice) -> _Cells:
        return _Cells(self.first[some], self.behind[some])


def mask_at(rle: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """Scale a mask, a checked RLE of any size, to ``height`` x ``width``: bool (H, W).

    A cell belongs to the mask where at least half of it is covered. A mask of which this would lose more than half,
    since it is thinner than a cell, gets each cell that it touches, so that it can be seen.
    """
    mask = np.zeros((height, width), bool)
    whole_height, whole_width = rle["size"]
    starts, ends = _runs(rle)
    if not len(starts):
        return mask
    rows, columns = _Cells.along(whole_height, height), _Cells.along(whole_width, width)
    top, bottom = _rows_between(starts, ends, whole_height)
    across = columns.between(int(starts[0]) // whole_height, int(ends[-1] - 1) // whole_height)
    down = rows.between(top, bottom)
    rows, columns = rows[down], columns[across]
    covered = _covered(starts, ends, whole_height, rows, columns)
    area = (rows.behind - rows.first)[:, None] * (columns.behind - columns.first)
    inside = 2 * covered >= area
    if 2 * covered[inside].sum() < covered.sum():
        inside = covered > 0
    mask[down, across] = inside
    return mask


def mask_area(rle: Mapping[str, Any]) -> int:
    """The number of pixels of a mask."""
    return int(rle_counts(rle["counts"])[1::2].sum())


def _runs(rle: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The first pixel of each run of the mask, and the one behind its last, down the columns; int64 (R,) each."""
    counts = rle_counts(rle["counts"])
    ends = np.cumsum(counts)[1::2]
    lengths = counts[1::2]
    there = lengths > 0
    return (ends - lengths)[there], ends[there]


def _rows_between(starts: np.ndarray, ends: np.ndarray, height: int) -> tuple[int, int]:
    """The first and the last row that may hold a pixel of the mask."""
    top, bottom = starts % height, (ends - 1) % height
    if (starts // height != (ends - 1) // height).any():  # a run that goes on in the next column
        return 0, height - 1
    return int(top.min()), int(bottom.max())


def _covered(starts: np.ndarray, ends: np.ndarray, height: int, rows: _Cells, columns: _Cells) -> np.ndarray:
    """The number of mask pixels in each cell: int64 (rows, columns)."""
    before = np.concatenate([[0], np.cumsum(ends - starts)])
    begins = np.append(starts, np.iinfo(np.int64).max)
    edges = np.unique(np.concatenate([rows.first, rows.behind]))
    low, high = np.searchsorted(edges, rows.first), np.searchsorted(edges, rows.behind)
    covered = np.empty((len(rows.first), len(columns.first)), np.int64)
    widest = int((columns.behind - columns.first).max())
    step = max(1, BLOCK // (len(edges) * widest))
    for left in range(0, len(columns.first), step):
        some = columns[left : left + step]
        first = int(some.first[0])
        places = np.arange(first, int(some.behind[-1]))[:, None] * height + edges
        run = np.searchsorted(ends, places, "right")
        pixels = before[run] + np.maximum(places - begins[run], 0)
        in_column = pixels[:, high] - pixels[:, low]
        covered[:, left : left + step] = np.add.reduceat(in_column, some.first - first, axis=0).T
    return covered
