"""Test what runs side by side on two slots, what runs alone, and that no way to stop loses or invents a figure."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slots_of_fakes import SLOTS, Fakes, planned, run

from bench.jobs.job import passes_due
from bench.jobs.launcher import Ending
from bench.jobs.run_job import run_job
from bench.schema.result import read_result

WAIT_SECONDS = 30

_PLACE: tuple[Any, ...] = (SLOTS[0], None, lambda part: None)
"""What a launcher of fakes is made of."""


def test_what_times_nothing_runs_on_both_slots_at_once_and_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)  # broken, and an error, where one of the two would have to wait for the other

    def does(job: str, phase: str) -> None:
        if phase == "memory" and job in ("a", "b"):
            together.wait(WAIT_SECONDS)

    jobs, fakes = [planned(tmp_path / name) for name in "abcd"], Fakes(does)
    turns = run(jobs, fakes, monkeypatch)
    assert [turns.results[number].status for number in (1, 2, 3, 4)] == 4 * ["ok"]
    assert {event.slot for event in fakes.events if not event.timed} == {"one", "two"}
    timed = [event for event in fakes.events if event.timed]
    assert [(event.job, event.slot) for event in timed] == [(name, "one") for name in "abcd"]
    for event in timed:
        assert not any(event.beside(other) for other in fakes.events if other is not event)
    for job in jobs:
        assert [event.phase for event in fakes.of(job.folder.name)] == ["memory", "flops", "speed"]
        result = read_result(job.result_path)
        assert result.speed is not None
        [neighbours] = [part.neighbours for part in result.speed.rounds]
        assert neighbours is not None
        assert (neighbours.slots, neighbours.busy_percent, neighbours.busy_slots) == (1, 0.0, 0.0)
        assert result.notes == ["memory was here", "flops was here", "speed was here"]


def test_rounds_are_timed_in_turn_so_that_a_drift_affects_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = Fakes()
    run([planned(tmp_path / name, rounds=2) for name in "ab"], fakes, monkeypatch)
    assert [event.job for event in fakes.events if event.timed] == ["a", "b", "a", "b"]


def test_with_exclusive_slot_each_slot_times_its_own_rows_beside_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)
    inside = threading.Barrier(2)

    def does(job: str, phase: str) -> None:
        if "speed" in phase:
            together.wait(WAIT_SECONDS)
            inside.wait(WAIT_SECONDS)

    jobs = [planned(tmp_path / name, exclusive="slot", rounds=3, passes=["speed"]) for name in "ab"]
    fakes = Fakes(does)
    run(jobs, fakes, monkeypatch)
    for name in "ab":
        events = fakes.of(name)
        assert [event.phase for event in events] == 3 * ["speed"]
        assert len({event.slot for event in events}) == 1
    for job in jobs:
        speed = read_result(job.result_path).speed
        assert speed is not None
        for part in speed.rounds:
            assert part.neighbours is not None
            assert part.neighbours.slots == 1
            assert 0 < part.neighbours.busy_percent <= 100
            assert part.neighbours.busy_slots == pytest.approx(part.neighbours.busy_percent / 100, abs=0.01)


def test_a_job_that_dies_on_one_slot_is_a_row_and_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def does(job: str, phase: str) -> Ending | None:
        return Ending(False, "crashed", "killed by SIGSEGV") if (job, phase) == ("b", "memory") else None

    fakes, said = Fakes(does), []
    turns = run([planned(tmp_path / name) for name in "abc"], fakes, monkeypatch, said)
    results = [turns.results[number] for number in (1, 2, 3)]
    assert [(result.status, result.reason) for result in results] == [
        ("ok", None),
        ("crashed", "killed by SIGSEGV"),
        ("ok", None),
    ]
    assert [event.job for event in fakes.events if event.timed] == ["a", "c"]
    assert sum("[2/3] b" in line and "crashed: killed by SIGSEGV" in line for line in said) == 1


def test_a_command_that_ended_between_the_two_steps_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(job: str, phase: str) -> None:
        if "speed" in phase:
            raise KeyboardInterrupt

    jobs = [planned(tmp_path / name) for name in ("a", "no_flops")]
    with pytest.raises(KeyboardInterrupt):
        run(jobs, Fakes(stopped), monkeypatch)
    for job in jobs:
        result = read_result(job.result_path)
        assert result.memory is not None
        assert result.speed is None
        assert result.status != "ok"
    # One of them was killed without a word: its result is what the first step left.
    assert read_result(jobs[1].result_path).reason == "unfinished"
    again = Fakes()
    turns = run(jobs, again, monkeypatch)
    assert [turns.results[number].status for number in (1, 2)] == ["ok", "ok"]
    assert all(read_result(job.result_path).speed for job in jobs)
    assert [event.phase for event in again.of("a")] == ["speed"]
    # Whether a pass does not apply, or was not reached, an unfinished result cannot tell.
    assert [event.phase for event in again.of("no_flops")] == ["flops", "speed"]
    third = Fakes()
    run(jobs, third, monkeypatch)
    assert third.events == []


def test_without_more_to_come_a_step_would_lose_the_timing_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason of ``more_to_come``: of a result that is ok, a pass that it lacks does not apply."""
    fakes = Fakes()
    for more, status, left in ((False, "ok", []), (True, "failed", ["speed"])):
        job = planned(tmp_path / f"{more}")
        launcher = fakes(*_PLACE)
        result = run_job(job, ["memory", "flops"], launcher, lambda _: None, more_to_come=more)
        assert (result.status, passes_due(job, 1)) == (status, left)


def test_ctrl_c_after_the_last_worker_of_the_first_step_does_not_make_the_row_ok(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker has completed all its work, and the job has not."""
    job, launcher = planned(tmp_path / "a"), Fakes()(*_PLACE)
    real = launcher.start

    def start(job: object, phase: str) -> object:
        worker = real(job, phase)
        listen = worker.listen

        def interrupted(*told: object) -> None:
            listen(*told)
            worker.complete = True
            raise KeyboardInterrupt

        worker.listen = interrupted
        return worker

    launcher.start = start
    with pytest.raises(KeyboardInterrupt):
        run_job(job, ["flops"], launcher, lambda _: None, more_to_come=True)
    result = read_result(job.result_path)
    assert (result.status, result.reason) == ("failed", "interrupted")
    assert passes_due(job, 1) == ["speed", "memory"]


def test_rounds_are_added_to_rows_that_were_timed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for exclusive in ("machine", "slot"):
        folder = tmp_path / exclusive
        run([planned(folder / "a", exclusive=exclusive)], Fakes(), monkeypatch)
        more = planned(folder / "a", exclusive=exclusive, rounds=3)
        fakes = Fakes()
        run([more], fakes, monkeypatch)
        assert [event.phase for event in fakes.events] == ["speed", "speed"]
        speed = read_result(more.result_path).speed
        assert speed is not None
        assert len(speed.rounds) == 3


def test_a_full_disk_on_one_slot_stops_the_other_and_is_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def does(job: str, phase: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    jobs = [planned(tmp_path / name) for name in "abcdef"]
    fakes = Fakes(does)
    with pytest.raises(OSError, match="No space left"):
        run(jobs, fakes, monkeypatch)
    assert 1 <= len(fakes.events) <= 2


def test_jobs_that_cannot_run_and_those_without_a_timed_pass_have_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped = replace(planned(tmp_path / "a"), skip_reason="mmdet is not installed")
    said: list[str] = []
    fakes = Fakes()
    turns = run([skipped, planned(tmp_path / "b", passes=["memory"])], fakes, monkeypatch, said)
    assert [turns.results[number].status for number in (1, 2)] == ["skipped", "ok"]
    assert [event.job for event in fakes.events] == ["b"]
    assert len(said) == 2
