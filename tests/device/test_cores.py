"""Test how a pinned worker and the others share the cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.device import cores
from bench.device.cores import Reserve, Split, physical_cores, split
from bench.errors import UserError
from bench.jobs.validate import check_values
from bench.schema.config import BenchConfig, ProtocolConfig
from bench.schema.result import read_result

ROOT = Path(__file__).resolve().parents[2]

several = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(physical_cores(sorted(os.sched_getaffinity(0)))) < 2,
    reason="needs two cores and a system that pins",
)


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Imitate a processor of four cores with two threads each: 0 and 4, 1 and 5, 2 and 6, 3 and 7."""
    for core in range(8):
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{core % 4},{core % 4 + 4}\n")
    monkeypatch.setattr(cores, "_CPUS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("usable", "quota", "expected"),
    [
        (range(8), None, Split((1, 5, 2, 6, 3, 7), (0, 4), 3)),
        ([2, 3, 6], None, Split((3,), (2, 6), 1)),
        (range(8), 3.5, Split((1, 5, 2, 6), (0, 4), 2)),
        ([20, 21, 22], None, Split((21, 22), (20,), 2)),  # of which the system tells nothing
    ],
)
def test_the_worker_has_all_physical_cores_but_the_first(
    topology: Path, usable: Any, quota: float | None, expected: Split
) -> None:
    assert split(list(usable), quota) == expected


@pytest.mark.parametrize(
    ("usable", "quota", "why"),
    [
        ([0], None, "this process may use one;"),
        ([1, 5], None, "this process may use one;"),
        ([1, 5], 4.0, "this process may use one;"),
        (range(8), 1.5, "this container has computing time for 1.5;"),
    ],
)
def test_one_physical_core_is_refused(topology: Path, usable: Any, quota: float | None, why: str) -> None:
    with pytest.raises(UserError, match=r"protocol\.pin=true: needs two physical cores or more") as refused:
        split(list(usable), quota)
    assert why in str(refused.value)


def test_a_system_that_cannot_pin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(UserError, match=r"this system cannot keep a process on cores; give protocol\.pin=false"):
        split([0, 1, 2, 3])


@several
def test_the_command_leaves_the_cores_as_long_as_there_is_a_pinned_worker() -> None:
    before, parts, reserve = os.sched_getaffinity(0), split(), Reserve()
    with reserve.of_worker() as told:
        assert told == {cores.OWN: ",".join(map(str, parts.own))}
        with reserve.of_worker() as again:
            assert again == told
        assert os.sched_getaffinity(0) == set(parts.others)
        child = subprocess.run([sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"],
            stdout=subprocess.PIPE, check=True)  # fmt: skip
        assert json.loads(child.stdout) == list(parts.others)
    assert os.sched_getaffinity(0) == before


PINNED = """
import json, os, threading, sys
sys.path.insert(0, sys.argv[1])
from bench.device import cores
wait = threading.Event()
earlier = threading.Thread(target=wait.wait)
earlier.start()
threads = cores.pin_worker()
of = lambda thread: sorted(os.sched_getaffinity(thread))
told = [threads, of(0), of(earlier.native_id), cores.cores_of_command(), cores.is_pinned()]
wait.set()
cores.leave_cores_to_worker()
print(json.dumps([*told, of(0)]))
"""


@several
def test_all_threads_of_a_worker_are_pinned_and_its_loaders_are_not() -> None:
    parts, usable = split(), sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-c", PINNED, str(ROOT)]
    with Reserve().of_worker() as told:
        done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, **told}, check=True)
    own, others = sorted(parts.own), sorted(parts.others)
    expected = [parts.physical, own, own, usable, True, others]
    assert json.loads(done.stdout) == expected
    # Started by another launcher, which tells it nothing, a worker divides the cores itself.
    assert json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) == expected


@several
def test_a_pinned_row_says_its_cores_and_is_not_measured_anew(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    given = ["model=custom", "model._target_=toy_models.Blobs", *bright_squares, "protocol=quick", "passes=[speed]"]
    for outcome in (": ok", "measured before"):
        done = run_command(*given, "protocol.pin=true", f"out={tmp_path}")
        assert done.returncode == 0, done.stderr
        assert outcome in done.stdout + done.stderr
    [path] = tmp_path.glob("jobs/*/result.json")
    result, parts = read_result(path), split()
    assert result.speed is not None
    assert result.machine is not None
    host = result.speed.rounds[0].host
    if host is not None:
        assert (host.cores, host.pinned) == (sorted(parts.own), True)
    assert result.machine["torch_threads"] == parts.physical
    assert result.machine["cpu"]["usable_cores"] == len(os.sched_getaffinity(0))


def test_a_job_that_cannot_be_pinned_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: [0])
    check_values(BenchConfig())
    with pytest.raises(UserError, match=r"protocol\.pin=true: needs two physical cores"):
        check_values(BenchConfig(protocol=ProtocolConfig(pin=True)))
