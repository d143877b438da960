"""Test the lock of a GPU: one command at a time, whoever the users are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from several_gpus import imitate, uuid

from bench.device.slots import gpu_lock
from bench.device.slots.gpu_lock import VARIABLE, gpus_locked, gpus_of
from bench.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import os, sys
os.umask(0o077)  # of a careful user
from bench.device.slots.gpu_lock import gpus_locked
with gpus_locked({sys.argv[1]: "the GPU cuda:1"}, print, command="maskbench model=theirs"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another command, which holds the lock of a GPU until it is told to end."""
    command = [sys.executable, "-c", HOLDER, uuid(1)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def take(said: list[str], *numbers: int, wait: bool = True) -> None:
    with gpus_locked({uuid(number): f"the GPU cuda:{number}" for number in numbers}, said.append, wait=wait):
        said.append("held")


@pytest.mark.parametrize("killed", [False, True])
def test_the_second_command_waits_and_says_for_whom(holder: subprocess.Popen[str], killed: bool) -> None:
    said: list[str] = []
    second = threading.Thread(target=take, args=(said, 0, 1))
    second.start()
    time.sleep(0.6)
    assert len(said) == 1
    assert said[0].startswith(f"the GPU cuda:1: in use by process {holder.pid} on ")
    assert said[0].endswith(" (maskbench model=theirs); waiting for its end")
    if killed:
        holder.kill()
    else:
        holder.communicate("\n", timeout=10)
    second.join(timeout=10)
    assert said[1:] == ["held"]


def test_another_gpu_is_free_and_a_command_need_not_wait(holder: subprocess.Popen[str]) -> None:
    said: list[str] = []
    take(said, 0)
    assert said == ["held"]
    with pytest.raises(UserError, match=rf"the GPU cuda:1: in use by process {holder.pid} .*; wait for its end, or"):
        take(said, 1, wait=False)


def test_every_user_may_take_a_lock_and_none_may_remove_that_of_another(
    holder: subprocess.Popen[str], folder: Path
) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / f"{uuid(1)}.lock").stat().st_mode) == 0o666


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    ours = tmp_path / "ours"
    ours.write_text("precious")
    (folder / f"{uuid(0)}.lock").symlink_to(ours)
    os.link(ours, folder / f"{uuid(1)}.lock")
    said: list[str] = []
    take(said, 0)
    assert said[0].startswith(f"{folder}: no lock of a GPU can be held there (")
    assert said[1:] == ["held"]
    take(said, 1)
    assert ours.read_text() == "precious"


def test_a_folder_that_cannot_be_used_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "locks"))
    said: list[str] = []
    take(said, 0, 1)
    assert [line.partition(";")[2] for line in said[:2]] == 2 * [" another command may use it too"]
    assert said[2:] == ["held"]


def test_two_commands_never_wait_for_each_other(folder: Path) -> None:
    """They name the GPUs in different orders, and take them in one."""
    held, ends = [0], []

    def run(*numbers: int) -> None:
        for _ in range(20):
            with gpus_locked({uuid(number): "" for number in numbers}, lambda _: None):
                held[0] += 1
                ends.append(held[0])
                held[0] -= 1

    threads = [threading.Thread(target=run, args=order, daemon=True) for order in ((0, 1), (1, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert ends == 40 * [1]


def test_the_gpus_of_devices_are_known_only_where_all_are_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA puts the fastest first, NVML the first on the bus: of unlike GPUs the numbers may be others."""
    imitate(tmp_path / "alike", monkeypatch, [0, 0], ["0-3"])
    assert list(gpus_of(["cpu", "cuda:1"])) == [uuid(1)]
    assert gpus_of(["cpu"]) == {}
    assert list(gpus_of(["cuda"])) == [uuid(0)]
    imitate(tmp_path / "unlike", monkeypatch, [0, 0], ["0-3"], names=["NVIDIA L4", "NVIDIA H100"])
    assert list(gpus_of(["cuda:1"])) == [uuid(0), uuid(1)]
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert gpus_of(["cuda:1"]) == {uuid(1): f"the GPU cuda:1 (NVIDIA H100, {uuid(1)[:12]})"}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus_of(["cuda:1"]) == {}


def test_the_folder_is_one_of_the_machine() -> None:
    """One that depends on the user, as ``TMPDIR`` may, would be another lock for everyone."""
    assert Path("/tmp/maskbench-gpu-locks") == gpu_lock.FOLDER
