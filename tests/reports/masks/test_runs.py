"""Test masks at the size of a drawing: each cell against a full decode, small things against being lost, the memory."""

from __future__ import annotations

import numpy as np
import pytest
from peaks import printed_by
from PIL import Image
from pycocotools import mask as coco_mask

from reports.masks.runs import mask_area, mask_at


def _rle(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def _by_full_decode(rle: dict, height: int, width: int) -> np.ndarray:
    """Count the mask's pixels of each cell, cell by cell, in the decoded mask."""
    whole = coco_mask.decode(rle)
    covered, area = np.zeros((height, width), int), np.zeros((height, width), int)
    for i in range(height):
        for j in range(width):
            top, left = i * whole.shape[0] // height, j * whole.shape[1] // width
            bottom, right = (i + 1) * whole.shape[0] // height, (j + 1) * whole.shape[1] // width
            cell = whole[top : max(bottom, top + 1), left : max(right, left + 1)]
            covered[i, j], area[i, j] = cell.sum(), cell.size
    inside = 2 * covered >= area
    return inside if 2 * covered[inside].sum() >= covered.sum() else covered > 0


@pytest.mark.parametrize("share", [0.01, 0.5, 0.98, "corner", "columns", 0, 1])
def test_random_masks_are_those_of_a_full_decode(share):
    rng = np.random.default_rng(0)
    for _ in range(12):
        (h, w), (height, width) = rng.integers(1, 90, 2), rng.integers(1, 50, 2)
        mask = np.zeros((h, w), bool)
        if share == "corner":
            mask[rng.integers(h) :, rng.integers(w) :] = True
        elif share == "columns":
            mask[:, rng.integers(w) :] = True  # one run over many columns
        else:
            mask[:] = rng.random((h, w)) < share
        rle = _rle(mask)
        assert mask_area(rle) == mask.sum()
        np.testing.assert_array_equal(mask_at(rle, height, width), _by_full_decode(rle, height, width))


def test_blobs_are_those_of_pillow_where_the_sizes_divide():
    y, x = np.mgrid[:240, :320]
    for seed in range(10):
        centre, radius = np.random.default_rng(seed).uniform((40, 40), (200, 280)), 30 + 5 * seed
        blob = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2 + 300 * np.sin(x / 7)
        # An even share of a cell rounds up in both.
        share = np.asarray(Image.fromarray(blob.astype(np.float32)).resize((64, 48), Image.Resampling.BOX))
        np.testing.assert_array_equal(mask_at(_rle(blob), 48, 64), share >= 0.5)


def test_what_is_thinner_than_a_drawn_pixel_is_seen():
    line, dot = np.zeros((2000, 3000), bool), np.zeros((2000, 3000), bool)
    line[:, 1501] = True
    dot[1000:1003, 700:702] = True
    assert mask_at(_rle(line), 200, 300)[:, 150].all()
    assert np.argwhere(mask_at(_rle(dot), 200, 300)).tolist() == [[100, 70]]


def test_a_mask_is_scaled_up_by_nearest_neighbour():
    assert mask_at(_rle(np.array([[1, 0], [0, 0]])), 2, 4).tolist() == [[True, True, False, False], [False] * 4]


def test_empty_runs_between_the_others_change_nothing():
    plain = {"size": [4, 5], "counts": [6, 5, 9]}
    split = {"size": [4, 5], "counts": [6, 2, 0, 3, 9, 0]}
    for size in ((4, 5), (2, 3), (1, 1)):
        np.testing.assert_array_equal(mask_at(plain, *size), mask_at(split, *size))


DISC = """
import numpy as np
from peaks import peak_megabytes
from reports.masks.drawing import Drawn, draw

def disc(side):
    half = np.sqrt(np.maximum(0, 0.09 - (np.arange(side) / side - 0.5) ** 2))
    inside = (2 * half * side).astype(int)
    above = (side - inside) // 2
    below = side - inside - above
    counts = np.stack([above, inside], 1)
    counts[1:, 0] += below[:-1]
    return {"size": [side, side], "counts": [*counts.ravel().tolist(), int(below[-1])]}

def peak(side):
    draw(np.zeros((900, 900, 3), np.uint8), [Drawn(disc(side), n) for n in range(5)], {})
    return peak_megabytes()

print(-peak(1000) + peak(20_000))
"""


def test_no_mask_is_decoded_at_full_size() -> None:
    """A mask of 400 megapixels would take 400 MB."""
    assert printed_by(DISC)[0] < 60
