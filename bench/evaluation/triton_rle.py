"""Triton's kernels that find where the runs of masks begin. To be imported only where Triton may be absent.

Two kernels read the masks row by row, a thread beside a thread, so that no transposed copy of them is made. The first
counts the runs that begin in each column of each mask; these counts, summed up in COCO's order, say where the second
writes the positions.

A call starts these two kernels and torch's cumulative sum, and the host waits for the device twice: for how many bounds
there are, and for the bounds, four bytes each. So no memory is reserved for more than there are, however noisy the
masks.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import triton
import triton.language as tl

ROWS, COLUMNS = 32, 128
"""The block of a mask that one program looks at in one step."""


def bounds_by_triton(masks: torch.Tensor) -> torch.Tensor:
    """Find the bounds of masks. See :data:`bench.evaluation.device_rle.Find`; at most 2**30 pixels in all."""
    number, height, width = masks.shape
    pixels = masks.contiguous().view(torch.uint8)
    grid = (number, triton.cdiv(width, COLUMNS))
    counts = torch.empty(number * width, dtype=torch.int32, device=masks.device)
    with _current(masks.device):
        _count[grid](pixels, counts, height, width, ROWS, COLUMNS)
        ends = counts.cumsum(0, dtype=torch.int32)
        bounds = torch.empty(int(ends[-1]), dtype=torch.int32, device=masks.device)
        _write[grid](pixels, counts, ends, bounds, height, width, ROWS, COLUMNS)
    return bounds


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
