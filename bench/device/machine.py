"""What machine and which versions a result was measured on. The host's name is left out: results are published."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import runpy
import sys
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.device.commands import git, output
from bench.device.cores import cores_of_command, quota_cores
from bench.device.gpu import nvml_state
from bench.device.host import load_1min

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch

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


_CPUS = Path("/sys/devices/system/cpu")


def describe(device: torch.device | str | None, packages: Iterable[str] = ()) -> dict[str, Any]:
    """The machine, as JSON: processor, memory, system, versions, and the GPU where ``device`` is a CUDA one.

    ``packages`` are distributions whose versions are listed beside those of :data:`PACKAGES`, as far as they are
    installed.

    What cannot be told is None, and ``notes`` says why; nothing is imported to learn its version. In a process that has
    not imported torch, what depends on its state is None. Clocks are those of this moment, ``max_`` what the GPU may
    reach.
    """
    notes: list[str] = []
    return {
        "time_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "host_memory_bytes": _host_memory_bytes(),
        "os": _os(),
        "python": platform.python_version(),
        "versions": {**installed((*PACKAGES, *packages)), **_torch_versions()},
        "maskbench": _maskbench(),
        **_torch_state(notes),
        "gpu": _gpu(device, notes),
        "notes": notes,
    }


def _cpu() -> dict[str, Any]:
    """``usable_cores`` are those the command may run on, ``quota_cores`` the container's limit of computing time.

    ``governor`` is how the system chooses the clock, by its name in Linux; ``boost`` whether the clock may exceed its
    nominal rate (turbo), ``smt`` whether a core runs two threads.
    """
    usable = cores_of_command()
    return {
        "name": _cpu_name(),
        "logical_cores": os.cpu_count(),
        "physical_cores": _physical_cores(),
        "usable_cores": None if usable is None else len(usable),
        "quota_cores": quota_cores(),
        "governor": _governor(),
        "boost": _boost(),
        "smt": _switch("smt/active"),
        "load_1min": load_1min(),
    }


def _governor() -> str | None:
    """Give the governors of all cores, mostly one; None where Linux does not tell, as in a virtual machine."""
    found = sorted({_told(path) for path in _CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""})
    return ", ".join(found) or None


def _boost() -> bool | None:
    no_turbo = _switch("intel_pstate/no_turbo")
    return _switch("cpufreq/boost") if no_turbo is None else not no_turbo


def _switch(name: str) -> bool | None:
    return {"0": False, "1": True}.get(_told(_CPUS / name))


def _told(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""


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


def _host_memory_bytes() -> int | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _os() -> str:
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.platform()}"
    return platform.platform()


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Give the version of each of the packages that is installed, as its metadata says it; none is imported."""
    found = {}
    for name in dict.fromkeys(packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _torch_versions() -> dict[str, str]:
    """Give the versions of torch, and of the CUDA and cuDNN that it was built with.

    cuDNN tells its version only where torch has been imported.
    """
    found = {}
    # torch's own knows what the metadata may not: the build (+cpu, +cu130).
    build = _torch_build()
    for name, key in (("torch", "__version__"), ("cuda", "cuda")):
        if build.get(key):
            found[name] = str(build[key])
    if "torch" in sys.modules:
        import torch

        with contextlib.suppress(RuntimeError):
            if cudnn := torch.backends.cudnn.version():
                found["cudnn"] = str(cudnn)
    return found


def _torch_build() -> dict[str, Any]:
    """What torch says of its build in a file of its own, which imports nothing; empty where torch is not installed."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        spec = importlib.util.find_spec("torch")
        if spec is not None and spec.origin is not None:
            return runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return {}


def _torch_state(notes: list[str]) -> dict[str, Any]:
    """How many threads torch takes, and its switches that trade exactness or repeatability for speed."""
    if "torch" not in sys.modules:
        return {}
    import torch

    reads: dict[str, Callable[[], Any]] = {
        "torch_threads": torch.get_num_threads,
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
    if device is None or not str(device).startswith("cuda"):
        return None
    import torch

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
