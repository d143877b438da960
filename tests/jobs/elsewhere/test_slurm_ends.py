"""Tests of what a row says whose Slurm job has ended, in each way that Slurm knows; Slurm itself is not needed."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.jobs.elsewhere.asked import Asked, Order
from bench.jobs.elsewhere.on_slurm import place, queue
from bench.jobs.job import PlannedJob, new_result
from bench.jobs.local import LocalLauncher
from bench.jobs.run import Run
from bench.schema.config import BenchConfig, LauncherConfig, ModelConfig
from bench.schema.parts.costs import MemoryResult
from bench.schema.result import INTERRUPTED, UNFINISHED, read_result, write_result


@pytest.fixture
def order(tmp_path: Path) -> Order:
    model = ModelConfig(name="net", family="Net", library="toys", _target_="toys.Net")
    return Order(Asked([], "", "/"), PlannedJob(BenchConfig(model=model), {}, tmp_path / "jobs" / "net"))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> place.SlurmPlace:
    monkeypatch.setattr(place, "require_submitit", lambda: None)
    monkeypatch.setattr(queue, "require_commands", lambda: None)
    monkeypatch.setattr(place, "_SHARED_SECONDS", 0.0)
    run = Run(tmp_path, [], "maskbench", LocalLauncher(), Console(file=io.StringIO()))
    made = place.SlurmPlace(LauncherConfig("slurm"), run, [])
    made._ids = {"net": "7_0"}
    return made


@pytest.mark.parametrize(
    ("state", "stored", "status", "reason"),
    [
        ("COMPLETED", ("ok", None), "ok", None),
        ("COMPLETED", ("failed", "its own words"), "failed", "its own words"),
        ("CANCELLED", ("failed", INTERRUPTED), "failed", INTERRUPTED),
        (
            "TIMEOUT",
            ("failed", INTERRUPTED),
            "timeout",
            "its Slurm job came to its time limit; launcher.time_min sets it",
        ),
        ("OUT_OF_MEMORY", ("failed", UNFINISHED), "out_of_memory", "its Slurm job ended (OUT_OF_MEMORY) before its"),
        ("NODE_FAIL", ("failed", UNFINISHED), "crashed", "its Slurm job ended (NODE_FAIL) before its result was"),
        (
            "CANCELLED",
            None,
            "crashed",
            "its Slurm job ended (CANCELLED) before its result was complete; see .slurm/logs",
        ),
        ("", None, "crashed", "its Slurm job ended before its result was complete; see .slurm/logs"),
    ],
)
def test_how_a_row_ends(
    slurm: place.SlurmPlace,
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    stored: tuple[str, str | None] | None,
    status: str,
    reason: str | None,
) -> None:
    monkeypatch.setattr(queue, "end_of", lambda job: queue.End(state, "node-7"))
    memory = MemoryResult(1, 1)
    if stored is not None:
        write_result(dataclasses.replace(new_result(order.job, *stored), memory=memory), order.job.result_path)
    assert slurm._ended(order) == "node-7"
    result = read_result(order.job.result_path)
    assert result.status == status
    assert (result.reason or "").startswith(reason or "")
    assert bool(result.reason) == bool(reason)
    assert "node-7" not in order.job.result_path.read_text()
    assert result.memory == (None if stored is None else memory)  # nothing that was measured is lost


def test_who_is_asked_while_slurm_does_not_answer(slurm: place.SlurmPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*command: str) -> str:
        raise queue.NoAnswerError("no answer")

    monkeypatch.setattr(queue, "_ask", silent)
    assert slurm._queue() is None  # no job counts as ended
    assert queue.is_alive("7_0")


def test_what_squeue_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "7_0|RUNNING|None\n7_1|PENDING|Resources\n6|COMPLETED|None\n8|COMPLETING|None\n5_2|CANCELLED|None\n"
    monkeypatch.setattr(queue, "_ask", lambda *command: told)
    assert queue.jobs_in_queue() == {
        "7_0": queue.Waiting("RUNNING", "None"),
        "7_1": queue.Waiting("PENDING", "Resources"),
        "8": queue.Waiting("COMPLETING", "None"),
    }
