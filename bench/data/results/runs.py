"""The run lengths of many compressed RLEs at once: a numpy call for one mask costs as much as for a hundred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_FIRST_CHARACTER = 48
_MAX_CHARACTERS_A_COUNT = 7


class Runs(NamedTuple):
    """The runs of N masks, one mask behind the other.

    lengths: int64 (R,), the first run of each mask is background
    ends:    int64 (N,), the index behind the last run of each mask
    """

    lengths: np.ndarray
    ends: np.ndarray


def runs_of(texts: Sequence[str]) -> Runs | None:
    """Decompress the ``counts`` of N masks as pycocotools' ``rleFrString`` (maskApi.c) does.

    None where one of them is empty or is no such string, as :func:`bench.data.coco_json.rle_counts` would say of it.
    """
    whole = "".join(texts)
    return _runs(whole.encode("ascii"), np.array([len(text) for text in texts], np.int64)) if whole.isascii() else None


def _runs(whole: bytes, sizes: np.ndarray) -> Runs | None:
    """Do the same for the texts one behind the other, of ``sizes`` characters each: int64 (N,)."""
    if not sizes.all():
        return None
    digits = np.frombuffer(whole, np.uint8).astype(np.int64) - _FIRST_CHARACTER
    text_ends = np.cumsum(sizes)
    if not len(digits):
        return Runs(digits, text_ends)
    more = (digits & 32).astype(bool)
    if digits.min() < 0 or digits.max() > 63 or more[text_ends - 1].any():
        return None
    last = np.flatnonzero(~more)
    first = np.concatenate(([0], last[:-1] + 1))
    characters = last - first + 1
    if characters.max() > _MAX_CHARACTERS_A_COUNT:
        return None
    shift = 5 * (np.arange(len(digits)) - np.repeat(first, characters))
    lengths = np.add.reduceat((digits & 31) << shift, first)
    lengths -= np.where(digits[last] & 16, np.left_shift(1, 5 * characters), 0)
    ends = np.searchsorted(last, text_ends)
    _undo_differences(lengths, ends)
    return None if (lengths < 0).any() else Runs(lengths, ends)


def _undo_differences(lengths: np.ndarray, ends: np.ndarray) -> None:
    """Add to each run, from the fourth of a mask on, the run before the last, in place."""
    begins = np.concatenate(([0], ends[:-1]))
    number = ends - begins
    place = np.arange(len(lengths)) - np.repeat(begins, number)
    for which, of_each in ((place & 1 == 1, number // 2), ((place & 1 == 0) & (place > 0), (number - 1) // 2)):
        index = np.flatnonzero(which)
        sums = np.concatenate(([0], np.cumsum(lengths[index])))
        before = sums[np.concatenate(([0], np.cumsum(of_each)[:-1]))]
        lengths[index] = sums[1:] - np.repeat(before, of_each)


def cover_images(texts: Sequence[str], pixels: np.ndarray) -> bool:
    """Tell whether each of N compressed RLEs is right and covers each pixel of its image once.

    Args:
        pixels: int64 (N,), of the image of each
    """
    return not texts or _cover(runs_of(texts), pixels)


def all_cover(whole: bytes, sizes: np.ndarray, pixels: np.ndarray) -> bool:
    """Tell the same of N texts in ASCII one behind the other, of ``sizes`` characters each: int64 (N,)."""
    return not len(sizes) or _cover(_runs(whole, sizes), pixels)


def _cover(runs: Runs | None, pixels: np.ndarray) -> bool:
    if runs is None:
        return False
    totals = np.add.reduceat(runs.lengths, np.concatenate(([0], runs.ends[:-1])))
    return bool((totals == pixels).all())
