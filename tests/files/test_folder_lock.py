"""Test the locks of a folder: one holder at a time, who it is, and that a killed one holds nothing."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files.folder_lock import MEASURING, REPORTING, locked

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from bench.files.folder_lock import MEASURING, locked
with locked(Path(sys.argv[1]), MEASURING, print, command="python run_bench.py model=a"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is told to end."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def take(folder: Path, said: list[str], wait: bool = True, name: str = MEASURING) -> None:
    with locked(folder, name, said.append, wait=wait):
        pass


def test_the_second_is_refused_and_told_by_whom(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        take(tmp_path / "out", [], wait=False)
    named = f"in use by process {holder.pid} on {platform.node()} (python run_bench.py model=a)"
    assert str(caught.value) == f"out={tmp_path / 'out'}: {named}; wait for its end, or give another out="
    take(tmp_path / "out", [], wait=False, name=REPORTING)


@pytest.mark.parametrize("killed", [False, True])
def test_the_second_waits_for_the_end_of_the_first(holder: subprocess.Popen[str], tmp_path: Path, killed: bool) -> None:
    said: list[str] = []
    second = threading.Thread(target=take, args=(tmp_path / "out", said))
    second.start()
    time.sleep(0.6)
    assert second.is_alive()
    if killed:
        os.kill(holder.pid, signal.SIGKILL)
    else:
        holder.communicate("\n", timeout=10)
    second.join(timeout=10)
    assert not second.is_alive()
    assert len(said) == 1
    assert f"process {holder.pid}" in said[0]


def test_many_at_once_take_turns(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def enter() -> None:
        with locked(tmp_path / "out", MEASURING, lambda _: None):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert most == [1]


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    take(tmp_path / "new" / "out", [])
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    take(tmp_path / "there", [])
    assert list((tmp_path / "there").iterdir()) == []
    with locked(tmp_path / "used", MEASURING, print):
        (tmp_path / "used" / "result").write_text("measured")
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["result"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UserError, match="cannot be written"):
            take(folder, [])


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("bench.files.lock_file.fcntl.flock", refuse)
    said: list[str] = []
    take(tmp_path, said)
    assert said == [f"{tmp_path}: its file system has no locks; give it to one command at a time"]
