"""Tests the seams between a study, its jobs, their workers and their passes, each without a real model."""

from __future__ import annotations

import copy
import io
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.errors import UserError
from bench.jobs.job import PlannedJob, from_description, passes_due, phases_of, to_description
from bench.jobs.launcher import Ending
from bench.jobs.local import LocalLauncher
from bench.jobs.messages import Channel, Complete, Progress, Ready, Refused, Resolved, Verdict, decode, encode
from bench.jobs.plan import plan
from bench.jobs.progress import StudyProgress
from bench.jobs.run_job import run_job
from bench.passes.base import load_pass
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig, ProtocolConfig
from bench.schema.parts.costs import EnergyResult, MemoryResult
from bench.schema.parts.speed import SpeedResult, SpeedRound, Timing
from bench.schema.result import MEASUREMENT_VERSION, PASSES, Result, read_result, write_result
from run_bench import compose


def job(folder: Path, **config: Any) -> PlannedJob:
    model, dataset = ModelConfig(name="m", _target_="toy_models.Blobs"), DatasetConfig(name="d")
    return PlannedJob(BenchConfig(model=model, dataset=dataset, **config), {}, folder)


def test_every_part_of_a_result_that_is_a_pass_has_its_module() -> None:
    assert list(PASSES) == ["speed", "memory", "energy", "busy", "flops", "accuracy"]
    for name in PASSES:
        assert callable(load_pass(name).measure)
        assert callable(load_pass(name).applies)
    with pytest.raises(ValueError, match="'latency' is none of the passes speed, memory"):
        load_pass("latency")


@pytest.mark.parametrize(
    ("due", "phases"),
    [
        (["speed", "memory", "accuracy"], [["memory"], ["speed", "accuracy"]]),
        (["accuracy", "speed"], [["speed", "accuracy"]]),
        (["busy", "speed", "energy", "accuracy"], [["speed", "energy", "busy", "accuracy"]]),
        (["memory"], [["memory"]]),
        ([], []),
    ],
)
def test_passes_are_divided_among_processes(due: list[str], phases: list[list[str]]) -> None:
    assert phases_of(due) == phases


def test_of_results_that_are_replayed_only_the_accuracy_is_due(tmp_path: Path) -> None:
    planned = replace(job(tmp_path, passes=["speed", "memory", "accuracy"]), replays=True)
    assert passes_due(planned, 1) == ["accuracy"]
    write_result(Result("crashed", asdict(planned.config), measurement_version=MEASUREMENT_VERSION), planned.result_path)
    assert passes_due(planned, 1) == ["accuracy"]
    assert passes_due(replace(job(tmp_path / "other", passes=["speed", "memory"]), replays=True), 1) == [
        "speed",
        "memory",
    ]  # its worker writes the row, which says that it has neither


def test_what_is_due_follows_from_the_result(tmp_path: Path) -> None:
    planned = job(tmp_path, passes=["speed", "memory", "energy"])
    assert passes_due(planned, 1) == ["speed", "memory", "energy"]
    timing = Timing([1.0], "perf_counter")
    speed = SpeedResult(1, [SpeedRound(1, 1.0, [], True)], *[timing] * 5, [1], [[1, 1]], [])
    result = Result("ok", asdict(planned.config), speed=speed, memory=MemoryResult(1, 1), measurement_version=MEASUREMENT_VERSION)
    write_result(result, planned.result_path)
    assert passes_due(planned, 1) == []  # no energy in an ok result: there was no counter
    assert passes_due(planned, 2) == ["speed"]
    result.status = "crashed"
    write_result(result, planned.result_path)
    assert passes_due(planned, 1) == ["energy"]
    result.energy = EnergyResult(1.0, 1, 1.0)
    write_result(result, planned.result_path)
    assert passes_due(planned, 1) == []


def test_planning_changes_nothing_of_what_was_composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(Path(__file__).resolve().parents[1] / "toys")
    arguments = ["model=custom", "model._target_=toy_models.Blobs", "dataset=shapes", "dataset.shapes.count=2"]
    composed = compose([*arguments, "passes=[accuracy]"])
    before = copy.deepcopy(composed)
    [planned] = plan(composed, tmp_path / "out", lambda *_: None)
    assert composed == before
    assert composed[0].config.device == "auto"
    assert planned.config.device in ("cpu", "cuda:0")
    assert planned.config.dataset.annotations is not None
    with pytest.raises(AttributeError):
        planned.folder = tmp_path  # type: ignore[misc]


def test_a_planned_job_goes_to_another_process_and_back(tmp_path: Path) -> None:
    planned = replace(job(tmp_path / "jobs" / "a"), contents={"dataset": "1"}, weights_path="w.pt")
    assert from_description(to_description(planned)) == planned
    newer = to_description(planned)
    newer["config"]["of_tomorrow"] = 1
    with pytest.raises(ValueError, match="unknown key 'of_tomorrow'"):
        from_description(newer)
    older = to_description(planned)
    del older["config"]["overlap"]
    with pytest.raises(ValueError, match="lacks keys that this maskbench has"):
        from_description(older)


PROGRESS = b'{"kind": "progress", "name": "speed", "done": %s, "total": 1, "images": 1}'


@pytest.mark.parametrize(
    "message",
    [
        *(Ready(), Complete(), Resolved("cuda:0"), Refused("no"), Verdict("ok", None, {"results": "a/ü.json"})),
        *(Progress("speed", 0.5, 1.0, 3), Progress("finetune", 1, 2, 0, "loss 1", "AP 2")),
    ],
)
def test_a_message_is_read_as_it_was_sent(message: Any) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == message


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"epoch 3", b"[1]", b'"ready"', b"null", b"{}", b"\xff", b"[" * 100_000),
        *(b'{"kind": "hello"}', b'{"kind": ["ready"]}', b'{"kind": "ready", "more": 1}', b'{"kind": "progress"}'),
        *(PROGRESS % value for value in (b"null", b'"1"', b"true", b"-1", b"NaN", b"1e400", b"9" * 400, b"[1]")),
        b'{"kind": "verdict", "status": 1}',
        b'{"kind": "verdict", "status": "ok", "files": {"weights": 1}}',
        b'{"kind": "verdict", "status": "\\ud800"}',
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="no message of a worker"):
        decode(line)


def test_progress_is_told_at_most_five_times_a_second_but_for_its_end() -> None:
    reading, writing = os.pipe()
    channel = Channel(writing)
    for number in range(1, 101):
        channel("speed", number, 100, 2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        messages = [decode(line.strip()) for line in pipe]
    assert 2 <= len(messages) <= 4
    assert messages[-1] == Progress("speed", 100, 100, 200)


WORKER = """
import os, sys
folder, descriptor, phase = sys.argv[-3], int(sys.argv[-2]), sys.argv[-1]
sys.stdin.readline()
{does}
"""


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Give a function that runs a job whose worker is a program of a few lines, and gives the result."""

    def run(does: str, **protocol: Any) -> Result:
        script = tmp_path / "worker.py"
        script.write_text(WORKER.format(does=does))
        monkeypatch.setattr("bench.jobs.local.worker_command", lambda _, __, *told: ["python3", str(script), *told])
        planned = job(tmp_path / "job", protocol=ProtocolConfig(**protocol))
        return run_job(planned, ["accuracy"], LocalLauncher(), lambda _: None)

    return run


NEWLINE = b"\n"
LOSES = "os.remove(folder + '/result.json')"
COMPLETE = 'os.write(descriptor, b\'{"kind": "complete"}\\n\')'


@pytest.mark.parametrize(
    ("does", "status", "reason"),
    [
        (COMPLETE, "ok", None),
        ("pass", "crashed", "ended with exit status 0 before its result was complete; worker.log is empty"),
        ("print('I am lost'); sys.exit(7)", "crashed", "exit status 7 .*; its last words: I am lost"),
        ("os.write(descriptor, b'epoch 3 of 7\\n'); sys.stdin.read()", "crashed", "no message of a worker: b'epoch 3"),
        ("os.close(descriptor); os.kill(os.getpid(), 11)", "crashed", "killed by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "crashed", "the worker was killed by signal 40; see worker.log"),
        ("os.write(descriptor, b'[1]\\n'); sys.stdin.read()", "crashed", r"no message of a worker: b'\[1\]'"),
        ("os.write(descriptor, b'x' * 3_000_000)", "crashed", "a line of more than 1000000 bytes"),
        (f"{LOSES}; {COMPLETE}", "crashed", "the worker has lost its result: .*result.json: cannot be read"),
        (f"open(folder + '/result.json', 'w').write('{{{{'); {COMPLETE}", "crashed", "has lost its result: .*not JSON"),
        ("os.remove(folder + '/worker.log'); sys.exit(3)", "crashed", "exit status 3 .*; worker.log is gone"),
        ("import shutil; shutil.rmtree(folder); os.kill(os.getpid(), 9)", "crashed", "SIGKILL"),
    ],
)
def test_every_end_of_a_worker_is_a_result(
    ends: Callable[..., Result], tmp_path: Path, does: str, status: str, reason: str | None
) -> None:
    result = ends(does)
    assert result.status == status
    assert read_result(tmp_path / "job" / "result.json") == result
    if reason is None:
        assert result.reason is None
    else:
        assert re.search(reason, result.reason or ""), result.reason


def test_a_worker_that_ends_badly_after_its_work_leaves_a_note(ends: Callable[..., Result]) -> None:
    result = ends(f"{COMPLETE}; sys.exit(3)")
    assert result.status == "ok"
    assert result.notes == ["after its result was complete, the worker ended with exit status 3"]


def test_a_worker_that_does_not_end_after_its_work_is_ended(
    ends: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.jobs.local._LEAVE_SECONDS", 1)
    result = ends(f"{COMPLETE}; import time; time.sleep(60)")
    assert result.status == "ok"
    assert result.notes == ["the worker did not end within 1 s after its result was complete"]


def test_a_flood_of_messages_does_not_hide_the_limit_and_costs_little(ends: Callable[..., Result]) -> None:
    began = os.times()
    result = ends(f"while True: os.write(descriptor, {PROGRESS % b'1' + NEWLINE!r})", time_limit_s=2)
    now = os.times()
    assert (result.status, result.reason) == ("timeout", "not done after 2 s (protocol.time_limit_s)")
    assert now.user + now.system - began.user - began.system < 1.5


@pytest.mark.parametrize(("before", "status", "reason"), [(COMPLETE, "ok", None), ("pass", "failed", "interrupted")])
def test_ctrl_c_costs_no_worker_that_has_completed_its_work(
    ends: Callable[..., Result], tmp_path: Path, before: str, status: str, reason: str | None
) -> None:
    """It comes while the worker takes a second to end."""
    there, main = tmp_path / "there", os.getpid()

    def press() -> None:
        while not there.exists():
            time.sleep(0.05)
        os.kill(main, signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    presses = threading.Thread(target=press)
    presses.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ends(f"{before}; open({str(there)!r}, 'w'); import time; time.sleep(1)")
    finally:
        presses.join()
        signal.signal(signal.SIGINT, handler)
    result = read_result(tmp_path / "job" / "result.json")
    assert (result.status, result.reason) == (status, reason)


def test_the_bar_reads_no_markup_in_what_a_worker_says() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with StudyProgress(console, 1) as progress:
        progress.begin("a[/b]", ["speed"], "")
        progress.on_progress(Progress("[/bold] 1", 0.5, 1, 1, None, "[/red]"))


class _NoWorker:
    """A worker without a process: it says at once that all is done."""

    def __enter__(self) -> _NoWorker:
        return self

    def __exit__(self, *_: object) -> None: ...

    complete = True

    def tell(self, line: str) -> None: ...

    def tell_no_more(self) -> None: ...

    @property
    def seconds_by_part(self) -> dict[str, float]:
        return {}

    def listen(
        self, until: type[Any], on_progress: Callable[[Progress], None], on_untimed: Callable[[], None] = lambda: None
    ) -> Ending:
        on_progress(Progress("accuracy", 1, 1, 1))
        return Ending(True)


class _Nowhere:
    """A launcher of such workers."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, job: PlannedJob, phase: str) -> _NoWorker:
        self.started.append(phase)
        return _NoWorker()


def test_another_place_to_run_jobs_is_one_launcher(tmp_path: Path) -> None:
    nowhere, heard = _Nowhere(), []
    result = run_job(job(tmp_path / "job"), ["memory", "speed", "accuracy"], nowhere, heard.append)
    assert nowhere.started == ["memory", "speed,accuracy"]
    assert (result.status, result.reason) == ("ok", None)
    assert len(heard) == 2
    assert read_result(tmp_path / "job" / "result.json").status == "ok"


@pytest.mark.parametrize("passes", ["speed", "memory", "accuracy"])
def test_the_first_batch_of_every_pass_is_validated(
    run_command: Any, bright_squares: list[str], tmp_path: Path, passes: str
) -> None:
    """A class whose masks have half the image's size gets no FPS and no memory."""
    breaks = ["model=custom", "model._target_=toy_models.GivesHalfMasks", f"passes=[{passes}]", "protocol=quick"]
    done = run_command(*breaks, *bright_squares, f"out={tmp_path}")
    assert done.returncode == 1
    [path] = tmp_path.glob("jobs/*/result.json")
    result = read_result(path)
    assert result.status == "failed"
    assert "Instances.masks" in (result.reason or "")
    assert getattr(result, passes) is None


def test_user_errors_leave_no_folder_behind(tmp_path: Path) -> None:
    composed = compose(["model=custom", "model._target_=no_such_module.Net", "dataset=coco", "device=cpu"])
    with pytest.raises(UserError):
        plan(composed, tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "out").exists()
