"""Test ``devices=`` by the command: two sets of cores, real workers, and what they say of when they ran."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.device.cores import physical_cores
from bench.schema.marks import marks
from bench.schema.result import Result, read_result
from bench.schema.settings import SETTINGS

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

pytestmark = pytest.mark.skipif(
    len(physical_cores(CORES)) < 2, reason="needs two cores and a system that keeps processes on cores"
)


@dataclass
class Process:
    """When a process ran the model first and last, by the clock that all processes share."""

    began: float
    ended: float

    def beside(self, other: Process) -> bool:
        return self.began < other.ended and other.began < self.ended


def pair() -> list[list[int]]:
    """Give one thread of each of two physical cores."""
    return [[group[0]] for group in physical_cores(CORES)[:2]]


def devices() -> str:
    return "devices=" + ",".join(f"cpu:{cores[0]}" for cores in pair())


def processes(told: Path, least_runs: int) -> list[Process]:
    """Give the processes that ran the model at least so many times, in the order in which they began."""
    runs: dict[int, list[float]] = {}
    for line in told.read_text().splitlines():
        event = json.loads(line)
        if event["what"] == "run":
            runs.setdefault(event["process"], []).append(event["at"])
    found = [Process(min(moments), max(moments)) for moments in runs.values() if len(moments) >= least_runs]
    return sorted(found, key=lambda process: process.began)


def results(out: Path) -> dict[str, Result]:
    return {path.parent.name: read_result(path) for path in sorted(out.glob("jobs/*/result.json"))}


def figures(row: Result) -> dict[str, Any]:
    """Give all that the accuracy pass found; how long it took is no figure of the model."""
    assert row.accuracy is not None
    return {key: value for key, value in asdict(row.accuracy).items() if key != "seconds"}


def model(told: Path) -> list[str]:
    return [
        *("model=custom", "model._target_=tells_when.TellsWhen", f"+model.options.told=to:{told}"),
        *("+model.options.delay_ms=50", "batch_size=1,2", "protocol=quick"),
    ]


def test_rows_are_those_of_one_slot_and_nothing_ran_beside_what_was_timed(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = [*model(told), *bright_squares, "passes=[speed,accuracy]", f"out={tmp_path / 'out'}"]
    done = run_command(*command, devices())
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy; to be timed (") == 2
    rows = results(tmp_path / "out")
    ran = processes(told, 1)
    assert len(ran) == 4
    for timed, other in itertools.product(ran[-2:], ran):
        assert timed is other or not timed.beside(other)
    first, _ = pair()
    for row in rows.values():
        assert row.status == "ok"
        assert row.config["device"] == "cpu"
        assert row.machine is not None
        assert row.machine["cpu"]["usable_cores"] == 1
        assert row.machine["torch_threads"] == 1
        assert row.speed is not None
        assert [part.neighbours and part.neighbours.busy_percent for part in row.speed.rounds] == [0.0]
        assert all(part.host.cores == first for part in row.speed.rounds if part.host is not None)
        assert "neighbours" not in [mark.name for mark in marks(row)]
    again = run_command(*command, f"devices=cpu:{first[0]}")
    assert again.stdout.count("measured before") == 2, again.stdout
    alone = tmp_path / "alone"
    plain = run_command(*model(told), *bright_squares, "passes=[accuracy]", f"out={alone}")
    assert plain.returncode == 0, plain.stderr
    assert list(results(alone)) == list(rows)
    for name, row in results(alone).items():
        assert figures(rows[name]) == figures(row)
        paths = [folder / "jobs" / name / "predictions.json" for folder in (alone, tmp_path / "out")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_with_exclusive_slot_rows_are_timed_beside_each_other_and_say_so(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    longer = ["protocol.min_samples=40", "protocol.max_seconds=20", "protocol.exclusive=slot", "passes=[speed]"]
    done = run_command(*model(told), *bright_squares, *longer, devices(), f"out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    one, other = processes(told, 20)
    assert one.beside(other)
    rows = list(results(tmp_path / "out").values())
    assert [row.status for row in rows] == ["ok", "ok"]
    cores = []
    for row in rows:
        assert row.speed is not None
        [part] = row.speed.rounds
        assert part.neighbours is not None
        assert part.neighbours.slots == 1
        assert part.neighbours.busy_percent > 0
        assert "neighbours" in [mark.name for mark in marks(row)]
        assert SETTINGS["exclusive"].value(row) == "slot"
        cores += part.host.cores if part.host is not None else []
    assert sorted(cores) == sorted(core for one in pair() for core in one)
    assert "timed with protocol.exclusive=slot" in (tmp_path / "out" / "comparison.html").read_text()


def test_an_idle_slot_takes_a_share_of_the_images_of_a_row(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    """One row on two slots: half of its images are predicted on the second, and no figure changes."""
    one_row = [*model(tmp_path / "told"), "batch_size=1", *bright_squares, "passes=[accuracy]"]
    alone = run_command(*one_row, "device=cpu", f"out={tmp_path / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    (tmp_path / "told").unlink()
    done = run_command(*one_row, devices(), "accuracy.shards=auto", f"out={tmp_path / 'shards'}")
    assert done.returncode == 0, done.stderr
    assert len(processes(tmp_path / "told", least_runs=2)) == 2
    [expected], [found] = results(tmp_path / "alone").values(), results(tmp_path / "shards").values()
    assert figures(found) == figures(expected)
    [before], [after] = tmp_path.glob("alone/jobs/*/predictions.json"), tmp_path.glob("shards/jobs/*/predictions.json")
    assert after.read_bytes() == before.read_bytes()
