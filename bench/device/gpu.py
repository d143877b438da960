"""What NVML says of a GPU: its clocks, temperature, power and energy, and what throttles it.

What NVML says of the GPU's memory is in :mod:`bench.device.gpu_memory`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.schema.parts.speed import GpuReadings

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch

THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}
"""Bits of nvmlClocksEventReasons (nvml.h) that tell why the GPU is throttled: the same work takes longer then."""

# More of these bits, written as numbers: their names changed from ThrottleReason to EventReason.
_SET_BY_USER = 0x2
_POWER = 0x4 | 0x80
_HEAT = 0x20 | 0x40

INTERVAL_SECONDS = 0.1
"""Time between two readings: NVML renews most values about as often, and a reading takes a millisecond."""


@dataclass(frozen=True)
class Reading:
    """The state of a GPU at one moment. A value that the GPU does not tell is None.

    throttled: why the GPU is throttled, names of :data:`THROTTLE_REASONS`
    """

    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_celsius: int | None
    power_watts: float | None
    throttled: tuple[str, ...]


class Gpu:
    """One GPU, asked through NVML; the UUID is spelled as torch spells it.

    Raises:
        Exception: NVML is absent, refuses, or does not know the GPU; :meth:`of` gives None then.
    """

    def __init__(self, uuid: str) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._handle = handle_of(pynvml, uuid)

    @classmethod
    def of(cls, device: torch.device) -> Gpu | None:
        """Return the GPU of a CUDA device; None for any other device, and where NVML cannot be asked."""
        if device.type != "cuda":
            return None
        with contextlib.suppress(Exception):
            import torch

            return cls(str(torch.cuda.get_device_properties(device).uuid))
        return None

    def read(self) -> Reading:
        """Read the GPU's state of this moment."""
        nvml, handle = self._nvml, self._handle
        milliwatts = _told(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        reasons = _told(lambda: clocks_event_reasons(nvml, handle)) or 0
        return Reading(
            sm_clock_mhz=_told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            memory_clock_mhz=_told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            temperature_celsius=_told(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            power_watts=None if milliwatts is None else milliwatts / 1000,
            throttled=tuple(name for bit, name in THROTTLE_REASONS.items() if reasons & bit),
        )

    def energy_joules(self) -> float | None:
        """Return the energy used since the driver was loaded; None where the GPU has no counter (before Volta)."""
        millijoules = _told(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None if millijoules is None else millijoules / 1000


class Watch:
    """Reads a GPU between the batches of a timing, at most once in :data:`INTERVAL_SECONDS`.

    Without a GPU there are no readings, and :meth:`throttled` is always False.
    """

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._readings: list[Reading] = []
        self._last = -INTERVAL_SECONDS

    def throttled(self) -> bool:
        """Say whether the GPU is throttled, by the newest reading."""
        now = time.monotonic()
        if self._gpu is not None and now - self._last >= INTERVAL_SECONDS:
            self._readings.append(self._gpu.read())
            self._last = now
        return bool(self._readings and self._readings[-1].throttled)

    def readings(self, dropped_batches: int, kept_throttled: bool) -> GpuReadings | None:
        """Return all readings in the form of the result; None without a GPU."""
        if not self._readings:
            return None
        counts: dict[str, int] = {}
        for reading in self._readings:
            for name in reading.throttled:
                counts[name] = counts.get(name, 0) + 1
        return GpuReadings(
            sm_clock_mhz=[reading.sm_clock_mhz for reading in self._readings],
            memory_clock_mhz=[reading.memory_clock_mhz for reading in self._readings],
            temperature_celsius=[reading.temperature_celsius for reading in self._readings],
            power_watts=[reading.power_watts for reading in self._readings],
            throttled=counts,
            dropped_batches=dropped_batches,
            kept_throttled=kept_throttled,
        )


def _told(read: Any) -> Any:
    """Return what a reading gives, or None where the GPU refuses it."""
    try:
        return read()
    except Exception:
        return None


def nvml_state(uuid: str) -> tuple[dict[str, Any], list[str]]:
    """Return what NVML says of the GPU with this UUID (torch's spelling), and a note for everything that it refuses.

    ``clocks_set_by_user`` is true where application clocks differ from their default, or where the driver says that
    such a setting holds the clocks down. NVML cannot be asked for locked clocks themselves.
    """
    state: dict[str, Any] = dict.fromkeys(_STATE)
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except ModuleNotFoundError:
        return state, ["NVML: nvidia-ml-py is not installed, so driver, clocks and power limit are unknown"]
    except Exception as error:
        return state, [f"NVML: {error}; driver, clocks and power limit are unknown"]
    notes = []
    try:
        handle = handle_of(nvml, uuid)
        for key, read in _STATE.items():
            try:
                state[key] = read(nvml, handle)
            except Exception as error:
                notes.append(f"NVML: {key}: {error}")
    except Exception as error:
        notes.append(f"NVML: no GPU {uuid}: {error}")
    finally:
        nvml.nvmlShutdown()
    return state, notes


def nvml_uuid(uuid: str) -> str:
    """Return a GPU's UUID as NVML spells it, from torch's spelling."""
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def handle_of(nvml: Any, uuid: str) -> Any:
    """Return NVML's handle of a GPU, or of an instance of a divided one (MIG), from torch's spelling of its UUID.

    Raises:
        Exception: NVML does not know it.
    """
    try:
        return nvml.nvmlDeviceGetHandleByUUID(nvml_uuid(uuid))
    except Exception:
        if uuid.startswith(("GPU-", "MIG-")):
            raise
        with contextlib.suppress(Exception):  # torch leaves out which of the two it is
            return nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
        raise


def clocks_event_reasons(nvml: Any, handle: Any) -> int:
    """Return what limits the GPU's clocks now, as bits of nvmlClocksEventReasons of nvml.h."""
    # nvidia-ml-py before 12.535 knows only the older name.
    read = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    reasons: int = (read or nvml.nvmlDeviceGetCurrentClocksThrottleReasons)(handle)
    return reasons


def _set_by_user(nvml: Any, handle: Any) -> bool:
    if clocks_event_reasons(nvml, handle) & _SET_BY_USER:
        return True
    chosen = nvml.nvmlDeviceGetApplicationsClock(handle, nvml.NVML_CLOCK_SM)
    return bool(chosen != nvml.nvmlDeviceGetDefaultApplicationsClock(handle, nvml.NVML_CLOCK_SM))


_STATE: dict[str, Callable[[Any, Any], Any]] = {
    "driver_version": lambda nvml, _: as_text(nvml.nvmlSystemGetDriverVersion()),
    "sm_clock_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
    "max_sm_clock_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM),
    "memory_clock_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
    "max_memory_clock_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_MEM),
    "power_limit_watts": lambda nvml, gpu: nvml.nvmlDeviceGetPowerManagementLimit(gpu) / 1000,
    "default_power_limit_watts": lambda nvml, gpu: nvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu) / 1000,
    "temperature_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    "clocks_set_by_user": _set_by_user,
    "clocks_limited_by_power": lambda nvml, gpu: bool(clocks_event_reasons(nvml, gpu) & _POWER),
    "clocks_limited_by_heat": lambda nvml, gpu: bool(clocks_event_reasons(nvml, gpu) & _HEAT),
}
"""How each entry of :func:`nvml_state` is read from the library and a handle of the GPU."""


def as_text(value: str | bytes) -> str:
    """Return a text of NVML as str; older versions of nvidia-ml-py give bytes."""
    return value.decode() if isinstance(value, bytes) else value
