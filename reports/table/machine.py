"""Describe the ``machine`` part of a result (``bench.device.machine.describe``); unknown facts are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.schema.parts.speed import HostReadings
from bench.schema.row import Row

Machine = Mapping[str, Any]


def machine_key(row: Row) -> tuple[str, ...]:
    """Give a key that is equal for rows of the same kind of machine: processor, usable cores, torch threads, GPU."""
    machine = row.result.machine or {}
    cpu, gpu = _part(machine, "cpu"), _part(machine, "gpu")
    facts = (cpu.get("name"), cpu.get("usable_cores"), machine.get("torch_threads"), gpu.get("name"))
    return tuple(str(fact) for fact in facts)


def machine_text(machine: Machine) -> str:
    """Describe processor, memory, GPU and system, without what changes from one moment to the next."""
    cpu = _part(machine, "cpu")
    usable, logical = cpu.get("usable_cores"), cpu.get("logical_cores")
    return _joined(
        cpu.get("name"),
        usable and (f"{usable} cores" if usable == logical or not logical else f"{usable} of {logical} cores"),
        _given(cpu.get("quota_cores"), "container limit {:g} cores"),
        _given(cpu.get("governor"), "governor {}"),
        _on_or_off("turbo", cpu.get("boost")),
        _on_or_off("SMT", cpu.get("smt")),
        _given(machine.get("torch_threads"), "{} torch threads"),
        _given(_gigabytes(machine.get("host_memory_bytes")), "{} host memory"),
        _gpu_text(_part(machine, "gpu")),
        machine.get("os"),
    )


def pinned_text(readings: Sequence[HostReadings]) -> str:
    """Name the cores that a row was pinned to; "" for none."""
    own = readings[0].cores if readings and readings[0].pinned else []
    return f"{'core' if len(own) == 1 else 'cores'} {', '.join(str(core) for core in own)}" if own else ""


def load_text(readings: Sequence[HostReadings]) -> str:
    """Say for all rows together how high the load was, and how much others took of the cores, as they were timed."""
    others = [percent for one in readings for percent in one.others_percent]
    loads = [f"{load:.1f}" for load in sorted(one.load_1min for one in readings if one.load_1min is not None)]
    return _joined(
        " to ".join(dict.fromkeys((*loads[:1], *loads[-1:]))),
        f"others took up to {max(others):.0f} % of the cores' time" if others else None,
    )


def versions_text(machine: Machine) -> str:
    """List the versions of Python and of the packages."""
    return _joined(
        _given(machine.get("python"), "Python {}"),
        *(f"{name} {version}" for name, version in _part(machine, "versions").items()),
    )


def maskbench_text(machine: Machine) -> str:
    """Give the version and the commit of maskbench itself."""
    own = _part(machine, "maskbench")
    commit = own.get("git_commit")
    changed = " with changes" if own.get("git_dirty") else ""
    return _joined(own.get("version"), commit and f"commit {str(commit)[:10]}{changed}")


def numerics_text(machine: Machine) -> str:
    """List the switches of torch that give up digits or repeatability for speed."""
    names = {
        "tf32_matmul_allowed": "TF32 in matrix products",
        "tf32_cudnn_allowed": "TF32 in convolutions",
        "cudnn_benchmark": "cuDNN benchmark",
        "cudnn_deterministic": "cuDNN deterministic",
    }
    return _joined(*(_on_or_off(text, machine.get(key)) for key, text in names.items()))


def notes_text(machine: Machine) -> str:
    """Join the notes that describing the machine left."""
    return _joined(*machine.get("notes", ()), separator="; ")


def flat_text(value: Any, key: str = "") -> str:
    """Write nested JSON on one line; what is null or empty is left out."""
    name = key.replace("_", " ")
    if value is None or value == {} or value == [] or value == "":
        return ""
    if isinstance(value, dict):
        return _joined(*(flat_text(item, str(inner)) for inner, item in value.items()))
    if isinstance(value, list):
        return f"{name} {'; '.join(flat_text(item) for item in value)}".strip()
    return f"{name} {value}".strip()


def _gpu_text(gpu: Machine) -> str:
    limit, default = gpu.get("power_limit_watts"), gpu.get("default_power_limit_watts")
    lowered = limit is not None and default is not None and limit != default
    return _joined(
        gpu.get("name"),
        _gigabytes(gpu.get("memory_bytes")),
        _given(gpu.get("driver_version"), "driver {}"),
        _given(gpu.get("max_sm_clock_mhz"), "up to {} MHz"),
        _given(limit, "power limit {:g} W" + (f" (default {default:g} W)" if lowered else "")),
        "clocks set by the user" if gpu.get("clocks_set_by_user") else None,
        "clocks limited by power" if gpu.get("clocks_limited_by_power") else None,
        "clocks limited by heat" if gpu.get("clocks_limited_by_heat") else None,
    )


def _part(machine: Machine, key: str) -> Machine:
    part = machine.get(key)
    return part if isinstance(part, dict) else {}


def _gigabytes(size_bytes: float | None) -> str | None:
    return None if size_bytes is None else f"{size_bytes / 1e9:.1f} GB"


def _on_or_off(name: str, value: bool | None) -> str | None:
    return None if value is None else f"{name} {'on' if value else 'off'}"


def _given(value: Any, text: str) -> str | None:
    return None if value is None else text.format(value)


def _joined(*parts: Any, separator: str = ", ") -> str:
    return separator.join(str(part) for part in parts if part)
