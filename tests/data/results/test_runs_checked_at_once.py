"""Tests of the run lengths of many compressed RLEs at once, against pycocotools and literal strings."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bench.data.coco_json import rle_counts
from bench.data.results.runs import cover_images, runs_of


def encoded(mask: np.ndarray) -> str:
    return str(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode())


def masks() -> list[np.ndarray]:
    """Give masks of several sizes: empty, full, one pixel, noise, and one whose runs take three characters."""
    rng = np.random.default_rng(3)
    noise = [rng.random((h, w)) < 0.5 for h, w in ((1, 1), (3, 7), (40, 60))]
    corner = np.zeros((200, 300), bool)
    corner[0, 0] = corner[199, 299] = True
    return [np.zeros((4, 5), bool), np.ones((4, 5), bool), corner, *noise, np.eye(50, dtype=bool)]


def test_runs_of_many_masks_lead_back_to_their_pixels() -> None:
    every = masks()
    runs = runs_of([encoded(mask) for mask in every])
    assert runs is not None
    for mask, lengths in zip(every, np.split(runs.lengths, runs.ends[:-1]), strict=True):
        pixels = np.repeat(np.arange(len(lengths)) % 2, lengths)
        np.testing.assert_array_equal(pixels.reshape(mask.shape[::-1]).T, mask)


def test_literal_runs() -> None:
    """06 is an empty run and six pixels; the fourth count is written as its difference to the second."""
    runs = runs_of(["06", "1234", "06"])
    assert runs is not None
    assert runs.lengths.tolist() == [0, 6, 1, 2, 3, 6, 0, 6]
    assert runs.ends.tolist() == [2, 6, 8]
    none = runs_of([])
    assert none is not None
    assert len(none.lengths) == len(none.ends) == 0


@pytest.mark.parametrize("wrong", ["", "é6", "0 6", "p6", "0P", "00O", "PPPPPPPPPP0"])
def test_one_wrong_string_among_right_ones_is_found(wrong: str) -> None:
    """A string that is cut off must not go on in the next one."""
    right = encoded(masks()[3])
    assert runs_of([right, wrong, right]) is None
    assert not cover_images([right, wrong, right], np.array([1, 6, 1]))


def test_a_mask_that_covers_more_or_less_than_its_image_is_found() -> None:
    texts = [encoded(mask) for mask in masks()]
    pixels = np.array([mask.size for mask in masks()])
    assert cover_images(texts, pixels)
    assert cover_images([], np.zeros(0, np.int64))
    for place in range(len(texts)):
        for more in (-1, 1):
            changed = pixels.copy()
            changed[place] += more
            assert not cover_images(texts, changed)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_strings_are_right_for_both_ways_or_for_neither(seed: int) -> None:
    """The check of one string is the reference: the fast one may call nothing right that it refuses."""
    rng = np.random.default_rng(seed)
    text = encoded(rng.random((20, 30)) < 0.1)
    for _ in range(300):
        place, character = int(rng.integers(len(text))), chr(int(rng.integers(40, 120)))
        damaged = text[:place] + character + text[place + 1 :]
        try:
            right = int(rle_counts(damaged).sum()) == 600
        except ValueError:
            right = False
        assert cover_images(["06", damaged], np.array([6, 600])) == right
