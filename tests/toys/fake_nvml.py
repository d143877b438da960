"""Imitates NVIDIA's management library on machines without a GPU."""

from __future__ import annotations

import itertools
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

UUID = "8f1d2c3b-0000-1111-2222-333344445555"
MIG_UUID = "11112222-3333-4444-5555-666677778888"


def each(values: Any) -> Iterator[Any]:
    """Give the entries of a list one after the other, and then its last one for ever.

    Anything else is given itself for ever, a list of processes too, whose entries are tuples.
    """
    if not isinstance(values, list) or isinstance(values[0], tuple):
        return itertools.repeat(values)
    return itertools.chain(values, itertools.repeat(values[-1]))


class FakeNvml(types.ModuleType):
    """Answers the NVML calls for one imaginary GPU, in nvml.h's units: MHz, milliwatts, degrees Celsius, bytes.

    used: bytes of its memory in use, at each call where it is a list
    computing, drawing: the processes that NVML lists, (id, bytes), at each call where it is a list of lists
    utilization: percent, at each call where it is a list
    mig: the GPU is divided, and its second instance, :data:`MIG_UUID`, is ours; ``used`` is of this instance. The
        processes are listed at the whole GPU, with their instances as third items
    """

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(
        self,
        reasons: int | Iterator[int] = 0,
        application_clock: int = 1830,
        refuse: tuple[str, ...] = (),
        watts: float = 300.0,
        used: int | list[int] = 0,
        computing: Any = (),
        drawing: Any = (),
        utilization: int | list[int] = 0,
        mig: bool = False,
    ) -> None:
        super().__init__("pynvml")
        self._reasons = itertools.repeat(reasons) if isinstance(reasons, int) else reasons
        self._watts = watts
        self._mig = mig
        memory, busy = each(used), each(utilization)
        lists = {"Compute": each(computing), "Graphics": each(drawing)}
        self.running = 0
        answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": lambda: self._count(1),
            "nvmlShutdown": lambda: self._count(-1),
            "nvmlDeviceGetHandleByUUID": self._handle,
            "nvmlSystemGetDriverVersion": lambda: b"550.54.15",
            "nvmlDeviceGetClockInfo": lambda h, kind: {1: 345, 2: 2619}[kind],
            "nvmlDeviceGetMaxClockInfo": lambda h, kind: {1: 1980, 2: 2619}[kind],
            "nvmlDeviceGetApplicationsClock": lambda h, kind: application_clock,
            "nvmlDeviceGetDefaultApplicationsClock": lambda h, kind: 1830,
            "nvmlDeviceGetPowerManagementLimit": lambda h: 350000,
            "nvmlDeviceGetPowerManagementDefaultLimit": lambda h: 700000,
            "nvmlDeviceGetTemperature": lambda h, sensor: 41,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda h: next(self._reasons),
            "nvmlDeviceGetPowerUsage": lambda h: int(1000 * watts),
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda place: f"GPU-{UUID}",
            "nvmlDeviceGetUUID": lambda h: h.encode(),
            "nvmlDeviceGetMemoryInfo": lambda h: types.SimpleNamespace(used=next(memory)),
            "nvmlDeviceGetUtilizationRates": lambda h: types.SimpleNamespace(gpu=next(busy)),
            "nvmlDeviceGetComputeRunningProcesses": lambda h: self._processes(h, next(lists["Compute"])),
            "nvmlDeviceGetGraphicsRunningProcesses": lambda h: self._processes(h, next(lists["Graphics"])),
            "nvmlDeviceGetMaxMigDeviceCount": lambda h: 7 if mig else 0,
            "nvmlDeviceGetMigDeviceHandleByIndex": self._instance,
            "nvmlDeviceGetGpuInstanceId": lambda h: 1 if h.startswith("MIG-") else self._refuse(),
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda h: f"GPU-{UUID}",
            # Millijoules since the driver was loaded, at a steady power.
            "nvmlDeviceGetTotalEnergyConsumption": lambda h: int(1000 * self._watts * time.perf_counter()),
        }
        for name, answer in answers.items():
            setattr(self, name, self._refuse if name in refuse else answer)

    def _count(self, step: int) -> None:
        self.running += step

    def _handle(self, uuid: str) -> str:
        if uuid not in (f"GPU-{UUID}", f"MIG-{MIG_UUID}" if self._mig else ""):
            raise RuntimeError("Not Found")
        return uuid

    def _instance(self, gpu: str, place: int) -> str:
        if place != 1:
            raise RuntimeError("Not Found")
        return f"MIG-{MIG_UUID}"

    def _processes(self, handle: str, listed: Iterable[Sequence[Any]]) -> list[types.SimpleNamespace]:
        if handle.startswith("MIG-"):
            self._refuse()
        found = []
        for process, memory, *instance in listed:
            found.append(types.SimpleNamespace(pid=process, usedGpuMemory=memory))
            # What nvml.h has for a GPU that is not divided.
            found[-1].gpuInstanceId = instance[0] if instance else 0xFFFFFFFF
        return found

    def _refuse(self, *args: Any) -> None:
        raise RuntimeError("Not Supported")
