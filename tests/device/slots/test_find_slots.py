"""Test what ``devices=`` names, on imagined machines: which GPU, which cores, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from several_gpus import imitate, uuid

from bench.device.slots.find import find_slots
from bench.device.slots.slot import Slot
from bench.errors import UserError

TWO_NODES = ["0-3,8-11", "4-7,12-15"]
"""Eight physical cores of two threads each, four on each of two nodes."""


def cores_of(slots: Sequence[Slot]) -> list[tuple[int, ...]]:
    return [slot.cores for slot in slots]


def test_no_devices_are_no_slots() -> None:
    assert find_slots(None) == []


def test_a_gpu_has_its_share_of_the_cores_of_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imitate(tmp_path, monkeypatch, nodes=[0, 1, 1, 0], cores_of_node=TWO_NODES)
    slots = find_slots(["all"])
    assert [slot.name for slot in slots] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    # The second thread of core 0 is 8: a physical core is never divided.
    assert cores_of(slots) == [(0, 1, 8, 9), (4, 5, 12, 13), (6, 7, 14, 15), (2, 3, 10, 11)]
    assert slots[2] == Slot("cuda:2", "cuda", (6, 7, 14, 15), uuid(2), "NVIDIA L4")
    assert slots[2].device == "cuda:0"
    assert slots[2].variables == {"CUDA_VISIBLE_DEVICES": uuid(2)}
    assert str(slots[2]) == "cuda:2: NVIDIA L4, cores 6-7,14-15"


def test_a_gpu_has_the_same_cores_whichever_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cores are in what must be equal of two rows: a command on one GPU goes on where one on all has stopped."""
    imitate(tmp_path, monkeypatch, nodes=[0, 1, 1, 0], cores_of_node=TWO_NODES)
    every = find_slots(["all"])
    assert find_slots(["cuda:3"]) == [every[3]]
    assert find_slots(["cuda:2", "cuda:0"]) == [every[2], every[0]]
    assert find_slots([uuid(1)]) == [every[1]]


@pytest.mark.parametrize(
    ("nodes", "usable", "expected"),
    [
        # Three on one node: as many for the only one of the other node as for each of those.
        ([0, 0, 0, 1], None, [(0, 8), (1, 9), (2, 10), (4, 12)]),
        # The firmware does not tell of one: all cores are divided among all.
        ([0, -1], None, [(0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)]),
        # A container that may use cores of one node only, and four of its threads.
        ([0, 1], [0, 1, 8, 9], [(0, 8), (1, 9)]),
        # Too few to divide: the workers share them.
        ([0, 0], [3, 11], [(), ()]),
    ],
)
def test_all_gpus_have_equally_many_cores_and_none_shares_one(
    nodes: list[int],
    usable: list[int] | None,
    expected: list[tuple[int, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imitate(tmp_path, monkeypatch, nodes, TWO_NODES, usable=usable)
    assert cores_of(find_slots(["all"])) == expected


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("2,0", [2, 0]), (f"{uuid(1)},3", [1, 3]), ("1,9,0", [1]), ("GPU-3", [3]), ("GPU-,1", []), ("", [])],
)
def test_numbers_are_those_of_the_gpus_that_cuda_may_use_here(
    visible: str, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA counts the entries of its variable, and stops at the first wrong one."""
    imitate(tmp_path, monkeypatch, nodes=[0, 1, 1, 0], cores_of_node=TWO_NODES)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if not expected:
        with pytest.raises(UserError, match="this machine has no GPU that CUDA may use; give sets of cores"):
            find_slots(["all"])
        return
    slots = find_slots(["all"])
    assert [slot.gpu for slot in slots] == [uuid(number) for number in expected]
    assert [slot.name for slot in slots] == [f"cuda:{number}" for number in range(len(expected))]


def test_gpus_of_different_kinds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imitate(tmp_path, monkeypatch, [0, 0, 1], TWO_NODES, names=["NVIDIA L4", "NVIDIA L4", "NVIDIA H100"])
    assert len(find_slots(["cuda:0", "cuda:1"])) == 2
    with pytest.raises(UserError) as refused:
        find_slots(["all"])
    assert str(refused.value) == (
        "devices=all: cuda:0 is a NVIDIA L4 and cuda:2 a NVIDIA H100, whose figures are not compared; give GPUs of one "
        "kind, and the others in a command of their own with another out="
    )


def test_sets_of_cores_are_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imitate(tmp_path, monkeypatch, [], TWO_NODES)
    slots = find_slots(["cpu:0-1+8-9", "cpu:4-5+12+13"])
    assert slots == [Slot("cpu:0-1+8-9", "cpu", (0, 1, 8, 9)), Slot("cpu:4-5+12+13", "cpu", (4, 5, 12, 13))]
    assert slots[0].device == "cpu"
    assert slots[0].variables == {}
    assert str(slots[0]) == "cpu:0-1+8-9: cores 0-1,8-9"


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (["cuda:9"], "devices=cuda:9: cuda:9: no such GPU; cuda:N is there for N in 0-1, as nvidia-smi numbers them"),
        (["cpu:0-3,", "x"], "cpu:0-3,: must be all, GPUs as cuda:0,cuda:2, or sets of cores as cpu:0-7,cpu:8-15"),
        (["cuda"], "cuda: must be all, GPUs as cuda:0,cuda:2, or sets of cores"),
        (["0", "1"], "0: must be all"),
        (["cpu:16"], "core 16 of cpu:16 does not exist, or this process may not use it; it may use 0-15"),
        (["cpu:0-999999999999"], "core 16 of cpu:0-999999999999 does not exist"),
        (["cpu:0-3", "cpu:3-6"], "core 3 stands in cpu:0-3 and in cpu:3-6; give it to one slot"),
        (["cpu:3-0"], "cpu:3-0: 3-0 is no range; give the smaller number first"),
        (["cuda:0", "cuda:0"], "cuda:0 stands twice; a slot runs one worker at a time"),
        (["cuda:0", uuid(0)], f"two of these are the GPU {uuid(0)}"),
        (["cuda:0", "cpu:0-3"], "GPUs and sets of cores in one command; rows of both are never compared"),
        (["all", "cuda:0"], "all is every GPU; give nothing beside it"),
        ([], "is empty; must be all"),
        (["cpu:0-3", "cpu:4-5"], "equally many cores, .*: cpu:0-3 has 4 \\(4 physical\\) and cpu:4-5 has 2 "),
        (["cpu:1", "cpu:9"], "cores 1,9 are threads of one physical core, and cpu:1 and cpu:9 have some of them each"),
        # Two threads of one core are not two cores.
        (["cpu:0+8", "cpu:1-2"], "cpu:0\\+8 has 2 \\(1 physical\\) and cpu:1-2 has 2 \\(2 physical\\)"),
    ],
)
def test_what_does_not_exist_or_cannot_be_shared_is_refused(
    devices: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imitate(tmp_path, monkeypatch, [0, 1], TWO_NODES)
    with pytest.raises(UserError, match=said) as refused:
        find_slots(devices)
    assert str(refused.value).startswith("devices=")
    assert "\n" not in str(refused.value)


def test_without_nvml_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UserError, match=r"^devices=cuda:0: nvidia-ml-py, which finds GPUs, is not installed"):
        find_slots(["cuda:0"])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that pins")
def test_a_process_is_born_on_the_cores_of_its_slot_and_this_one_stays_where_it_was() -> None:
    before = sorted(os.sched_getaffinity(0))
    with Slot("cpu", "cpu", (before[-1],)).starting():
        done = subprocess.run(
            [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"],
            stdout=subprocess.PIPE,
            check=True,
        )
    assert json.loads(done.stdout) == [before[-1]]
    assert sorted(os.sched_getaffinity(0)) == before
