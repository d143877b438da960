"""``maskbench status``: what it says of a study that waits, runs, has ended, failed or was killed."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import many_jobs
import pytest
from literal_results import build_result
from many_jobs import NoLauncher, NoWorker, replayed_jobs
from rich.console import Console
from whole_result import whole_result

from bench.cli.main import main
from bench.cli.status import status_lines
from bench.jobs.job import PlannedJob
from bench.jobs.run import Run
from bench.jobs.run_job import run_job
from bench.jobs.status.board import BOARD, AtWork, Queue, QueuedJob, at_work, read_at_work, read_queue, write_queue
from bench.jobs.status.state import StudyState, study_state
from bench.jobs.study import run_study
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig
from bench.schema.result import INTERRUPTED, UNFINISHED, Result, write_result

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=timezone.utc)


def job(out: Path, name: str, passes: list[str] | None = None) -> PlannedJob:
    config = BenchConfig(model=ModelConfig(name=name), dataset=DatasetConfig(name="d"), passes=passes or ["memory"])
    return PlannedJob(replace(config, device="cpu"), {}, out / "jobs" / f"{name}-d-1234")


def states(out: Path) -> dict[str, str]:
    return {each.job.job.partition("-")[0]: each.state for each in study_state(out).jobs}


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def put(out: Path, of: PlannedJob, process: int, host: str = platform.node(), where: str = "cuda:1") -> None:
    """Write that a job is at work, as another process would have done."""
    path = out / BOARD / "at_work" / f"{of.folder.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    began = (NOW - timedelta(minutes=5)).isoformat()
    path.write_text(json.dumps({"process": process, "host": host, "began": began, "where": where}))


def test_each_job_has_the_state_that_its_files_say(tmp_path: Path) -> None:
    names = ("fine", "oom", "running", "elsewhere", "killed", "again", "damaged", "next")
    jobs = {name: job(tmp_path, name) for name in names}
    write_queue(list(jobs.values()), tmp_path, "maskbench study=x")
    write_result(build_result(), jobs["fine"].result_path)
    write_result(Result("out_of_memory", {}, "needs 9 GB"), jobs["oom"].result_path)
    for name in ("running", "elsewhere", "killed", "again"):
        write_result(Result("failed", {}, UNFINISHED), jobs[name].result_path)
    put(tmp_path, jobs["running"], os.getpid())
    put(tmp_path, jobs["elsewhere"], 1, host="another-machine")
    put(tmp_path, jobs["killed"], dead_process())
    jobs["damaged"].folder.mkdir()
    jobs["damaged"].result_path.write_text("{")
    assert states(tmp_path) == {
        **{"fine": "ok", "oom": "out_of_memory", "running": "at work", "elsewhere": "at work", "killed": "stopped"},
        **{"again": "to be timed", "damaged": "unreadable", "next": "waiting"},
    }


def test_the_lines_of_a_study(tmp_path: Path) -> None:
    failed, running, waiting = (job(tmp_path, name) for name in ("bad", "runs", "waits"))
    write_queue([failed, running, waiting], tmp_path, "maskbench study=x")
    write_result(Result("crashed", {}, "the worker was killed by SIGSEGV"), failed.result_path)
    put(tmp_path, running, 7, host="node7")
    state = replace(study_state(tmp_path), planned=(NOW - timedelta(hours=3)).isoformat())
    assert list(status_lines(state, "runs/a b", 20, 80, NOW)) == [
        "3 jobs: 1 crashed, 1 at work, 1 waiting",
        "planned 3 h ago by",
        "  maskbench study=x out='runs/a b'",
        "",
        "at work",
        "  runs cpu fp32 b1: cuda:1 on node7, process 7, began 5 min ago",
        "",
        "failed or skipped",
        "  bad cpu fp32 b1: crashed: the worker was killed by SIGSEGV",
        "",
        "waiting, the next one first",
        "  waits cpu fp32 b1",
    ]


def test_rows_that_were_interrupted_or_wait_for_their_timing_say_how_it_goes_on(tmp_path: Path) -> None:
    cut, waits = (job(tmp_path, name) for name in ("cut", "waits"))
    write_queue([cut, waits], tmp_path, "")
    write_result(Result("failed", {}, INTERRUPTED), cut.result_path)
    write_result(Result("failed", {}, UNFINISHED), waits.result_path)
    assert list(status_lines(replace(study_state(tmp_path), planned=""), "o", 20, 80, NOW)) == [
        "2 jobs: 1 interrupted, 1 to be timed",
        "",
        "interrupted; the same command with the same out= goes on",
        "  cut cpu fp32 b1",
        "",
        "measured in part, to be timed when nothing else runs",
        "  waits cpu fp32 b1",
    ]


def test_rows_of_a_sweep_over_an_option_are_told_apart(tmp_path: Path) -> None:
    one, two = (job(tmp_path, f"m{number}") for number in (1, 2))
    for number, each in enumerate((one, two)):
        each.config.model.name, each.config.model.options = "m", {"top_k": 100 + number}
    write_queue([one, two], tmp_path, "")
    assert [each.job.setting for each in study_state(tmp_path).jobs] == [
        "cpu fp32 b1 · top_k=100",
        "cpu fp32 b1 · top_k=101",
    ]


def test_no_line_is_wider_than_80_columns_and_long_lists_are_counted(tmp_path: Path) -> None:
    jobs = [job(tmp_path, f"a_model_with_a_name_of_some_length_{number}") for number in range(50)]
    write_queue(jobs, tmp_path, "maskbench " + " ".join(f"key{number}=value" for number in range(40)))
    for each in jobs[:25]:
        write_result(Result("failed", {}, "it went wrong \x1b[31m at length " * 9), each.result_path)
    lines = list(status_lines(study_state(tmp_path), "o", 20, 80, NOW))
    [command] = [line for line in lines if line.startswith("  maskbench")]
    assert command.endswith("key39=value out=o"), "it can be pasted"
    assert max(len(line) for line in lines if line != command) <= 80
    assert lines.count("  and 5 more (--all lists them)") == 2
    assert not any("\x1b" in line for line in lines)
    everything = "\n".join(status_lines(study_state(tmp_path), "o", None, 80, NOW))
    assert all(each.config.model.name in everything for each in jobs)


def test_a_row_that_lacks_rounds_is_not_told_as_done(tmp_path: Path) -> None:
    """The result of a row is ok after each of its rounds."""
    timed = job(tmp_path, "timed", ["speed"])
    write_queue([timed], tmp_path, "")
    result = whole_result()
    assert result.speed is not None
    result.speed.rounds = result.speed.rounds[:2]
    write_result(result, timed.result_path)
    [state] = study_state(tmp_path).jobs
    assert (state.state, state.reason) == ("timed in part", "2 of 3 rounds")
    result.speed.rounds = [result.speed.rounds[0]] * 3
    write_result(result, timed.result_path)
    assert states(tmp_path) == {"timed": "ok"}


def test_results_without_a_queue_are_told(tmp_path: Path) -> None:
    write_result(build_result(), tmp_path / "jobs" / "old" / "result.json")
    assert states(tmp_path) == {"old": "ok"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"planned": 1}', "\xff", '{"process": "x"}'])
def test_a_damaged_board_is_as_none(text: str, tmp_path: Path) -> None:
    one = job(tmp_path, "one")
    write_queue([one], tmp_path, "")
    put(tmp_path, one, 1)
    for path in (tmp_path / BOARD).rglob("*.json"):
        path.write_text(text, encoding="latin-1")
    assert read_queue(tmp_path) is None
    assert read_at_work(tmp_path, one.folder.name) is None
    write_result(build_result(), one.result_path)
    assert states(tmp_path) == {"one": "ok"}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "no such folder; give the out= folder of a study"),
        ("file", "not a folder; give the out= folder of a study"),
        ("folder", "no study in it; give the out= folder of a study, which has a folder jobs/"),
    ],
)
def test_what_is_no_study_is_refused_in_a_line(
    made: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    if made == "file":
        out.touch()
    elif made:
        out.mkdir()
    assert main(["status", str(out)]) == 2
    assert capsys.readouterr().err == f"error: {out}: {said}\n"


def test_a_study_writes_its_queue_and_says_what_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    jobs, out = replayed_jobs(tmp_path, 3), tmp_path / "out"
    seen: list[list[str]] = []

    class Watched(NoWorker):
        def tell(self, line: str) -> None:
            seen.append([each.state for each in study_state(out).jobs])

    monkeypatch.setattr(many_jobs, "NoWorker", Watched)
    status = run_study(jobs, Run(out, [], "maskbench of this test", NoLauncher(), Console(file=io.StringIO())))
    assert status == 0
    assert seen == [["at work", "waiting", "waiting"], ["ok", "at work", "waiting"], ["ok", "ok", "at work"]]
    assert main(["status", str(out)]) == 0
    assert capsys.readouterr().out.startswith("3 jobs: 3 ok\nplanned ")
    assert list((out / BOARD / "at_work").iterdir()) == []


def test_a_job_that_ends_in_an_exception_is_at_work_no_more(tmp_path: Path) -> None:
    one = job(tmp_path, "one")

    class Broken:
        where = "cuda:3"

        def start(self, job: PlannedJob, phase: str):  # type: ignore[no-untyped-def]
            working = read_at_work(tmp_path, job.folder.name)
            assert working is not None
            assert (working.where, working.process) == ("cuda:3", os.getpid())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(one, ["memory"], Broken(), lambda _: None)  # type: ignore[arg-type]
    assert read_at_work(tmp_path, one.folder.name) is None


def test_a_board_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / BOARD).write_text("a file in its place")
    one = job(tmp_path, "one")
    write_queue([one], tmp_path, "")
    with at_work(one):
        ran = True
    assert ran


def test_a_moment_that_is_none_is_told_as_unknown() -> None:
    state = StudyState("yesterday", "c", [])
    assert list(status_lines(state, "o", 20, 80, NOW))[1:] == ["planned at an unknown time by", "  c out=o"]
    assert Queue("p", "c", [QueuedJob("j", "m", "s")]).jobs[0].rounds == 0
    assert AtWork(1, "h", "t").where == ""
