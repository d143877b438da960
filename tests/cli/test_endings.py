"""Test, by the command as a user calls it, how it ends where something outside of it is not as it should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.cli.run import _take_as_ctrl_c
from bench.files.folder_lock import MEASURING, locked
from bench.schema.result import read_result

ROOT = Path(__file__).resolve().parents[2]
BLOBS = ["model=custom", "model._target_=toy_models.Blobs"]
QUICK = ["passes=[speed]", "protocol.rounds=1", "protocol.min_samples=2", "protocol.max_seconds=0.2"]


def test_a_command_that_may_not_wait_is_refused(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    with locked(tmp_path / "out", MEASURING, print, command="maskbench model=a"):
        done = run_command(*BLOBS, *QUICK, *bright_squares, f"out={tmp_path / 'out'}", "wait=false")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"maskbench: out={tmp_path / 'out'}: in use by process {os.getpid()} on ")
    assert "(maskbench model=a)" in line


def test_a_history_is_probed_before_anything_runs(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_here(
        *BLOBS, *QUICK, *bright_squares, f"out={tmp_path / 'out'}", f"history={tmp_path / 'file' / 'history'}"
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_terminal_that_closes(environment: dict[str, str], bright_squares: list[str], tmp_path: Path) -> None:
    """Nobody reads what the command says any more; what was measured is reported."""
    out, read, write = tmp_path / "out", *os.pipe()
    slow = ["+model.options.delay_ms=300", "passes=[speed,memory]", "protocol.rounds=1", "protocol.min_samples=1000"]
    with subprocess.Popen(
        [sys.executable, str(ROOT / "run_bench.py"), *BLOBS, *slow, *bright_squares, f"out={out}"],
        stdout=write,
        stderr=write,
        env=environment,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as command:
        os.close(write)
        deadline = time.monotonic() + 100
        while not any(read_result(path).memory for path in out.glob("jobs/*/result.json")):
            assert time.monotonic() < deadline
            assert command.poll() is None
            time.sleep(0.1)
        os.close(read)
        command.send_signal(signal.SIGHUP)
        command.send_signal(signal.SIGHUP)
        assert command.wait(timeout=100) == 130
    [path] = out.glob("jobs/*/result.json")
    assert read_result(path).reason == "interrupted"
    assert (out / "comparison.html").exists()


@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_that_nohup_ignores_stays_ignored(ignored: bool) -> None:
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    before = signal.signal(signal.SIGHUP, handler)
    try:
        _take_as_ctrl_c(signal.SIGHUP)
        assert (signal.getsignal(signal.SIGHUP) == signal.SIG_IGN) is ignored
        if not ignored:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)  # the second does not end the report
    finally:
        signal.signal(signal.SIGHUP, before)
