"""Where the runs of masks begin, searched on the GPU that holds the masks: Triton's kernels, or torch's operators.
Triton's kernels also make COCO's strings there.

torch's operators copy the masks to read them down their columns, and search a stack of flags for those that are set.
The kernels of :mod:`bench.evaluation.triton_rle` read the masks twice and write what is found, and nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch

DEVICE_PIXELS = 1 << 29
"""Number of pixels searched at once, where ``nonzero`` refuses 2**31 elements and takes 8 bytes a position."""

Find = Callable[[torch.Tensor], torch.Tensor]
"""Gives the bounds of masks, bool (N, H, W) with N, H and W over 0, as int32 on their device."""


Spell = Callable[[torch.Tensor], list[str]]
"""Gives COCO's compressed counts of masks, bool (N, H, W) with N, H and W over 0, on their device."""


def bounds_on_device(masks: torch.Tensor) -> np.ndarray:
    """Give the ``bounds`` of masks as :class:`bench.evaluation.rle.RunStarts` has them: bool (N, H, W), none empty."""
    find = way_to_find(masks.device)
    parts = [find(some).cpu().numpy() for some in _at_once(masks)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def strings_on_device(masks: torch.Tensor) -> list[str] | None:
    """Give COCO's compressed counts of masks, bool (N, H, W), none empty; None where the device cannot make them."""
    spell = way_to_spell(masks.device)
    return None if spell is None else [text for some in _at_once(masks) for text in spell(some)]


def _at_once(masks: torch.Tensor) -> Sequence[torch.Tensor]:
    number, height, width = masks.shape
    at_once = max(1, DEVICE_PIXELS // (height * width))
    return [masks[first : first + at_once] for first in range(0, number, at_once)]


def bounds_by_torch(masks: torch.Tensor) -> torch.Tensor:
    """Find the bounds by torch's operators, on any device. See :data:`Find`."""
    number, height, width = masks.shape
    pixels = height * width
    columns = masks.transpose(1, 2).reshape(number, pixels)
    begins = torch.empty((number, pixels + 1), dtype=torch.bool, device=masks.device)
    begins[:, 0] = columns[:, 0]
    torch.ne(columns[:, 1:], columns[:, :-1], out=begins[:, 1:-1])
    begins[:, -1] = True  # behind the positions of a mask stands its number of pixels
    return begins.view(-1).nonzero().view(-1).remainder_(pixels + 1).to(torch.int32)


@functools.cache
def way_to_find(device: torch.device) -> Find:
    """Choose once for a device how bounds are found there: by Triton where it works, else by torch's operators.

    Triton may be absent, may lack a compiler for what starts its kernels, or may not know the GPU. So it has to find
    the bounds of a few masks first, and those that torch finds.
    """
    if device.type != "cuda":
        return bounds_by_torch
    try:
        from bench.evaluation.triton_rle import bounds_by_triton

        masks = _trial(device)
        works = torch.equal(bounds_by_triton(masks), bounds_by_torch(masks))
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever it is, torch's operators do without Triton
        works = False
    return bounds_by_triton if works else bounds_by_torch


@functools.cache
def way_to_spell(device: torch.device) -> Spell | None:
    """Choose once for a device how strings are made there: by Triton, where it finds bounds and spells them rightly.

    None is on the host, of the bounds.
    """
    from bench.evaluation.rle import RunStarts

    if way_to_find(device) is bounds_by_torch:
        return None
    try:
        from bench.evaluation.triton_rle import strings_by_triton

        masks = _trial(device)
        on_host = RunStarts(bounds_by_torch(masks).cpu().numpy(), *masks.shape[1:]).rles()
        works = strings_by_triton(masks) == [rle["counts"] for rle in on_host]
    except torch.OutOfMemoryError:
        raise
    except Exception:  # as in way_to_find
        works = False
    return strings_by_triton if works else None


def _trial(device: torch.device) -> torch.Tensor:
    """Give three masks of more than one block of the kernels in both directions: noise, empty, full."""
    noise = torch.rand(150, 300, generator=torch.Generator().manual_seed(0)) < 0.4
    return torch.stack([noise, torch.zeros_like(noise), torch.ones_like(noise)]).to(device)
