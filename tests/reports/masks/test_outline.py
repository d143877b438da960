"""Test the outlines of masks: filled by another library they give the pixels of the mask again."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from scipy import ndimage

from reports.masks.drawing import Drawn
from reports.masks.outline import COARSEST, MOST_CHARACTERS, UNITS, outline, simplified


def _drawn(mask: np.ndarray) -> Drawn:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return Drawn({"size": list(mask.shape), "counts": rle["counts"].decode()}, 1)


def _polygons(path: str) -> list[np.ndarray]:
    """Read a path by the rules of SVG: relative steps, and ``m`` after ``z`` starts from where the last part began."""
    polygons, here = [], np.zeros(2)
    for part in re.findall(r"m([^z]*)z", path):
        steps = np.array(re.findall(r"-?\d+", part), float).reshape(-1, 2)
        polygons.append(here + steps.cumsum(0))
        here = polygons[-1][0]
    assert re.sub(r"[mz0-9 -]", "", path) == ""
    return polygons


def _filled(path: str, height: int, width: int, finer: int = 8) -> np.ndarray:
    """Fill a path by its rule, ``evenodd``, at a multiple of the size; a pixel is in it by its middle."""
    whole = np.zeros((height * finer, width * finer), bool)
    for polygon in _polygons(path):
        image = Image.new("1", whole.shape[::-1])
        ImageDraw.Draw(image).polygon([tuple(point) for point in polygon * finer / UNITS], fill=1)
        whole ^= np.asarray(image)
    return whole[finer // 2 :: finer, finer // 2 :: finer]


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_a_square_has_its_own_edges():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    path, coarse = outline(_drawn(mask).at, 40, 60)
    points = np.concatenate(_polygons(path)) / UNITS
    assert points.min(0).tolist() == [30, 10]
    assert points.max(0).tolist() == [50, 20]
    assert not coarse
    assert len(path) < 50
    assert _iou(_filled(path, 40, 60), mask) > 0.98


def test_a_hole_stays_a_hole():
    mask = np.zeros((60, 60), bool)
    mask[5:55, 5:55] = True
    mask[20:40, 25:45] = False
    filled = _filled(outline(_drawn(mask).at, 60, 60)[0], 60, 60)
    assert filled[10, 10]
    assert not filled[30, 35]
    assert _iou(filled, mask) > 0.98


@pytest.mark.parametrize("seed", range(5))
def test_blobs_are_filled_as_they_were(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(240, 320)), 12)
    mask = noise > np.quantile(noise, 0.8)
    path, coarse = outline(_drawn(mask).at, 240, 320)
    assert not coarse
    assert _iou(_filled(path, 240, 320), mask) > 0.96


def test_masks_at_the_borders_and_of_a_pixel_are_seen():
    mask = np.zeros((50, 50), bool)
    mask[0, 0] = mask[49, 49] = mask[25, 10] = True
    filled = _filled(outline(_drawn(mask).at, 50, 50)[0], 50, 50)
    assert filled[0, 0]
    assert filled[49, 49]
    assert filled[25, 10]


def test_a_large_mask_is_drawn_at_the_size_of_the_picture():
    mask = np.zeros((1000, 1500), bool)
    mask[200:700, 300:1200] = True
    points = np.concatenate(_polygons(outline(_drawn(mask).at, 200, 300)[0])) / UNITS
    assert points.min(0).tolist() == [60, 40]
    assert points.max(0).tolist() == [240, 140]


@pytest.mark.parametrize("size", [(64, 64), (480, 640)])
def test_noise_is_bounded_and_said_to_be_coarse(size):
    mask = np.random.default_rng(0).random(size) < 0.5
    path, coarse = outline(_drawn(mask).at, *size)
    assert coarse
    assert 0 < len(path) <= MOST_CHARACTERS
    points = np.concatenate(_polygons(path)) / UNITS
    assert (points >= -COARSEST).all()
    assert (points <= np.array(size[::-1]) + COARSEST).all()


def test_a_mask_without_pixels_has_no_outline():
    assert outline(_drawn(np.zeros((20, 30), bool)).at, 20, 30) == ("", False)


def test_points_are_left_out_within_the_tolerance():
    ring = np.array([[0, 0], [5, 0.2], [10, 0], [10, 10], [5, 12], [0, 10]], float)
    assert simplified(ring, 0.5).tolist() == [[0, 0], [10, 0], [10, 10], [5, 12], [0, 10]]
