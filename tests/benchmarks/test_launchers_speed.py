"""Measure what each place to run jobs adds to the time of a row: four rows more against one, one after the other.

What a command does once, such as to plan, to connect and to report, is in both and falls out of the difference.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import cluster, why_not

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "toys" / "halting.py"
MORE = 4

MOST_SECONDS = {"local": 15.0, "ray": 20.0, "slurm": 40.0}
"""On two cores on which three other programs ran, they were 2.6, 4.0 and 7.5: a node plans its row again by a process
of its own, and Slurm starts an interpreter for each."""


def _seconds(out: Path, rows: int, launcher: list[str], data: list[str], environment: dict[str, str]) -> float:
    """Give how long a command took beyond the ``seconds`` of its rows."""
    shifts = f"model.options.shift={','.join(map(str, range(10, 10 + rows)))}"
    toy = ["model=custom", f"model._target_={TOY}:Shifted", "model.weights=own", "passes=[accuracy]", shifts]
    command = [sys.executable, str(ROOT / "run_bench.py"), *toy, *data, *launcher, f"out={out}"]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=out.parent, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(path.read_text()) for path in out.glob("jobs/*/result.json")]
    assert len(results) == rows
    return took - sum(result["seconds"] for result in results)


def _added(name: str, launcher: list[str], data: list[str], environment: dict[str, str], folder: Path) -> float:
    one, many = (_seconds(folder / f"{name}-{n}", n, launcher, data, environment) for n in (1, 1 + MORE))
    added = (many - one) / MORE
    print(f"\nlauncher={name}: {added:.2f} s a row beyond its own seconds")
    return added


def test_on_this_machine(bright_squares: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    assert _added("local", [], bright_squares, environment, tmp_path) < MOST_SECONDS["local"]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_on_ray(bright_squares: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    launcher = ["launcher=ray", "launcher.address=local", "launcher.cpus_per_task=1000"]  # all, so one after the other
    assert _added("ray", launcher, bright_squares, environment, tmp_path) < MOST_SECONDS["ray"]


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
def test_on_slurm(bright_squares: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    with cluster(tmp_path / "cluster", private, cpus=1) as found:
        added = _added("slurm", ["launcher=slurm"], bright_squares, environment | found, tmp_path)
    assert added < MOST_SECONDS["slurm"]
