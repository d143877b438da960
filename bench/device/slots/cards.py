"""The GPUs of this machine by NVML, without CUDA: asking leaves no memory on a GPU that another process measures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.device.gpu import as_text
from bench.device.slots.slot import VISIBLE

_PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True)
class Card:
    """A GPU, or an instance of a divided one (MIG).

    uuid: as NVML spells it
    name: of its kind
    node: the NUMA node that it is connected to; None where the system does not tell
    number: N of ``cuda:N`` in this process, in the order of nvidia-smi; None where CUDA may not use it here
    """

    uuid: str
    name: str
    node: int | None
    number: int | None = None


class NoCardsError(Exception):
    """NVML cannot be asked; the message says why."""


def cards() -> list[Card]:
    """Give all GPUs of this machine in the order of their places on the bus, and the numbers of those visible here.

    Raises:
        NoCardsError: NVML cannot be asked.
    """
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except ModuleNotFoundError:
        raise NoCardsError("nvidia-ml-py, which finds GPUs, is not installed; install it") from None
    except Exception as error:
        raise NoCardsError(f"no GPU is found: NVML: {error}") from error
    try:
        found = [card for place in range(nvml.nvmlDeviceGetCount()) for card in _at(nvml, place)]
    except Exception as error:
        raise NoCardsError(f"NVML does not list the GPUs: {error}") from error
    finally:
        nvml.nvmlShutdown()
    return _numbered(found, os.environ.get(VISIBLE))


def _at(nvml: Any, place: int) -> Iterator[Card]:
    """Give the GPU at a place, or its instances where it is divided."""
    gpu = nvml.nvmlDeviceGetHandleByIndex(place)
    node = _node(nvml, gpu)
    instances = []
    with contextlib.suppress(Exception):
        for instance in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
            with contextlib.suppress(Exception):  # not every place holds one
                instances.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, instance))
    for handle in instances or [gpu]:
        name = as_text(nvml.nvmlDeviceGetName(gpu))
        if instances:
            with contextlib.suppress(Exception):  # the name of an instance has its size in it
                name = as_text(nvml.nvmlDeviceGetName(handle))
        yield Card(as_text(nvml.nvmlDeviceGetUUID(handle)), name, node)


def _node(nvml: Any, gpu: Any) -> int | None:
    with contextlib.suppress(Exception):
        domain, _, place = as_text(nvml.nvmlDeviceGetPciInfo(gpu).busId).lower().partition(":")
        node = int((_PCI / f"{domain[-4:]}:{place}" / "numa_node").read_text(encoding="ascii"))
        return node if node >= 0 else None  # -1: the firmware does not tell
    return None


def _numbered(found: list[Card], visible: str | None) -> list[Card]:
    """Number the cards that CUDA may use here: all, or those of the variable, up to the first wrong one."""
    if visible is None:
        return [replace(card, number=number) for number, card in enumerate(found)]
    numbers: dict[str, int] = {}
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdigit():
            matching = found[int(entry) : int(entry) + 1]
        else:
            matching = [card for card in found if entry and card.uuid.startswith(entry)]
        if len(matching) != 1:
            break
        numbers.setdefault(matching[0].uuid, len(numbers))
    return [replace(card, number=numbers.get(card.uuid)) for card in found]
