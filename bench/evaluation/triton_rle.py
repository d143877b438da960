"""Triton's kernels that find where the runs of masks begin, and spell them. To be imported only where Triton may be
absent.

Two kernels read the masks row by row, a thread beside a thread, so that no transposed copy of them is made. The first
counts the runs that begin in each column of each mask; these counts, summed up in COCO's order, say where the second
writes the positions.

A call starts these two kernels and torch's cumulative sum, and the host waits for the device twice: for how many bounds
there are, and for the bounds, four bytes each. So no memory is reserved for more than there are, however noisy the
masks.

Two further kernels make COCO's strings of the bounds where these lie, so that a bit more than one byte a run travels and
the host only cuts: the first says how many characters each count takes, the second writes them.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import torch
import triton
import triton.language as tl

ROWS, COLUMNS = 32, 128
"""The block of a mask that one program looks at in one step."""

VALUES = 256
"""How many counts one program spells."""


def bounds_by_triton(masks: torch.Tensor) -> torch.Tensor:
    """Find the bounds of masks. See :data:`bench.evaluation.device_rle.Find`; at most 2**30 pixels in all."""
    return _bounds_and_ends(masks)[0]


def strings_by_triton(masks: torch.Tensor) -> list[str]:
    """Give COCO's compressed counts of masks, bool (N, H, W) with N, H and W over 0, at most 2**30 pixels in all."""
    bounds, ends = _bounds_and_ends(masks)
    return spelled(bounds, ends, masks.shape[1] * masks.shape[2])


def spelled(bounds: torch.Tensor, ends: torch.Tensor, pixels: int) -> list[str]:
    """Give the compressed counts of masks of so many pixels each.

    bounds: as :class:`bench.evaluation.rle.RunStarts` has them, int32 on the device
    ends: the index behind the last bound of each mask, int32 (N,)
    """
    count = len(bounds)
    grid = (triton.cdiv(count, VALUES),)
    lengths = torch.empty(count, dtype=torch.int32, device=bounds.device)
    with _current(bounds.device):
        _lengths[grid](bounds, lengths, count, pixels, VALUES)
        text_ends = lengths.cumsum(0, dtype=torch.int32)
        cuts = [0, *text_ends[ends - 1].tolist()]
        text = torch.empty(cuts[-1], dtype=torch.uint8, device=bounds.device)
        _spell[grid](bounds, lengths, text_ends, text, count, pixels, VALUES)
    whole = text.cpu().numpy().tobytes().decode("ascii")
    return [whole[a:b] for a, b in itertools.pairwise(cuts)]


def _bounds_and_ends(masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the bounds of masks, and the index behind the last bound of each, int32 (N,)."""
    number, height, width = masks.shape
    pixels = masks.contiguous().view(torch.uint8)
    grid = (number, triton.cdiv(width, COLUMNS))
    counts = torch.empty(number * width, dtype=torch.int32, device=masks.device)
    with _current(masks.device):
        _count[grid](pixels, counts, height, width, ROWS, COLUMNS)
        ends = counts.cumsum(0, dtype=torch.int32)
        bounds = torch.empty(int(ends[-1]), dtype=torch.int32, device=masks.device)
        _write[grid](pixels, counts, ends, bounds, height, width, ROWS, COLUMNS)
    return bounds, ends.view(number, width)[:, -1]


def _current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Give the context in which kernels start on this device: Triton starts them on the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


# Sizes of images differ: a kernel that is specialised for them would be compiled anew in the middle of a measurement.
_ANY_SIZE = ["height", "width"]


@triton.jit
def _begins(mask, first, columns, height, width, block_rows: tl.constexpr):  # type: ignore[no-untyped-def]
    """Tell for rows from ``first`` on of some columns where a run begins: int32 (rows, columns), 0 outside the mask."""
    rows = (first + tl.arange(0, block_rows))[:, None]
    column = columns[None, :]
    inside = (rows < height) & (column < width)
    here = tl.load(mask + rows * width + column, mask=inside, other=0)
    # The pixel before row 0 is the bottom of the column before.
    before = tl.where(rows > 0, (rows - 1) * width + column, (height - 1) * width + column - 1)
    earlier = tl.load(mask + before, mask=inside & ((rows > 0) | (column > 0)), other=0)
    return (here != earlier).to(tl.int32)


@triton.jit(do_not_specialize=_ANY_SIZE)
def _count(masks, counts, height, width, block_rows: tl.constexpr, block_columns: tl.constexpr):  # type: ignore[no-untyped-def]
    """Count the bounds of each column; those of the last column include the end of the mask."""
    number = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    mask = masks + number * height * width
    found = (columns == width - 1).to(tl.int32)
    for first in range(0, height, block_rows):
        found += tl.sum(_begins(mask, first, columns, height, width, block_rows), axis=0)
    tl.store(counts + number * width + columns, found, mask=columns < width)


@triton.jit(do_not_specialize=_ANY_SIZE)
def _write(  # type: ignore[no-untyped-def]
    masks, counts, ends, bounds, height, width, block_rows: tl.constexpr, block_columns: tl.constexpr
):
    """Write the bounds of each column behind those of the columns before it."""
    number = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    mask = masks + number * height * width
    inside = columns < width
    at = number * width + columns
    place = tl.load(ends + at, mask=inside, other=0) - tl.load(counts + at, mask=inside, other=0)
    for first in range(0, height, block_rows):
        begins = _begins(mask, first, columns, height, width, block_rows)
        rank = tl.cumsum(begins, axis=0)
        position = columns[None, :] * height + (first + tl.arange(0, block_rows))[:, None]
        tl.store(bounds + place[None, :] + rank - 1, position, mask=begins > 0)
        place += tl.sum(begins, axis=0)
    end = tl.zeros_like(columns) + height * width
    tl.store(bounds + place, end, mask=columns == width - 1)


_ANY_NUMBER = ["count", "pixels"]


@triton.jit
def _value(bounds, at, count, pixels):  # type: ignore[no-untyped-def]
    """Give what is written of each count: the first three of a mask, then differences to the last but one.

    Behind the bounds of a mask stands its number of pixels, which is no position: it tells where the next mask begins.
    """
    inside = at < count
    here = tl.load(bounds + at, mask=inside, other=0)
    one = tl.load(bounds + at - 1, mask=inside & (at >= 1), other=pixels)
    two = tl.load(bounds + at - 2, mask=inside & (at >= 2), other=pixels)
    three = tl.load(bounds + at - 3, mask=inside & (at >= 3), other=pixels)
    run = here - tl.where(one == pixels, 0, one)
    early = (one == pixels) | (two == pixels) | (three == pixels)
    return tl.where(early, run, run - (two - three))


@triton.jit(do_not_specialize=_ANY_NUMBER)
def _lengths(bounds, lengths, count, pixels, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Say how many characters each value takes: one for five bits, the sign bit included."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    value = _value(bounds, at, count, pixels)
    magnitude = value ^ (value >> 31)
    length = tl.full((block,), 1, tl.int32)
    for bits in tl.static_range(4, 30, 5):
        length += (magnitude >= (1 << bits)).to(tl.int32)
    tl.store(lengths + at, length, mask=at < count)


@triton.jit(do_not_specialize=_ANY_NUMBER)
def _spell(bounds, lengths, text_ends, text, count, pixels, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the characters of each value, low bits first; all but the last of a value have bit 5 set."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < count
    value = _value(bounds, at, count, pixels)
    length = tl.load(lengths + at, mask=inside, other=0)
    first = tl.load(text_ends + at, mask=inside, other=0) - length
    for place in tl.static_range(7):
        more = (place < length - 1).to(tl.int32)
        character = ((value >> (5 * place)) & 31) + 32 * more + 48
        tl.store(text + first + place, character.to(tl.uint8), mask=inside & (place < length))
