"""What NVML says of the memory of the GPUs: how much this process holds, and whether others use the GPU."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.device.gpu import as_text, handle_of
from bench.device.processes import can_be_seen, has_ended, works_for_us

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch

OTHERS_BYTES = 1_000_000_000
"""Memory from which on others count as using the GPU where they cannot be seen. The driver itself holds 0.5 to 0.7 GB
of a large GPU, and a display some hundred megabytes."""

OTHERS_BUSY_PERCENT = 5
"""Share of the time in which the GPU is busy from which on others count as using it, where they cannot be seen."""

IDLE_BYTES = 100_000_000
"""A process that holds less has no context of CUDA, which takes more: it cannot compute, as the server of MPS."""

_LOOK_BACK_SECONDS = 2.5
"""Longer than NVML's utilisation looks back: it is of the last second at most, and renewed once a second at least."""

_GOING_SECONDS = 1.0
"""How long NVML may list a process that has ended, and the driver may take to give its memory back."""

_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class _Listed:
    """A process that NVML lists: its memory in bytes, None where that is not told; its instance of a divided GPU."""

    memory: int | None
    instance: int | None
    computes: bool


class DeviceMemory:
    """The memory of all GPUs as it was when this object was made, and what has changed since.

    Make it before torch creates its CUDA context, so that the context counts. Where there is no NVML every answer is
    None; no method raises.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._used_before: dict[str, int] = {}
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            for handle in _devices(pynvml):
                self._used_before[as_text(pynvml.nvmlDeviceGetUUID(handle))] = self._settled(pynvml, handle)

    def use_by_others(self, device: torch.device) -> str | None:
        """Return a sentence for the notes of the result where others use the GPU, else None.

        The figures of speed and memory cannot be trusted then. Call it when this process has its CUDA context and runs
        nothing on the GPU.

        Where NVML lists this process, it lists the others too. In a container it may list none: then memory tells that
        was taken before this process had any, and where there is none, how busy the GPU is while this process rests.
        """
        if device.type != "cuda":
            return None
        with contextlib.suppress(Exception):
            import pynvml

            handle = handle_of(pynvml, _uuid(device))
            seen = self._seen(pynvml, handle)
            if seen is not None:
                return (
                    f"the GPU was in use before this job began: {seen}; its speed and memory are not this model's alone"
                )
        return None

    def of_process(self, device: torch.device) -> tuple[int | None, str | None]:
        """Return the bytes that this process holds on the GPU, and how they were read.

        ``nvml_process``: NVML lists the process. ``device_difference``: NVML does not see our pid, as in a container,
        so the growth of the whole GPU since this object was made stands for it. Where that is less than torch alone
        holds, others gave memory back meanwhile, and it is None.
        """
        try:
            import pynvml
            import torch

            handle = handle_of(pynvml, _uuid(device))
            own = _processes(pynvml, handle).get(os.getpid())
            if own is not None and own.memory:
                return own.memory, "nvml_process"
            used = pynvml.nvmlDeviceGetMemoryInfo(handle).used
            grown = used - self._used_before[as_text(pynvml.nvmlDeviceGetUUID(handle))]
            return (grown if grown >= torch.cuda.memory_reserved(device) else None), "device_difference"
        except Exception:  # NVML is absent, refuses, or does not know this GPU: the figure stays empty
            return None, None

    def _seen(self, nvml: Any, handle: Any) -> str | None:
        """Tell in a clause what others do on the GPU; None where nobody is there."""
        listed = _processes(nvml, handle)
        if os.getpid() in listed:
            return self._by_processes(nvml, handle) or self._hidden(nvml, handle)
        before = self._used_before.get(as_text(nvml.nvmlDeviceGetUUID(handle)), 0)
        if before >= OTHERS_BYTES:
            return f"processes that cannot be seen from here held {before / 1e9:.1f} GB of its memory"
        busy = self._steadily_busy(nvml, handle)
        return None if busy is None else f"it was busy {busy} % of the time while this job ran nothing on it"

    def _by_processes(self, nvml: Any, handle: Any) -> str | None:
        """Tell how many others NVML lists on our part of the GPU; a display's process counts if it holds much."""
        others = [one for one in self._others(nvml, handle) if one.memory is None or one.memory >= IDLE_BYTES]
        memory = sum(one.memory or 0 for one in others)
        if not any(one.computes for one in others) and memory < OTHERS_BYTES:
            return None
        alone = len(others) == 1
        who = "another process" if alone else f"{len(others)} other processes"
        if not memory:
            of_whom = "its" if alone else "their"
            return f"{who} {'uses' if alone else 'use'} it (NVML does not tell {of_whom} memory)"
        more = " or more (NVML does not tell all)" if any(one.memory is None for one in others) else ""
        return f"{who} {'holds' if alone else 'hold'} {memory / 1e9:.1f} GB of its memory{more}"

    def _others(self, nvml: Any, handle: Any) -> list[_Listed]:
        """Give the processes of others; one that has just ended is listed for a moment, and is none."""
        for last in self._looks():
            listed = _processes(nvml, handle)
            own = listed.get(os.getpid())
            others = {
                process: one
                for process, one in listed.items()
                if not works_for_us(process)
                and not has_ended(process)
                and (own is None or one.instance == own.instance)
            }
            if last or all(can_be_seen(process) for process in others):
                break
        return list(others.values())

    def _hidden(self, nvml: Any, handle: Any) -> str | None:
        """Tell of memory that no listed process holds, as others in another container do; None where there is little.

        What an ended process of ours held may take a moment to be given back.
        """
        hidden = 0
        for _ in self._looks():
            memory = [one.memory for one in _processes(nvml, handle).values()]
            hidden = nvml.nvmlDeviceGetMemoryInfo(handle).used - sum(size or 0 for size in memory)
            if hidden < OTHERS_BYTES or None in memory:
                return None
        return f"processes that cannot be seen from here hold {hidden / 1e9:.1f} GB of its memory"

    def _settled(self, nvml: Any, handle: Any) -> int:
        """Give the bytes in use; wait a moment where they are many and no process holds them, which a worker has left.

        Where processes can be seen, or little is in use, this takes no time.
        """
        for last in self._looks():
            used: int = nvml.nvmlDeviceGetMemoryInfo(handle).used
            if last or used < OTHERS_BYTES or _processes(nvml, handle):
                break
        return used

    def _looks(self) -> Iterator[bool]:
        """Pause between looks for as long as what has ended may still be seen; give whether a look is the last."""
        for left in reversed(range(round(_GOING_SECONDS / _PAUSE_SECONDS))):
            yield not left
            if left:
                self._sleep(_PAUSE_SECONDS)

    def _steadily_busy(self, nvml: Any, handle: Any) -> int | None:
        """Give how busy the GPU is, if every reading of a time longer than NVML looks back says so; else None."""
        readings = []
        for _ in range(round(_LOOK_BACK_SECONDS / _PAUSE_SECONDS)):
            readings.append(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            if readings[-1] < OTHERS_BUSY_PERCENT:
                return None
            self._sleep(_PAUSE_SECONDS)
        return int(readings[-1])


def _devices(nvml: Any) -> Iterator[Any]:
    """Give the handle of every GPU, and of every instance of a divided one (MIG)."""
    for place in range(nvml.nvmlDeviceGetCount()):
        gpu = nvml.nvmlDeviceGetHandleByIndex(place)
        yield gpu
        with contextlib.suppress(Exception):
            instances = range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu))
            for instance in instances:
                with contextlib.suppress(Exception):  # not every place holds one
                    yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, instance)


def _processes(nvml: Any, handle: Any) -> dict[int, _Listed]:
    """Give the processes that NVML lists, by their ids; none where it refuses.

    Those of an instance of a divided GPU may be listed at the whole GPU alone.
    """
    listed = _listed_at(nvml, handle)
    if not listed:
        with contextlib.suppress(Exception):
            instance = nvml.nvmlDeviceGetGpuInstanceId(handle)
            whole = _listed_at(nvml, nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle))
            listed = {process: one for process, one in whole.items() if one.instance == instance}
    return listed


def _listed_at(nvml: Any, handle: Any) -> dict[int, _Listed]:
    listed: dict[int, _Listed] = {}
    for kind in ("Graphics", "Compute"):
        with contextlib.suppress(Exception):
            for process in getattr(nvml, f"nvmlDeviceGet{kind}RunningProcesses")(handle):
                instance = getattr(process, "gpuInstanceId", None)
                listed[process.pid] = _Listed(process.usedGpuMemory, instance, kind == "Compute")
    return listed


def _uuid(device: torch.device) -> str:
    """Return the UUID of torch's device as torch spells it."""
    import torch

    return str(torch.cuda.get_device_properties(device).uuid)
