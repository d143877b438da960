"""What readers ask of the ``machine`` of a result, which :func:`bench.device.machine.describe` makes.

Every fact may be None or absent; facts that no reader asks for need no line here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.files.bounds import Amount, Count


@dataclass
class Processor:
    """The processor. ``quota_cores`` is a container's limit of computing time, ``load_1min`` the load of the machine
    over the minute before the job; ``boost`` is turbo, ``smt`` two threads a core."""

    name: str | None = None
    logical_cores: Count | None = None
    physical_cores: Count | None = None
    usable_cores: Count | None = None
    quota_cores: Amount | None = None
    governor: str | None = None
    boost: bool | None = None
    smt: bool | None = None
    load_1min: Amount | None = None


@dataclass
class GraphicsProcessor:
    """The GPU, by torch and NVML."""

    name: str | None = None
    memory_bytes: Count | None = None
    driver_version: str | None = None
    sm_clock_mhz: Count | None = None
    max_sm_clock_mhz: Count | None = None
    power_limit_watts: Amount | None = None
    default_power_limit_watts: Amount | None = None
    clocks_set_by_user: bool | None = None
    clocks_limited_by_power: bool | None = None
    clocks_limited_by_heat: bool | None = None


@dataclass
class Program:
    """maskbench itself."""

    version: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None


@dataclass
class Machine:
    """The machine, and the versions of what ran on it. ``versions`` are by the name of the package."""

    time_utc: str | None = None
    cpu: Processor | None = None
    host_memory_bytes: Count | None = None
    os: str | None = None
    python: str | None = None
    versions: dict[str, str | None] | None = None
    maskbench: Program | None = None
    torch_threads: Count | None = None
    tf32_matmul_allowed: bool | None = None
    tf32_cudnn_allowed: bool | None = None
    cudnn_benchmark: bool | None = None
    cudnn_deterministic: bool | None = None
    gpu: GraphicsProcessor | None = None
    notes: list[str] = field(default_factory=list)
