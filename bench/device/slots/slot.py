"""A slot: the part of a machine that one worker at a time has to itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.device.cores import ranges

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable of the environment by which CUDA sees some of the GPUs only."""


@dataclass(frozen=True)
class Slot:
    """One GPU with cores near it, or a set of cores.

    name: as the user calls it: ``cuda:2``, ``cpu:0-7``
    kind: ``cuda`` or ``cpu``
    cores: the cores that its workers may use, by their numbers; none where they may use all that the command may
    gpu: the UUID of its GPU, as NVML spells it; None for a set of cores
    card: the name of that GPU; "" for a set of cores
    """

    name: str
    kind: str
    cores: tuple[int, ...] = ()
    gpu: str | None = None
    card: str = ""

    def __str__(self) -> str:
        """Tell what it is, in a line: ``cuda:2: NVIDIA L4, cores 0-7``."""
        cores = f"cores {ranges(self.cores)}" if self.cores else "all cores, too few to divide"
        return f"{self.name}: {self.card}, {cores}" if self.card else f"{self.name}: {cores}"

    @property
    def device(self) -> str:
        """The ``device`` of a job on this slot: its worker sees one GPU, whatever the number of that is outside."""
        return "cuda:0" if self.kind == "cuda" else self.kind

    @property
    def variables(self) -> Mapping[str, str]:
        """What a worker's environment has for it: by the UUID, since the number of a GPU may move."""
        return {} if self.gpu is None else {VISIBLE: self.gpu}

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Let the processes that this thread starts in the ``with`` block be born on the slot's cores.

        The process that is born has them before its first instruction, so every library that counts cores counts these.
        """
        if not self.cores:
            yield
            return
        before = os.sched_getaffinity(0)  # of this thread alone
        os.sched_setaffinity(0, self.cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)
