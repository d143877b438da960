"""Masks to COCO's compressed RLE, all masks of an image at once, equal byte for byte to ``pycocotools.mask.encode``.

The places where runs begin are searched on the device that holds the masks, so that only their positions travel to the
host.

A position is the index of a pixel in the stack of masks, each mask read down its columns as COCO reads it:
``mask * height * width + column * height + row``. A run begins where a pixel differs from the pixel before it; the
first pixel of a mask is compared with background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bench.data.coco_json import mask_library

BLOCK_BYTES = 1 << 20
"""Number of pixels compared at once on a CPU. Such a block stays in the second-level cache: 100 masks of 640x480 take
3.5 ms, against 4.8 ms in one block."""

DEVICE_PIXELS = 1 << 29
"""Number of pixels searched at once on a GPU, where ``nonzero`` refuses 2**31 elements and takes 8 bytes a position."""


def masks_to_rle(masks: torch.Tensor) -> list[dict[str, Any]]:
    """Compress masks, bool (N, H, W) on any device, to N dicts ``{"size": [H, W], "counts": str}``.

    The counts equal those of ``pycocotools.mask.encode`` on the same mask (there they are bytes, here ASCII text).

    Raises:
        ValueError: the masks are not a boolean tensor of three dimensions.
    """
    if masks.dtype != torch.bool or masks.ndim != 3:
        raise ValueError(f"masks are {masks.dtype} {tuple(masks.shape)}, must be torch.bool (N, H, W)")
    number, height, width = masks.shape
    find = run_starts_on_host if masks.device.type == "cpu" else run_starts_on_device
    starts = find(masks) if masks.numel() else np.empty(0, np.int64)
    strings = _strings(starts, number, height * width)
    return [{"size": [height, width], "counts": counts} for counts in strings]


def run_starts_on_device(masks: torch.Tensor) -> np.ndarray:
    """Return the positions where runs begin, int64, rising; torch searches them on the device of the masks."""
    number, height, width = masks.shape
    pixels = height * width
    positions = []
    at_once = max(1, DEVICE_PIXELS // pixels)
    for first in range(0, number, at_once):
        columns = masks[first : first + at_once].transpose(1, 2).reshape(-1, pixels)
        begins = torch.empty_like(columns, memory_format=torch.contiguous_format)
        begins[:, 0] = columns[:, 0]
        torch.ne(columns[:, 1:], columns[:, :-1], out=begins[:, 1:])
        positions.append(begins.view(-1).nonzero().view(-1) + first * pixels)
    return torch.cat(positions).cpu().numpy()  # one transfer for all


def run_starts_on_host(masks: torch.Tensor) -> np.ndarray:
    """Return the positions where runs begin, int64, rising, for masks in host memory.

    Each row is compared with the row above it, without a transposed copy of the masks, which alone would cost five
    times as much as everything here. The few positions are then sorted into COCO's order. Where most pixels begin a
    run, as in noise, sorting costs more than the copy would.
    """
    height, width = masks.shape[1:]
    stack = masks.contiguous().view(torch.uint8).numpy()
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


def _strings(starts: np.ndarray, number: int, pixels: int) -> list[str]:
    """Return the compressed counts of each of ``number`` masks from the positions where their runs begin."""
    mask_ends = np.arange(1, number + 1, dtype=np.int64) * pixels
    # A mask has one count for each start, and one that reaches to its end.
    count_ends = np.searchsorted(starts, mask_ends) + np.arange(1, number + 1)
    positions = np.empty(starts.size + number, np.int64)
    is_start = np.ones(positions.size, np.bool_)
    is_start[count_ends - 1] = False
    positions[is_start] = starts
    positions[count_ends - 1] = mask_ends
    counts = np.diff(positions, prepend=0)
    return _compress(counts, count_ends)


def _compress(counts: np.ndarray, ends: np.ndarray) -> list[str]:
    """Compress several lists of counts, one behind the other, as pycocotools' ``rleToString`` (maskApi.c) does.

    From the fourth count of a list on, its difference to the count before the last is written. A character holds five
    bits, low bits first; bit 5 is set where more characters follow, and 48 is added.

    Args:
        counts: int64, all lists.
        ends: int64, the index behind the last count of each list.
    """
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: ends.size]
    values = counts.copy()
    values[2:] -= counts[:-2]
    for k in range(3):
        early = begins[begins + k < ends] + k
        values[early] = counts[early]
    # A value takes as many characters as it has groups of five bits, its sign bit included.
    magnitude = values ^ (values >> 63)
    lengths = np.ones(values.size, np.int64)
    bound = 16
    while (longer := magnitude >= bound).any():
        lengths += longer
        bound <<= 5
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    text = np.empty(offsets[-1], np.uint8)
    left, at = values, offsets[:-1]
    while left.size:
        more = lengths > 1
        text[at] = (left & 31) + 32 * more + 48
        left, at, lengths = left[more] >> 5, at[more] + 1, lengths[more] - 1
    whole = text.tobytes().decode("ascii")
    return [whole[offsets[a] : offsets[b]] for a, b in zip(begins, ends, strict=True)]


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
    pixels = height * width
    starts = [starts + order * pixels for order, starts in enumerate(changed.values())]
    strings = _strings(np.concatenate(starts), len(changed), pixels) if changed else []
    for place, counts in zip(changed, strings, strict=True):
        reduced[place] = {"size": [height, width], "counts": counts}
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
