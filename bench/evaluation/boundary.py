"""Boundary IoU (Cheng et al. 2021, https://arxiv.org/abs/2103.16562): overlap within a band along the contours.

The boundary of a mask consists of its pixels that lie within 0.02 of the image diagonal from its contour; the border of
the image is part of the contour. Boundary AP takes the lesser of mask IoU and Boundary IoU, and mask IoU alone for a
crowd, as the authors' own evaluation does (github.com/bowenc0221/boundary-iou-api).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.coco_json import mask_library

DILATION_RATIO = 0.02
"""Width of the boundary as a share of the image diagonal."""


@dataclass(frozen=True)
class Boundary:
    """The boundary of one mask.

    pixels: bool (w, h), columns first, as masks are compressed
    x, y: column and row of the first pixel in the image
    area: number of pixels in the boundary
    """

    pixels: np.ndarray
    x: int
    y: int
    area: int


def boundary_width(height: int, width: int) -> int:
    """Return how far the boundary reaches into a mask, in pixels, at least 1."""
    return max(1, round(DILATION_RATIO * math.sqrt(height**2 + width**2)))


def boundary_iou(
    iou: np.ndarray,
    detections: Sequence[dict[str, Any]],
    objects: Sequence[dict[str, Any]],
    crowd: np.ndarray,
    least: float,
) -> np.ndarray:
    """Return the lesser of mask IoU and Boundary IoU, float64 (D, G).

    Boundaries are compared only in pairs whose mask IoU is ``least`` or more; the others keep their mask IoU, which is
    below ``least`` already. Where both masks are so small that the boundary is all of each, it is their mask IoU.

    Args:
        iou: mask IoU, float64 (D, G)
        detections, objects: their masks as compressed RLE
        crowd: bool (G,), objects that keep their mask IoU
    """
    smaller = iou.copy()
    pairs = np.argwhere((iou >= least) & ~crowd)
    if len(pairs):
        inner = [_has_inner(detections), _has_inner(objects)]
        pairs = pairs[inner[0][pairs[:, 0]] | inner[1][pairs[:, 1]]]
    of_detection = {d: boundary(detections[d]) for d in np.unique(pairs[:, 0])}
    of_object = {g: boundary(objects[g]) for g in np.unique(pairs[:, 1])}
    for d, g in pairs:
        smaller[d, g] = min(iou[d, g], _iou(of_detection[d], of_object[g]))
    return smaller


def boundary(rle: dict[str, Any]) -> Boundary:
    """Return the boundary of a mask that has at least one pixel, as compressed RLE."""
    library = mask_library()
    x, y, w, h = (int(value) for value in library.toBbox(rle))
    pixels = library.decode(rle).T[x : x + w, y : y + h].astype(bool)
    distance = boundary_width(*rle["size"])
    if min(w, h) > 2 * distance:  # see _has_inner
        # The pixels inside are those whose whole square of 2 distance + 1 lies in the mask, and so in its box.
        inner = _windows(_windows(pixels, 2 * distance + 1).T, 2 * distance + 1).T
        pixels[distance:-distance, distance:-distance] &= ~inner
    return Boundary(pixels, x, y, int(np.count_nonzero(pixels)))


def _has_inner(rles: Sequence[dict[str, Any]]) -> np.ndarray:
    """Say which of N masks may have pixels beyond the boundary, by the edges of their boxes: bool (N,)."""
    edges = np.asarray(mask_library().toBbox(list(rles)))[:, 2:].min(axis=1)
    return edges > 2 * boundary_width(*rles[0]["size"])


def _windows(pixels: np.ndarray, length: int) -> np.ndarray:
    """Say for each place whether the ``length`` pixels from it on, along the first axis, are all set."""
    done = 1  # how many pixels from each place on have been looked at; doubled each time
    while done < length:
        step = min(done, length - done)
        pixels = pixels[:-step] & pixels[step:]
        done += step
    return pixels


def _iou(a: Boundary, b: Boundary) -> float:
    x, y = max(a.x, b.x), max(a.y, b.y)
    right = min(a.x + a.pixels.shape[0], b.x + b.pixels.shape[0])
    bottom = min(a.y + a.pixels.shape[1], b.y + b.pixels.shape[1])
    if right <= x or bottom <= y:
        return 0.0
    part_a, part_b = (m.pixels[x - m.x : right - m.x, y - m.y : bottom - m.y] for m in (a, b))
    common = int(np.count_nonzero(part_a & part_b))
    return common / (a.area + b.area - common)
