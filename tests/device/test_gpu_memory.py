"""Test the memory of a GPU and its use by others, as a fake NVML tells it."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from fake_nvml import MIG_UUID, UUID, FakeNvml

from bench.device import gpu_memory
from bench.device.gpu_memory import DeviceMemory
from bench.device.processes import COMMAND

GPU = torch.device("cuda:0")
OURS = os.getpid()
GB = 1_000_000_000
DRIVER = 600_000_000
"""What the driver holds of an H200 with nobody there."""

NOBODY = 4_194_305
"""An id that no process has: one more than Linux gives at most."""


class Naps:
    """Counts the seconds that would be slept."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def naps() -> Naps:
    return Naps()


def memory(monkeypatch: pytest.MonkeyPatch, naps: Naps, uuid: str = UUID, **told: Any) -> DeviceMemory:
    """Give the memory of the GPUs as a worker begins, by an NVML that tells these things."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(**told))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid=uuid))
    return DeviceMemory(naps)


@pytest.fixture
def other() -> Iterator[int]:
    """Give the id of a process that this one has not started: its parent ends at once."""
    done = subprocess.run(["sh", "-c", "sleep 60 >/dev/null & echo $!"], stdout=subprocess.PIPE, text=True, check=True)
    yield int(done.stdout)
    os.kill(int(done.stdout), 9)


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([(OURS, 900), (NOBODY, 5)], (900, "nvml_process")),
        ([(NOBODY, 900)], (250, "device_difference")),
        ([(OURS, None)], (250, "device_difference")),
    ],
)
def test_device_memory_by_nvml(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, processes: list[tuple[int, int]], expected: tuple[int, str]
) -> None:
    told = memory(monkeypatch, naps, used=[1000, 1250], computing=processes)
    assert told.of_process(GPU) == expected


def test_memory_of_an_instance_of_a_divided_gpu(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    """The GPU's own memory is read first, which is another one."""
    told = memory(monkeypatch, naps, MIG_UUID, mig=True, used=[DRIVER, 100, 350])
    assert told.of_process(GPU) == (250, "device_difference")


@pytest.mark.parametrize(("reserved", "after"), [(0, 5 * GB), (8 * GB, 25 * GB)])
def test_others_that_give_memory_back_leave_the_figure_empty(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, reserved: int, after: int
) -> None:
    """A container sees no processes; the difference is negative, or less than torch alone holds."""
    told = memory(monkeypatch, naps, used=[20 * GB] * 10 + [after])
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    assert told.of_process(GPU) == (None, "device_difference")


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    """NVML's utilisation of our own last worker says nothing then, and nothing waits for it to fall."""
    used = [DRIVER, DRIVER + 3 * GB]
    told = memory(monkeypatch, naps, used=used, computing=[[(OURS, 3 * GB)]], utilization=14)
    assert told.use_by_others(GPU) is None
    assert naps.slept == 0
    assert told.use_by_others(torch.device("cpu")) is None


def test_our_earlier_worker_has_just_gone(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    """NVML lists it for a moment, and its memory is not yet back."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    both, alone = [(OURS, 3 * GB), (ended.pid, 5 * GB)], [(OURS, 3 * GB)]
    used = [DRIVER + 5 * GB, DRIVER + 8 * GB, DRIVER + 8 * GB, DRIVER + 3 * GB]
    told = memory(monkeypatch, naps, used=used, computing=[both, both, both, alone])
    assert told.use_by_others(GPU) is None
    assert 0 < naps.slept < 1


def test_an_ended_worker_that_nobody_waited_for(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    """One of another command too: it has given its memory back."""
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr(gpu_memory, "works_for_us", lambda process: process == OURS)
    told = memory(monkeypatch, naps, used=DRIVER, computing=[(OURS, GB), (zombie.pid, GB)])
    assert told.use_by_others(GPU) is None
    assert naps.slept == 0
    zombie.wait()


def test_other_workers_of_the_command_are_ours(monkeypatch: pytest.MonkeyPatch, naps: Naps, other: int) -> None:
    """With rounds interleaved, the worker of the other side waits with its model on the GPU."""
    processes = [(OURS, 3 * GB), (other, 4 * GB)]
    monkeypatch.setenv(COMMAND, str(other))
    assert memory(monkeypatch, naps, used=DRIVER + 7 * GB, computing=processes).use_by_others(GPU) is None
    monkeypatch.delenv(COMMAND)
    assert memory(monkeypatch, naps, used=DRIVER + 7 * GB, computing=processes).use_by_others(GPU) is not None


@pytest.mark.parametrize("utilization", [0, 98])
def test_another_process_idles_or_computes(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, other: int, utilization: int
) -> None:
    processes = [(OURS, 3 * GB), (other, 12_400_000_000)]
    told = memory(monkeypatch, naps, used=DRIVER + 15_400_000_000, computing=processes, utilization=utilization)
    assert told.use_by_others(GPU) == (
        "the GPU was in use before this job began: another process holds 12.4 GB of its memory; its speed and memory "
        "are not this model's alone"
    )
    assert naps.slept == 0


def test_processes_that_are_listed_and_cannot_be_seen_are_others(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    """As those of the host, of which a container has the list and no /proc."""
    processes = [(OURS, 3 * GB), (NOBODY, 2 * GB), (NOBODY + 1, 3 * GB)]
    told = memory(monkeypatch, naps, used=DRIVER + 8 * GB, computing=processes)
    assert "2 other processes hold 5.0 GB of its memory" in (told.use_by_others(GPU) or "")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([None], "another process uses it (NVML does not tell its memory)"),
        ([None, None], "2 other processes use it (NVML does not tell their memory)"),
        ([None, 2 * GB], "2 other processes hold 2.0 GB of its memory or more (NVML does not tell all)"),
        ([30_000_000], None),  # a server of MPS without a client
        ([30_000_000, 2 * GB], ": another process holds 2.0 GB of its memory;"),
        ([300_000_000], ": another process holds 0.3 GB of its memory;"),
    ],
)
def test_others_whose_memory_is_unknown_or_small(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, held: list[int | None], words: str | None
) -> None:
    processes = [(OURS, GB), *((NOBODY + place, size) for place, size in enumerate(held))]
    told = memory(monkeypatch, naps, used=DRIVER + GB, computing=processes).use_by_others(GPU)
    assert told is None if words is None else words in (told or "")


@pytest.mark.parametrize(("held", "told_of"), [(300_000_000, False), (2 * GB, True)])
def test_a_display_counts_where_it_holds_much(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, other: int, held: int, told_of: bool
) -> None:
    told = memory(monkeypatch, naps, used=DRIVER, computing=[(OURS, GB)], drawing=[(other, held)])
    assert (told.use_by_others(GPU) is not None) == told_of


def test_memory_of_another_container(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    """NVML lists us and not them; what no listed process holds is theirs."""
    told = memory(monkeypatch, naps, used=DRIVER + 8 * GB, computing=[(OURS, 3 * GB)])
    seen = told.use_by_others(GPU)
    assert "processes that cannot be seen from here hold 5.6 GB of its memory" in (seen or "")


@pytest.mark.parametrize(
    ("used", "utilization", "words"),
    [
        (DRIVER, 0, None),
        (DRIVER, [14, 14, 9, 3], None),  # what our last worker did, until NVML has forgotten it
        (DRIVER, 98, "it was busy 98 % of the time while this job ran nothing on it"),
        (7_340_000_000, 0, "processes that cannot be seen from here held 7.3 GB of its memory"),
        ([5 * GB, 5 * GB, DRIVER], 0, None),  # what our last worker held, until the driver has it back
    ],
)
def test_a_container_that_sees_no_processes(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, used: Any, utilization: Any, words: str | None
) -> None:
    told = memory(monkeypatch, naps, used=used, utilization=utilization).use_by_others(GPU)
    assert told is None if words is None else words in (told or "")
    if utilization == 98:
        assert naps.slept > 2  # NVML looks back a second, and renews its figure once a second
    if (used, utilization) == (DRIVER, 0):
        assert naps.slept == 0


@pytest.mark.parametrize(("instance", "told_of"), [(1, True), (2, False)])
def test_an_instance_of_a_divided_gpu(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, other: int, instance: int, told_of: bool
) -> None:
    """Processes of other instances share nothing with ours; there is no utilisation of an instance."""
    processes = [(OURS, GB, 1), (other, 2 * GB, instance)]
    used = [DRIVER, 0, 3 * GB if told_of else GB]
    refuse = ("nvmlDeviceGetUtilizationRates",)
    told = memory(monkeypatch, naps, MIG_UUID, mig=True, used=used, computing=processes, refuse=refuse)
    assert (told.use_by_others(GPU) is not None) == told_of


def test_an_instance_of_a_divided_gpu_in_a_container(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    refuse = ("nvmlDeviceGetUtilizationRates",)
    told = memory(monkeypatch, naps, MIG_UUID, mig=True, used=DRIVER, refuse=refuse)
    assert told.use_by_others(GPU) is None


def test_no_nvml_leaves_the_figure_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert DeviceMemory().of_process(GPU) == (None, None)
    assert DeviceMemory().use_by_others(GPU) is None


@pytest.mark.parametrize("refused", ["nvmlInit", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetHandleByUUID"])
def test_an_nvml_that_refuses_leaves_the_figure_empty(
    monkeypatch: pytest.MonkeyPatch, naps: Naps, refused: str
) -> None:
    told = memory(monkeypatch, naps, used=9 * GB, refuse=(refused,))
    assert told.of_process(GPU) == (None, None)
    if refused == "nvmlDeviceGetHandleByUUID":
        assert told.use_by_others(GPU) is None
