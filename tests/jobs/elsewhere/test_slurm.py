"""Tests of ``launcher=slurm`` with Slurm's own daemons, on one node of two cores."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import cluster, why_not

ROOT = Path(__file__).resolve().parents[3]
TOYS = ROOT / "tests" / "toys"
SHIFTS = range(6)

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed"),
]


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the node does not share."""
    return tmp_path_factory.mktemp("private")


@pytest.fixture(scope="module")
def found(private: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables by which commands find the cluster."""
    with contextlib.ExitStack() as stack:
        try:
            variables = stack.enter_context(cluster(tmp_path_factory.mktemp("slurm"), private))
        except RuntimeError as error:  # a container may forbid what its daemons need
            pytest.skip(f"Slurm is installed and does not start here: {error}")
        yield variables


class Commands:
    """Commands in an empty folder, on the bright squares: six rows that need no torch, each with an AP of its own."""

    def __init__(self, environment: dict[str, str], folder: Path, data: list[str]) -> None:
        self.halt, self._folder, self._data = folder / "halt", folder, data
        self.halt.mkdir()
        self.environment = environment | {"MASKBENCH_TEST_HALT": str(self.halt)}

    def start(self, out: Path, *more: str, said: Path | None = None) -> subprocess.Popen[str]:
        """Start a command.

        said: a file for what it prints
        """
        shifts = f"model.options.shift={','.join(map(str, SHIFTS))}"
        target = f"model._target_={TOYS / 'halting.py'}:Shifted"
        rows = ["model=custom", target, "model.weights=own", shifts, "passes=[accuracy]", *self._data]
        command = [sys.executable, str(ROOT / "run_bench.py"), *rows, f"out={out}", *more]
        pipe = subprocess.PIPE
        with open(said or os.devnull, "w") as file:
            to = pipe if said is None else file
            return subprocess.Popen(command, env=self.environment, cwd=self._folder, stdout=to, stderr=pipe, text=True)

    def run(self, out: Path, *more: str) -> str:
        """Run a command, and give what it printed; it must be content."""
        started = self.start(out, *more)
        said, errors = started.communicate(timeout=180)
        assert started.returncode == 0, said + errors
        return said


@pytest.fixture
def commands(environment: dict[str, str], found: dict[str, str], bright_squares: list[str], tmp_path: Path) -> Commands:
    return Commands(environment | found, tmp_path, bright_squares)


def _results(out: Path) -> dict[int, Any]:
    results = [json.loads(path.read_text()) for path in out.glob("jobs/*/result.json")]
    by_shift = {result["config"]["model"]["options"]["shift"]: result for result in results}
    assert len(by_shift) == len(results), "a row is there twice"
    return by_shift


def _accuracies(out: Path) -> dict[int, Any]:
    """Give all of the accuracy of each row but how long it took."""
    kept = {shift: result["accuracy"] for shift, result in _results(out).items()}
    return {shift: {k: v for k, v in each.items() if not k.endswith("seconds")} for shift, each in kept.items()}


def _others(results: dict[int, Any]) -> dict[int, Any]:
    return {shift: result for shift, result in results.items() if shift != 3}


def _wait(condition: Callable[[], object], running: subprocess.Popen[str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_cancelled_task_alone_runs_again(commands: Commands, tmp_path: Path) -> None:
    out, local, reached = tmp_path / "out", tmp_path / "local", commands.halt / "shifted.reached"
    interrupted = commands.start(out, "launcher=slurm")
    _wait(reached.exists, interrupted)
    interrupted.send_signal(signal.SIGTERM)  # taken as Ctrl-C, which a shell may have had its children ignore
    said, errors = interrupted.communicate(timeout=300)
    assert interrupted.returncode == 130, said + errors
    task = json.loads(reached.read_text())["slurm"]
    assert f"scancel {task.partition('_')[0]} ends them" in said

    told = tmp_path / "told.txt"
    following = commands.start(out, "launcher=slurm", said=told)
    _wait(lambda: "still with Slurm from an earlier command" in told.read_text(), following)
    _wait(lambda: [r["status"] for r in _others(_results(out)).values()] == ["ok"] * 5, following)
    subprocess.run(["scancel", task], env=commands.environment, check=True)
    _, errors = following.communicate(timeout=300)
    assert following.returncode == 1, told.read_text() + errors
    assert len(list((out / ".slurm" / "logs").glob("*_3_submitted.pkl"))) == 1  # the fourth row was submitted once
    before = _results(out)
    assert sorted(before) == list(SHIFTS)
    assert (before[3]["status"], before[3]["reason"]) == ("failed", "interrupted")

    (commands.halt / "open").touch()
    said = commands.run(out, "launcher=slurm")
    after = _results(out)
    assert after[3]["status"] == "ok"
    assert _others(after) == _others(before)
    assert said.count("measured before") == 5
    assert ": 1 rows" in said

    commands.run(local)
    assert _accuracies(out) == _accuracies(local)
    assert len({json.dumps(each["figures"]) for each in _accuracies(out).values()}) == 5  # shifts 0 and 1 have one AP
    assert {path.name for path in out.glob("jobs/*")} == {path.name for path in local.glob("jobs/*")}
    assert (out / "comparison.html").exists()
    for path in out.glob("jobs/*/result.json"):
        assert f'"{platform.node()}"' not in path.read_text()


def test_a_folder_that_is_not_shared(commands: Commands, private: Path) -> None:
    out = private / "out"
    started = commands.start(out, "launcher=slurm")
    said, errors = started.communicate(timeout=180)
    assert started.returncode == 2, said + errors
    [line] = errors.splitlines()
    assert line.startswith(f"maskbench: out={out}: is not shared with the nodes: Slurm job ")
    assert not list(out.glob("jobs/*"))
