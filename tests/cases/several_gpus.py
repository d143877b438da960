"""Imitates a machine of several GPUs: what NVML says of them, and what ``/sys`` says of nodes and cores."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.device import cores
from bench.device.slots import cards, shares


def uuid(number: int) -> str:
    """Give the UUID of a GPU by its place on the bus."""
    return f"GPU-{number}0000000-1111-2222-3333-444444444444"


def imitate(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    nodes: Sequence[int],
    cores_of_node: Sequence[str],
    names: Sequence[str] | None = None,
    usable: Sequence[int] | None = None,
) -> None:
    """Imitate GPUs on these NUMA nodes (-1: the firmware does not tell), and nodes with these lists of cores.

    Two cores whose numbers differ by half the number of all are the threads of one physical core.
    """
    monkeypatch.setitem(sys.modules, "pynvml", _nvml(nodes, names or ["NVIDIA L4"] * len(nodes)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for place, node in enumerate(nodes):
        device = folder / "pci" / f"0000:{place:x}a:00.0"
        device.mkdir(parents=True)
        (device / "numa_node").write_text(f"{node}\n")
    for node, text in enumerate(cores_of_node):
        (folder / "node" / f"node{node}").mkdir(parents=True)
        (folder / "node" / f"node{node}" / "cpulist").write_text(f"{text}\n")
    every = [core for text in cores_of_node for core in shares._listed(text)]
    half = len(every) // 2
    for core in every:
        topology = folder / "cpu" / f"cpu{core}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{core % half},{core % half + half}\n")
    monkeypatch.setattr(cards, "_PCI", folder / "pci")
    monkeypatch.setattr(shares, "_NODES", folder / "node")
    monkeypatch.setattr(cores, "_CPUS", folder / "cpu")
    monkeypatch.setattr("bench.device.slots.find.usable_cores", lambda: sorted(every if usable is None else usable))


def _nvml(nodes: Sequence[int], names: Sequence[str]) -> types.ModuleType:
    nvml = types.ModuleType("pynvml")
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(nodes),
        "nvmlDeviceGetHandleByIndex": lambda place: place,
        "nvmlDeviceGetMaxMigDeviceCount": lambda place: 0,
        "nvmlDeviceGetUUID": lambda place: uuid(place).encode(),
        "nvmlDeviceGetName": lambda place: names[place],
        "nvmlDeviceGetPciInfo": lambda place: types.SimpleNamespace(busId=f"00000000:{place:X}A:00.0"),
    }
    for name, answer in answers.items():
        setattr(nvml, name, answer)
    return nvml
