"""Says when processes beside the model's pay: they cost their start, and a core that the model may need."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.device.cores import usable_cores

if TYPE_CHECKING:
    import torch

LEAST_IMAGES = 30
LEAST_IMAGES_ON_FEW_CORES = 500
"""Fewer images than this are read and evaluated in the model's process: three processes start in 0.9 s of a core, and
where they share fewer than three cores, that is seen in the time of the pass."""

LOADERS = 2
"""The most processes that read images: one reads about 200 photographs of 640x480 a second."""


def loaders_that_pay(images: int, device: torch.device) -> int:
    """Give how many processes should read images while another one evaluates; 0 where all stays in this process.

    A model on a GPU leaves the cores of the host to others, and what slows it down is another thread of its own process
    that holds the interpreter's lock. A model that computes on all cores is slowed down by any work beside it,
    whatever process does it; there a process would cost its start alone. Call this function in the model's thread.
    """
    import torch

    cores = len(usable_cores() or range(os.cpu_count() or 1))
    free = cores - (1 if device.type != "cpu" else torch.get_num_threads())
    least = LEAST_IMAGES if free >= 3 else LEAST_IMAGES_ON_FEW_CORES
    if images < least or free < 1 or os.name != "posix":
        return 0
    return min(LOADERS, free)
