"""Masks to COCO's compressed RLE, all masks of an image at once, equal byte for byte to ``pycocotools.mask.encode``.

The places where runs begin are searched on the device that holds the masks (:mod:`bench.evaluation.device_rle` for a
GPU), so that only they travel to the host. The strings are made from them alone: by another process, where that leaves
more time to the model's.

A position is the index of a pixel in its mask, read down the columns as COCO reads it: ``column * height + row``. A run
begins where a pixel differs from the pixel before it; the first pixel of a mask is compared with background.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.coco_json import mask_library

if TYPE_CHECKING:  # a process that makes strings of what another one found does without torch, which takes seconds
    import torch

BLOCK_BYTES = 1 << 20
"""Number of pixels compared at once on a CPU. Such a block stays in the second-level cache: 100 masks of 640x480 take
3.5 ms, against 4.8 ms in one block."""

MAX_PIXELS = (1 << 31) - 1
"""The most pixels of one mask: positions are int32, and COCO's own areas are no wider."""


@dataclass(frozen=True)
class RunStarts:
    """Where the runs of N masks of one size begin: host memory alone, four bytes a run, which another process can take.

    bounds: int32; for each mask the positions where its runs begin, rising, and behind them its number of pixels
    height, width: of each mask, in pixels
    """

    bounds: np.ndarray
    height: int
    width: int

    @property
    def ends(self) -> np.ndarray:
        """Give the index behind the last of each mask's bounds, int64 (N,)."""
        return np.flatnonzero(self.bounds == self.height * self.width) + 1

    def rles(self) -> list[dict[str, Any]]:
        """Give the N masks as ``{"size": [H, W], "counts": str}``, as :func:`masks_to_rle` does."""
        size = [self.height, self.width]
        return [{"size": list(size), "counts": counts} for counts in _compress(self.bounds, self.ends)]


def masks_to_rle(masks: torch.Tensor) -> list[dict[str, Any]]:
    """Compress masks, bool (N, H, W) on any device, to N dicts ``{"size": [H, W], "counts": str}``.

    The counts equal those of ``pycocotools.mask.encode`` on the same mask (there they are bytes, here ASCII text).

    Raises:
        ValueError: the masks are not a boolean tensor of three dimensions, or have more than :data:`MAX_PIXELS` each.
    """
    from bench.evaluation.device_rle import strings_on_device

    _check(masks)
    strings = strings_on_device(masks) if masks.is_cuda and masks.numel() else None
    if strings is None:
        return run_starts(masks).rles()
    return [{"size": list(masks.shape[1:]), "counts": counts} for counts in strings]


def run_starts(masks: torch.Tensor) -> RunStarts:
    """Give where the runs of masks begin, bool (N, H, W) on any device.

    Raises:
        ValueError: as :func:`masks_to_rle`.
    """
    from bench.evaluation.device_rle import bounds_on_device

    _check(masks)
    number, height, width = masks.shape
    if not masks.numel():
        bounds = np.zeros(number, np.int32)
    elif masks.device.type == "cpu":
        bounds = _bounds(run_starts_on_host(masks), number, height * width)
    else:
        bounds = bounds_on_device(masks)
    return RunStarts(bounds, height, width)


def _check(masks: torch.Tensor) -> None:
    import torch

    if masks.dtype != torch.bool or masks.ndim != 3:
        raise ValueError(f"masks are {masks.dtype} {tuple(masks.shape)}, must be torch.bool (N, H, W)")
    height, width = masks.shape[1:]
    if height * width > MAX_PIXELS:
        raise ValueError(f"masks are {height}x{width} pixels, must have at most {MAX_PIXELS} pixels each")


def run_starts_on_host(masks: torch.Tensor) -> np.ndarray:
    """Return where runs begin, int64, rising, for masks in host memory: ``mask * height * width`` + position.

    Each row is compared with the row above it, without a transposed copy of the masks, which alone would cost five
    times as much as everything here. The few positions are then sorted into COCO's order. Where most pixels begin a
    run, as in noise, sorting costs more than the copy would.
    """
    height, width = masks.shape[1:]
    stack = masks.contiguous().numpy().view(np.uint8)
    below = _differences(stack.reshape(-1), width) + width
    rows = below // width
    mask_of, column = rows // height, below - rows * width
    row = rows - mask_of * height
    positions = (mask_of * width + column) * height + row
    # What was compared with the last row of the mask before does not count. The pixel before row 0 is the bottom of the
    # column before.
    inside = positions[row > 0]
    top = stack[:, 0].copy()
    top[:, 1:] ^= stack[:, -1, :-1]
    return np.sort(np.concatenate([inside, np.flatnonzero(top) * height]))


def _differences(pixels: np.ndarray, distance: int) -> np.ndarray:
    """Return the indices i, rising, where ``pixels[i]`` differs from ``pixels[i + distance]``; uint8 of 0 and 1."""
    size = pixels.size - distance
    if size <= 0:
        return np.empty(0, np.int64)
    if distance % 8 == 0 and pixels.size % 8 == 0:
        words = pixels.view(np.uint64)
        return _differing_words(words[: size // 8], words[distance // 8 :])
    differs = np.zeros(min(BLOCK_BYTES, size + -size % 8), np.uint8)
    words = differs.view(np.uint64)
    places = []
    for first in range(0, size, differs.size):
        length = min(differs.size, size - first)
        differs[length:] = 0
        end = first + length
        np.bitwise_xor(pixels[first:end], pixels[first + distance : end + distance], out=differs[:length])
        which = np.flatnonzero(words != 0)
        places.append(_set_bytes(words[which], which) + first)
    return np.concatenate(places)


def _differing_words(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Do the same for rows of whole uint64 words: eight pixels are compared at once, since nearly all are equal."""
    places = []
    step = BLOCK_BYTES // 8
    differs = np.empty(min(step, one.size), np.bool_)
    for first in range(0, one.size, step):
        a, b = one[first : first + step], other[first : first + step]
        which = np.flatnonzero(np.not_equal(a, b, out=differs[: a.size]))
        places.append(_set_bytes(a[which] ^ b[which], which) + 8 * first)
    return np.concatenate(places)


def _set_bytes(words: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the indices of the bytes that are not 0 in uint64 ``words``; word w begins at byte ``8 * places[w]``."""
    byte = np.flatnonzero(words.view(np.bool_))
    return (places[byte >> 3] << 3) + (byte & 7)


def _bounds(starts: np.ndarray, number: int, pixels: int) -> np.ndarray:
    """Give the ``bounds`` of ``number`` masks (:class:`RunStarts`) from where runs begin in the stack of them."""
    places = np.arange(number + 1, dtype=np.int64)
    of_mask = np.searchsorted(starts, places * pixels)
    bounds = np.empty(starts.size + number, np.int32)
    is_start = np.ones(bounds.size, np.bool_)
    is_start[of_mask[1:] + places[:-1]] = False
    bounds[is_start] = starts - np.repeat(places[:-1] * pixels, np.diff(of_mask))
    bounds[~is_start] = pixels
    return bounds


def _compress(bounds: np.ndarray, ends: np.ndarray) -> list[str]:
    """Compress the counts of several masks as pycocotools' ``rleToString`` (maskApi.c) does.

    From the fourth count of a mask on, its difference to the count before the last is written. A character holds five
    bits, low bits first; bit 5 is set where more characters follow, and 48 is added. Nearly all values take one
    character, so that what the others need is done for these alone.

    Args:
        bounds, ends: as in :class:`RunStarts`.
    """
    if not ends.size:
        return []
    values = _values(bounds, ends)
    # A value takes as many characters as it has groups of five bits, its sign bit included.
    magnitude = values ^ (values >> 31)
    long = np.flatnonzero(magnitude >= 16)
    characters = (values.astype(np.uint8) & 31) + np.uint8(48)
    characters[long] += np.uint8(32)
    magnitude = magnitude[long]
    more = np.ones(long.size, np.int64)
    for bits in (9, 14, 19, 24, 29):
        more += magnitude >= 1 << bits
    before = np.concatenate([[0], np.cumsum(more)])  # further characters before each long value, and of all
    text = np.empty(values.size + before[-1], np.uint8)
    first = np.ones(text.size, np.bool_)
    left, at = values[long] >> 5, long + before[:-1] + 1
    while left.size:
        goes_on = more > 1
        text[at] = (left & 31) + 32 * goes_on + 48
        first[at] = False
        left, at, more = left[goes_on] >> 5, at[goes_on] + 1, more[goes_on] - 1
    text[first] = characters
    whole = text.tobytes().decode("ascii")
    cuts = [0, *(ends + before[np.searchsorted(long, ends)]).tolist()]
    return [whole[a:b] for a, b in itertools.pairwise(cuts)]


def _values(bounds: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Give what is written of each count, int32: the first three of a mask, then differences to the last but one."""
    begins = np.concatenate([[0], ends[:-1]])
    counts = np.empty_like(bounds)
    np.subtract(bounds[1:], bounds[:-1], out=counts[1:])
    counts[begins] = bounds[begins]
    values = counts.copy()
    values[2:] -= counts[:-2]
    early = begins[:, None] + np.arange(3)
    early = early[early < ends[:, None]]
    values[early] = counts[early]
    return values


def rles_without_overlap(rles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each pixel to the first mask that covers it; masks of one size as compressed RLE, by falling score.

    Only one mask at a time is in memory uncompressed.
    """
    if not rles:
        return []
    library = mask_library()
    free = np.ones(rles[0]["size"], np.uint8, order="F")
    reduced = []
    for rle in rles:
        mask = library.decode(rle)
        own = mask & free
        free &= ~mask
        if (own != mask).any():
            rle = library.encode(own)
            rle = {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
        reduced.append(rle)
    return reduced


def masks_without_overlap(masks: torch.Tensor) -> torch.Tensor:
    """Give each pixel to the first mask that covers it: bool (N, H, W) by falling score, to the same shape.

    A mask becomes empty where others cover it whole.
    """
    import torch

    if not len(masks):
        return masks
    owner = masks.view(torch.uint8).argmax(dim=0)  # argmax takes the first of those that cover the pixel
    numbers = torch.arange(len(masks), device=masks.device)
    return masks & (owner == numbers[:, None, None])


def overlaps_removed(masks: torch.Tensor, rles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Do :func:`masks_to_rle` of :func:`masks_without_overlap` for masks whose own RLE are there already.

    In host memory only the boxes of the masks are looked at, and only masks that lose a pixel are compressed again.
    """
    if masks.device.type != "cpu" or not len(masks):
        return masks_to_rle(masks_without_overlap(masks))
    height, width = masks.shape[1:]
    taken = np.zeros((height, width), np.bool_)
    changed: dict[int, np.ndarray] = {}
    boxes = np.asarray(mask_library().toBbox(list(rles))).astype(np.intp).tolist()
    for place, (mask, (x, y, w, h)) in enumerate(zip(masks.numpy(), boxes, strict=True)):
        box = slice(y, y + h), slice(x, x + w)
        own, others = mask[box], taken[box]
        left = own & ~others
        if not np.array_equal(left, own):
            changed[place] = _run_starts_in_box(left, x, y, height, width)
        others |= own
    reduced = list(rles)
    bounds = [part for starts in changed.values() for part in (starts, [height * width])]
    if bounds:
        anew = RunStarts(np.concatenate(bounds).astype(np.int32), height, width).rles()
        for place, rle in zip(changed, anew, strict=True):
            reduced[place] = rle
    return reduced


def _run_starts_in_box(pixels: np.ndarray, x: int, y: int, height: int, width: int) -> np.ndarray:
    """Return the positions where runs begin, int64, rising, in a mask that is empty outside of a box.

    The mask has ``height`` x ``width`` pixels; ``pixels``, bool (h, w), lie in it from column ``x`` and row ``y`` on.
    """
    h, w = pixels.shape
    columns = np.zeros((w, h + 2), np.bool_)
    columns[:, 1:-1] = pixels.T
    changes = np.flatnonzero(columns[:, 1:] != columns[:, :-1])
    column = changes // (h + 1)
    starts = changes + column * (height - h - 1) + x * height + y
    # Where a run goes on from the bottom of a column at the top of the next one, it neither ends nor begins.
    if h == height:
        again = np.flatnonzero(starts[1:] == starts[:-1])
        starts = np.delete(starts, np.concatenate([again, again + 1]))
    return starts[starts < height * width]
