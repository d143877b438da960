"""What machine and which versions a result was measured on. The host's name is left out: results are published."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from bench.device.commands import git, output

PACKAGES = (
    "torch",
    "hotcoco",
    "pycocotools",
    "faster-coco-eval",
    "numpy",
    "pillow",
    "safetensors",
    "nvidia-ml-py",
)
"""Distributions whose version can move a figure of any model; a model's class adds those of its library."""

# nvmlClocksEventReasons of nvml.h, by their values: their names changed from ThrottleReason to EventReason.
_SET_BY_USER = 0x2
_POWER = 0x4 | 0x80
_HEAT = 0x20 | 0x40


def describe(device: torch.device | str | None, packages: Iterable[str] = ()) -> dict[str, Any]:
    """The machine, as JSON: processor, memory, system, versions, and the GPU where ``device`` is a CUDA one.

    ``packages`` are distributions whose versions are listed beside those of :data:`PACKAGES`, as far as they are
    installed.

    What cannot be told is None, and ``notes`` says why; nothing is imported to learn its version. Clocks are those of
    this moment, ``max_`` what the GPU may reach.
    """
    notes: list[str] = []
    return {
        "time_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "host_memory_bytes": _host_memory_bytes(),
        "os": _os(),
        "python": platform.python_version(),
        "versions": _versions(packages),
        "maskbench": _maskbench(),
        "torch_threads": torch.get_num_threads(),
        **_numerics(notes),
        "gpu": _gpu(device, notes),
        "notes": notes,
    }


def _cpu() -> dict[str, Any]:
    """``usable_cores`` are those this process may run on, ``quota_cores`` the container's limit of computing time."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "name": _cpu_name(),
        "logical_cores": os.cpu_count(),
        "physical_cores": _physical_cores(),
        "usable_cores": usable,
        "quota_cores": _quota_cores(),
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    brand = output("sysctl", "-n", "machdep.cpu.brand_string") if platform.system() == "Darwin" else None
    return brand or platform.processor() or platform.machine()


def _physical_cores() -> int | None:
    # The worker may run in another environment, which has torch but perhaps not psutil.
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    return psutil.cpu_count(logical=False)


def _quota_cores() -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    return None


def _host_memory_bytes() -> int | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _os() -> str:
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.platform()}"
    return platform.platform()


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed packages by name, and the CUDA and cuDNN that torch was built with."""
    found = {}
    for name in dict.fromkeys((*PACKAGES, *packages)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    # torch's own knows what the metadata may not: the build (+cpu, +cu130).
    found["torch"] = str(torch.__version__)
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    with contextlib.suppress(RuntimeError):
        if cudnn := torch.backends.cudnn.version():
            found["cudnn"] = str(cudnn)
    return found


def _numerics(notes: list[str]) -> dict[str, Any]:
    """torch's switches that trade exactness or repeatability for speed."""
    reads: dict[str, Callable[[], Any]] = {
        "float32_matmul_precision": torch.get_float32_matmul_precision,
        "tf32_matmul_allowed": lambda: torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn_allowed": lambda: torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": lambda: torch.backends.cudnn.benchmark,
        "cudnn_deterministic": lambda: torch.backends.cudnn.deterministic,
    }
    found: dict[str, Any] = dict.fromkeys(reads)
    for key, read in reads.items():
        try:
            found[key] = read()
        except RuntimeError as error:
            # From torch 2.9 on the old switches cannot be read once a program has used the new fp32_precision.
            notes.append(f"torch: {key}: {' '.join(str(error).split())[:200]}")
    return found


def _maskbench() -> dict[str, Any]:
    """``git_dirty``: tracked files differ from the commit. Both are None outside a checkout."""
    version = None
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("maskbench")
    root = Path(__file__).resolve().parents[2]
    commit = changes = None
    # Asked for here, since git would go up to any repository that this package lies in.
    if (root / ".git").exists():
        commit = git(root, "rev-parse", "HEAD")
        changes = git(root, "status", "--porcelain", "--untracked-files=no")
    return {"version": version, "git_commit": commit, "git_dirty": None if changes is None else changes != ""}


def _gpu(device: torch.device | str | None, notes: list[str]) -> dict[str, Any] | None:
    if device is None or torch.device(device).type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    state, nvml_notes = nvml_state(str(getattr(properties, "uuid", "")))
    notes += nvml_notes
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        **state,
    }


def nvml_state(uuid: str) -> tuple[dict[str, Any], list[str]]:
    """What NVML says of the GPU with this UUID (as torch spells it), and a note for what it does not say.

    ``clocks_set_by_user``: application clocks differ from their default, or the driver says that such a setting holds
    the clocks down. NVML cannot be asked for locked clocks themselves.
    """
    state: dict[str, Any] = dict.fromkeys(
        (
            "driver_version",
            "sm_clock_mhz",
            "max_sm_clock_mhz",
            "memory_clock_mhz",
            "max_memory_clock_mhz",
            "power_limit_watts",
            "default_power_limit_watts",
            "temperature_celsius",
            "clocks_set_by_user",
            "clocks_limited_by_power",
            "clocks_limited_by_heat",
        )
    )
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except ModuleNotFoundError:
        return state, ["NVML: nvidia-ml-py is not installed, so driver, clocks and power limit are unknown"]
    except Exception as error:
        return state, [f"NVML: {error}; driver, clocks and power limit are unknown"]
    notes = []
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(nvml_uuid(uuid))
        for key, read in _readings(nvml, handle).items():
            try:
                state[key] = read()
            except Exception as error:
                notes.append(f"NVML: {key}: {error}")
    except Exception as error:
        notes.append(f"NVML: no GPU {uuid}: {error}")
    finally:
        nvml.nvmlShutdown()
    return state, notes


def nvml_uuid(uuid: str) -> str:
    """A GPU's UUID as NVML spells it, from torch's spelling."""
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def clocks_event_reasons(nvml: Any, handle: Any) -> int:
    """What holds the GPU's clocks now, nvmlClocksEventReasons of nvml.h."""
    # nvidia-ml-py before 12.535 knows only the older name.
    read = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    reasons: int = (read or nvml.nvmlDeviceGetCurrentClocksThrottleReasons)(handle)
    return reasons


def _readings(nvml: Any, handle: Any) -> dict[str, Callable[[], Any]]:
    def reasons() -> int:
        return clocks_event_reasons(nvml, handle)

    def set_by_user() -> bool:
        if reasons() & _SET_BY_USER:
            return True
        chosen = nvml.nvmlDeviceGetApplicationsClock(handle, nvml.NVML_CLOCK_SM)
        return chosen != nvml.nvmlDeviceGetDefaultApplicationsClock(handle, nvml.NVML_CLOCK_SM)

    return {
        "driver_version": lambda: _text(nvml.nvmlSystemGetDriverVersion()),
        "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "max_sm_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        "max_memory_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM),
        "power_limit_watts": lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000,
        "default_power_limit_watts": lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000,
        "temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        "clocks_set_by_user": set_by_user,
        "clocks_limited_by_power": lambda: bool(reasons() & _POWER),
        "clocks_limited_by_heat": lambda: bool(reasons() & _HEAT),
    }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
