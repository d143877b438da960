"""Python's garbage collector, which looks through all objects again and again while many are made that none is."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Let no garbage be looked for within the block. Beside the objects of torch, it halves the time of large data."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
