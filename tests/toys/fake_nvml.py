"""Imitates NVIDIA's management library on machines without a GPU."""

from __future__ import annotations

import itertools
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

UUID = "8f1d2c3b-0000-1111-2222-333344445555"


class FakeNvml(types.ModuleType):
    """Answers the NVML calls for one imaginary GPU, in nvml.h's units: MHz, milliwatts, degrees Celsius."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(
        self,
        reasons: int | Iterator[int] = 0,
        application_clock: int = 1830,
        refuse: tuple[str, ...] = (),
        watts: float = 300.0,
    ) -> None:
        super().__init__("pynvml")
        self._reasons = itertools.repeat(reasons) if isinstance(reasons, int) else reasons
        self._watts = watts
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
            # Millijoules since the driver was loaded, at a steady power.
            "nvmlDeviceGetTotalEnergyConsumption": lambda h: int(1000 * self._watts * time.perf_counter()),
        }
        for name, answer in answers.items():
            setattr(self, name, self._refuse if name in refuse else answer)

    def _count(self, step: int) -> None:
        self.running += step

    def _handle(self, uuid: str) -> str:
        if uuid != f"GPU-{UUID}":
            raise RuntimeError("Not Found")
        return uuid

    def _refuse(self, *args: Any) -> None:
        raise RuntimeError("Not Supported")
