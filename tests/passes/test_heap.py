"""Tests that memory of masks is used again, by the pages that a process had to wait for."""

from __future__ import annotations

import platform

import pytest
from peaks import printed_by

MASKS_OF_AN_IMAGE = 100 * 480 * 640
PAGE = 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_masks_that_another_thread_gives_up_are_the_memory_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images' masks are alive at once, and the oldest is given up by another thread, as in the accuracy pass.

    What glibc gives back without being told differs from one start to the next, so it is told to give all back first.
    """
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    numbers = printed_by(f"""
import resource
import threading
from collections import deque
import torch
from bench.passes.heap import keep_freed_memory

def new_pages(images):
    alive = deque()
    def one():
        alive.append(torch.ones({MASKS_OF_AN_IMAGE}, dtype=torch.bool))
        if len(alive) > 2:
            oldest = [alive.popleft()]
            thread = threading.Thread(target=oldest.clear)
            thread.start()
            thread.join()
    for _ in range(10):
        one()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(images):
        one()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / images

print(new_pages(30))
assert keep_freed_memory()
print(new_pages(30))
""")
    before, after = numbers
    assert before > 0.9 * MASKS_OF_AN_IMAGE / PAGE
    assert after < 0.3 * MASKS_OF_AN_IMAGE / PAGE
