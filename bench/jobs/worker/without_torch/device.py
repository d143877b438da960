"""The device of a job by its name: torch's own, or the name alone in a process that has not imported torch."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bench.errors import UserError

if TYPE_CHECKING:
    import torch

CPU = "cpu"


class _Host(str):
    """The name of the host's device, with what is asked of a ``torch.device`` where nothing runs on it."""

    __slots__ = ()
    type = CPU


def device_of(name: str) -> torch.device:
    """Give the device of a name that is resolved already."""
    if name == CPU and "torch" not in sys.modules:
        return cast("torch.device", _Host(CPU))
    import torch

    return torch.device(name)


def resolve_device(name: str) -> torch.device:
    """Give the device of a name on this machine; ``auto`` is ``cuda:0`` where there is one, else ``cpu``.

    torch is imported where the answer needs it.

    Raises:
        UserError: this machine has no such device.
    """
    if name == CPU or (name == "auto" and not _may_have_gpu()):
        return device_of(CPU)
    import torch

    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else CPU)
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"cpu, {', '.join(f'cuda:{i}' for i in range(count))}" if count else CPU
            raise UserError(f"device={name}: torch {torch.__version__} sees no such device here; available: {there}")
        return torch.device("cuda", device.index or 0)
    try:
        torch.empty(1, device=device)
    except Exception as error:
        raise UserError(f"device={name}: {str(error).splitlines()[0]}") from error
    return device


def _may_have_gpu() -> bool:
    """Tell whether torch may find a GPU: False only where the driver's library, without which it finds none, is absent.

    torch asks ``libcuda.so.1``, and AMD's driver by ``/dev/kfd``.
    """
    if "torch" in sys.modules or sys.platform != "linux" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
