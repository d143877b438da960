"""Test when the next row's worker starts: beside what times nothing, and never beside what is timed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import UserError
from bench.jobs import study
from bench.jobs.job import PlannedJob, write_job
from bench.jobs.launcher import Ending
from bench.jobs.messages import Doing, Progress
from bench.jobs.process.ahead import AheadLauncher
from bench.jobs.run_job import run_job
from bench.jobs.slots.schedule import Turn
from bench.jobs.worker import main
from bench.schema.config import BenchConfig, DatasetConfig, FinetuneConfig, ModelConfig
from bench.schema.result import PASSES, Result


class _Worker:
    """Tells what is asked of it, and that it will time nothing any more, in the order of a real one."""

    def __init__(self, told: list[str], name: str) -> None:
        self._told, self._name = told, name

    complete = True
    seconds_by_part: dict[str, float] = {}  # noqa: RUF012

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._told.append(f"{self._name} ended")

    def tell(self, line: str) -> None:
        self._told.append(f"{self._name} {line}")

    def tell_no_more(self) -> None: ...

    def listen(
        self, until: type[Any], on_progress: Callable[[Progress], None], on_untimed: Callable[[], None] = lambda: None
    ) -> Ending:
        self._told.append(f"{self._name} untimed")
        on_untimed()
        return Ending(True)


class _Launcher:
    def __init__(self) -> None:
        self.told: list[str] = []

    def start(self, job: PlannedJob, phase: str) -> _Worker:
        name = f"{job.folder.name}:{phase}"
        self.told.append(f"{name} started")
        return _Worker(self.told, name)


def job(folder: Path) -> PlannedJob:
    return PlannedJob(BenchConfig(model=ModelConfig(name="m"), dataset=DatasetConfig(name="d")), {}, folder)


def test_the_next_row_starts_when_the_last_worker_of_this_one_times_nothing(tmp_path: Path) -> None:
    places, (one, two) = _Launcher(), (job(tmp_path / "one"), job(tmp_path / "two"))
    with AheadLauncher(places) as launcher:
        run_job(one, ["memory", "speed"], launcher, lambda _: None, lambda: launcher.prepare(two, "memory"))
        run_job(two, ["memory"], launcher, lambda _: None)
    assert places.told == [
        "one:memory started",
        "one:speed started",  # the memory pass times nothing
        "one:memory begin",
        "one:memory untimed",
        "one:speed begin",
        "one:speed untimed",
        "two:memory started",
        "one:speed ended",
        "one:memory ended",
        "two:memory begin",
        "two:memory untimed",
        "two:memory ended",
    ]


def test_a_worker_that_nobody_asks_for_is_ended(tmp_path: Path) -> None:
    places, (one, two) = _Launcher(), (job(tmp_path / "one"), job(tmp_path / "two"))
    with AheadLauncher(places) as launcher:
        launcher.prepare(one, "memory")
        launcher.start(two, "speed")
        launcher.prepare(one, "speed")
    assert places.told == [
        "one:memory started",
        "one:memory ended",
        "two:speed started",
        "one:speed started",
        "one:speed ended",
    ]


def test_the_turn_that_is_prepared_is_the_next_in_which_something_is_known_to_be_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(name: str, **changes: Any) -> PlannedJob:
        return dataclasses.replace(job(tmp_path / name), **changes)

    trained = BenchConfig(finetune=FinetuneConfig())
    now, done, skipped, other = of("now"), of("done"), of("skipped", skip_reason="absent"), of("other")
    monkeypatch.setattr(study, "passes_due", lambda job, _: [] if job is done else ["memory", "speed", "accuracy"])

    def prepared(*later: PlannedJob, round_number: int = 1, status: str = "ok") -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        ahead = SimpleNamespace(prepare=lambda job, phase: found.append((job.folder.name, phase)))
        turns = [Turn(job, number, round_number) for number, job in enumerate(later, 2)]
        results = {turn.number: Result(status, {}) for turn in turns}
        study._start_ahead(ahead, Turn(now, 1, 1), turns, results)  # type: ignore[arg-type]
        return found

    assert prepared(done, skipped, other) == [("other", "memory")]
    assert prepared(done) == []
    assert prepared(now, other) == []  # of this very job it is not known yet what will be due
    assert prepared(of("trained", config=trained), other) == []
    assert prepared(other, round_number=2) == [("other", "memory")]
    assert prepared(other, round_number=2, status="failed") == []


def test_a_worker_says_that_it_times_nothing_after_its_last_timed_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def measured(name: str) -> Any:
        return SimpleNamespace(applies=lambda _: True, measure=lambda _: sent.append(name))

    monkeypatch.setattr(main, "load_pass", measured)
    monkeypatch.setattr(main, "add_sources", lambda *_: None)
    monkeypatch.setattr(main, "write_result", lambda *_: None)
    monkeypatch.setattr(main, "keep_freed_memory", lambda: sent.append("freed memory is kept"))
    config = BenchConfig(model=ModelConfig(name="m"), dataset=DatasetConfig(name="d"))
    context = SimpleNamespace(predictor=None, result=SimpleNamespace(), folder=tmp_path, config=config)
    context.warm_every_shape = lambda: sent.append("every shape")
    names = [name for name in PASSES if not PASSES[name].own_process]
    assert names == ["speed", "energy", "busy", "flops", "accuracy"]
    main._run_passes(SimpleNamespace(), context, names, SimpleNamespace(send=sent.append))  # type: ignore[arg-type]
    told = [(each.part, each.untimed) for each in sent if isinstance(each, Doing)]
    assert told == [("speed", False), ("energy", False), ("busy", False), ("flops", True), ("accuracy", True)]
    done = [each for each in sent if isinstance(each, str)]
    kept = "freed memory is kept"
    assert done == ["speed", "every shape", "energy", "every shape", "busy", kept, "flops", kept, "accuracy"]
    sent.clear()
    main._run_passes(SimpleNamespace(), context, ["memory"], SimpleNamespace(send=lambda _: None))  # type: ignore[arg-type]
    assert sent == ["memory"]


def test_the_next_row_imports_beside_the_accuracy_pass_and_begins_after_it(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    model = ["model=custom", "model._target_=tells_when.TellsWhen", f"+model.options.told={told}"]
    command = [*model, "+model.options.delay_ms=1500", "passes=[accuracy]", "input_size=null", *bright_squares]
    done = run_command(*command, "batch_size=1,2", f"out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    first, second = (
        [line for line in lines if line["process"] == process]
        for process in list(dict.fromkeys(line["process"] for line in lines))[-2:]
    )
    assert [line["what"] for line in first] == ["constructed", *4 * ["run"]]
    assert second[0]["imported"] < first[-1]["at"] < second[0]["at"]


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("phase", ["memory", "train"])
def test_a_worker_reads_the_data_set_before_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, damaged: bool
) -> None:
    """An error is left for the worker to meet again, in its turn: who waits has no row to write it into."""
    did: list[str] = []

    def load(config: DatasetConfig) -> object:
        did.append(f"read {config.name}")
        if damaged:
            raise UserError("the data set is damaged")
        return object()

    planned = job(tmp_path)
    write_job(planned)
    monkeypatch.setattr(main, "load", load)
    monkeypatch.setattr(main, "_take_stdin", lambda: SimpleNamespace(readline=lambda: did.append("waited") or ""))
    with open(tmp_path / "messages", "wb") as file:
        assert main.main([str(planned.folder), str(file.fileno()), phase]) == 1
    assert did == (["waited"] if phase == "train" else ["read d", "waited"])
