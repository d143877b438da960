"""Boundary IoU against its definition, and Boundary AP against faster-coco-eval's."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from evaluator_cases import CASES, rle_of
from figures_from_matches import coco_figures
from scipy import ndimage
from test_matching import matches_of

from bench.evaluation.average_precision import boundary_figures
from bench.evaluation.boundary import boundary, boundary_iou, boundary_width
from bench.schema.parts.accuracy import BOUNDARY_FIGURES


def square(y: int, x: int, side: int = 40, image: int = 100) -> np.ndarray:
    mask = np.zeros((image, image), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_width() -> None:
    assert boundary_width(480, 640) == 16  # 0.02 * 800
    assert boundary_width(3, 4) == 1
    assert boundary_width(100, 100) == 3  # 2.83


def test_two_squares_by_hand() -> None:
    """Rings of width 3: 40^2 - 34^2 = 444 pixels each; of the 39 * 40 common pixels of the squares, the union of the
    two cores, 35 * 34, is not common to the rings."""
    a, b = rle_of(square(20, 20)), rle_of(square(20, 21))
    assert boundary(a).area == 444
    common = 39 * 40 - 35 * 34
    mask_iou = np.array([[39 * 40 / (41 * 40)]])
    assert boundary_iou(mask_iou, [a], [b], np.array([False]), 0.5).item() == common / (444 + 444 - common)
    assert boundary_iou(mask_iou, [a], [b], np.array([True]), 0.5).item() == mask_iou.item()


def test_boundary_is_the_mask_without_its_erosion() -> None:
    """Masks at the borders, thin, full, with holes, of one pixel; the erosion is scipy's, by 3x3, step by step."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(1, 150, 2)
        noise = ndimage.uniform_filter(rng.random((height, width)), rng.integers(1, 25))
        mask = noise > np.quantile(noise, rng.choice([0, 0.1, 0.5, 0.9]))
        mask[rng.integers(height), rng.integers(width)] = True
        if rng.random() < 0.2:
            mask[:] = True
        found = boundary(rle_of(mask))
        whole = np.zeros((width, height), bool)
        whole[found.x : found.x + found.pixels.shape[0], found.y : found.y + found.pixels.shape[1]] = found.pixels
        eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=boundary_width(height, width))
        np.testing.assert_array_equal(whole.T, mask & ~eroded)
        assert found.area == (mask & ~eroded).sum()


@pytest.mark.parametrize("name", ["shapes", "COCO", "crowds over instances", "some scores equal"])
def test_boundary_ap_equals_faster_coco_eval(name: str) -> None:
    library = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    case = CASES[name](np.random.default_rng(4))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = library.COCO({"info": {}, **copy.deepcopy(case.truth)})
        evaluation = library.COCOeval_faster(truth, truth.loadRes(copy.deepcopy(case.results)), iouType="boundary")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    matches = matches_of(case)
    found = boundary_figures(matches.boundaries())
    expected = [value if value > -1 else None for value in evaluation.stats[:6]]
    assert list(found) == list(BOUNDARY_FIGURES)
    for figure, value in zip(BOUNDARY_FIGURES, expected, strict=True):
        assert found[figure] == (value if value is None else pytest.approx(value, abs=1e-9)), figure
    mask_ap = coco_figures(matches)["mask_ap"]
    assert mask_ap is not None
    assert 0.01 < found["boundary_ap"] < mask_ap - 0.05
