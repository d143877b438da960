"""Tests how a row in shards goes: what is run, what again and what not, with workers that are calls in this process."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.dataset import load
from bench.device.fingerprint import Fingerprint
from bench.errors import UserError
from bench.jobs.identity import shard_key
from bench.jobs.job import PlannedJob, passes_due, phases_of, read_job, write_job
from bench.jobs.launcher import Ending
from bench.jobs.messages import Channel, Progress
from bench.jobs.run_job import first_phase, run_job
from bench.jobs.shards.phase import merge_phase, merged_of, shard_of, shard_phase
from bench.jobs.shards.places import OnePlace, shards_of
from bench.jobs.shards.run import Outcome, _Together
from bench.jobs.validate import check_values
from bench.jobs.worker import main, sources
from bench.passes.shards.division import Shard
from bench.private.texts import without_home
from bench.schema.config import AccuracyConfig, BenchConfig, DatasetConfig, ModelConfig, ProtocolConfig
from bench.schema.result import Result, results_under

ROOT = Path(__file__).resolve().parents[2]
FIRST = {"50x50": 1, "64x96": 1}
"""The images of the first of two shards, which does not have the first image of the set."""
SECOND = {"60x80": 1, "80x60": 1}
TWICE = dict.fromkeys(SECOND, 2)
"""Each shard predicts the images of the shard that has the first one, of so few all."""


class Worker:
    """A worker that does its work when it is listened to, in the thread that listens; or ends as the test says."""

    complete = False

    def __init__(self, launcher: Launcher, job: PlannedJob, phase: str) -> None:
        self._launcher, self._job, self._phase = launcher, job, phase
        self.interrupted = False
        self.seconds_by_part: dict[str, float] = {}

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None: ...

    def tell(self, line: str) -> None: ...

    def tell_no_more(self) -> None: ...

    def interrupt(self) -> None:
        self.interrupted = True

    def listen(self, until: type[Any], on_progress: Any, on_untimed: Any = lambda: None) -> Ending:
        self._launcher.ran.append(self._phase)
        self.seconds_by_part = {"accuracy": 1.0}
        if (ends := self._launcher.ends.get(self._phase)) and (ending := ends.pop(0)):
            if ending == "interrupt":
                raise KeyboardInterrupt
            return Ending(False, "crashed", ending) if isinstance(ending, str) else ending
        told, writing = os.pipe()
        try:
            main.work(read_job(self._job.folder), self._job.folder, self._phase, Channel(writing))
        finally:
            os.close(told)
            os.close(writing)
        self.complete = True
        return Ending(True, note=self._launcher.notes.get(self._phase, ""))


class Launcher:
    """Runs one worker after the other.

    ends: by a phase, how its workers end: an ending, the reason of a crash, ``interrupt``, or "" for a whole one
    """

    def __init__(self) -> None:
        self.ends: dict[str, list[Any]] = {}
        self.notes: dict[str, str] = {}
        self.started: list[str] = []
        self.ran: list[str] = []

    def start(self, job: PlannedJob, phase: str) -> Worker:
        write_job(job)
        self.started.append(phase)
        return Worker(self, job, phase)

    def idle(self) -> int:
        return 1

    def launchers(self, shards: int) -> list[Launcher]:
        return [self]


class Row:
    """A row of a toy in two shards, of which one command after the other may ask."""

    def __init__(self, config: BenchConfig, folder: Path, told: Path) -> None:
        self.job = PlannedJob(config, {}, folder / "jobs" / "row", now=Fingerprint(folders=[str(ROOT)]), batches=4)
        self._told, self._before = told, Counter[str]()
        self.launcher = Launcher()
        self.notes: dict[str, str] = {}

    def __call__(self, shards: str | None = "2", **ends: list[Any]) -> Result:
        """Run what is due of the row; ``ends`` are by the name of a phase, with ``_`` for ``-``."""
        self.launcher = Launcher()
        self.launcher.notes = self.notes
        self.launcher.ends = {phase.replace("_", "-"): list(each) for phase, each in ends.items()}
        config = dataclasses.replace(self.job.config, accuracy=AccuracyConfig(shards=shards))
        self.job = dataclasses.replace(self.job, config=config)
        due = passes_due(self.job, 1)
        return run_job(self.job, due, self.launcher, lambda _: None, places=self.launcher)

    @property
    def asked(self) -> dict[str, int]:
        """How often the model was asked for an image of each size since this was read last."""
        lines = Counter(line for path in self._told.glob("*.txt") for line in path.read_text().splitlines())
        new, self._before = lines - self._before, lines
        return dict(new)

    @property
    def shards(self) -> list[str]:
        """The shards that are whole."""
        return sorted(path.parent.name for path in self.job.folder.glob("shards/*/shard.jsonl"))


MakeRow = Callable[..., Row]


@pytest.fixture
def make_row(bright_squares: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRow:
    told = tmp_path / "told"
    told.mkdir()
    monkeypatch.setenv("TOY_TOLD", str(told))
    monkeypatch.setattr(main, "keep_freed_memory", lambda: None)  # there would be no way back
    given = dict(argument.split("=", 1) for argument in bright_squares)
    dataset = DatasetConfig("d", images=given["dataset.images"], annotations=given["dataset.annotations"])
    assert len(load(dataset).images) == 4

    def make(target: str = "in_shards.Fails", **config: Any) -> Row:
        model = ModelConfig(name="m", _target_=target, weights="own")
        settings = {"model": model, "dataset": dataset, "device": "cpu", "passes": ["accuracy"], **config}
        return Row(BenchConfig(detections="thresholded", **settings), tmp_path, told)

    return make


def test_shards_are_predicted_and_merged_and_removed(make_row: MakeRow) -> None:
    row = make_row()
    result = row()
    assert (result.status, result.reason, result.notes) == ("ok", None, [])
    # The worker that merges starts first, and waits.
    assert row.launcher.started == ["merge-of-2", "shard-1-of-2", "shard-2-of-2"]
    assert row.launcher.ran == ["shard-1-of-2", "shard-2-of-2", "merge-of-2"]
    assert row.asked == {**FIRST, **TWICE}
    assert result.accuracy is not None
    assert (result.accuracy.images_evaluated, result.accuracy.detections) == (4, 4)
    assert not (row.job.folder / "shards").exists()
    assert passes_due(row.job, 1) == []


def test_other_passes_are_measured_before_the_shards(make_row: MakeRow) -> None:
    row = make_row(passes=["accuracy", "flops"])
    assert row().status == "ok"
    assert row.launcher.ran == ["flops", "shard-1-of-2", "shard-2-of-2", "merge-of-2"]
    assert row.launcher.started.index("merge-of-2") < row.launcher.started.index("shard-1-of-2")


@pytest.mark.parametrize("shards", [None, "1", "auto"])
def test_a_row_without_shards_is_as_ever(make_row: MakeRow, shards: str | None) -> None:
    row = make_row()
    assert row(shards).status == "ok"
    assert row.launcher.started == ["accuracy"]
    assert first_phase(row.job, ["accuracy"], row.launcher) == "accuracy"


def test_the_worker_that_is_started_ahead_is_the_one_that_merges(make_row: MakeRow) -> None:
    row = make_row()
    row()
    assert first_phase(row.job, ["accuracy"], row.launcher) == row.launcher.started[0] == "merge-of-2"
    assert first_phase(row.job, ["accuracy", "memory"], row.launcher) == "memory"


def test_a_shard_that_dies_is_run_again_twice(make_row: MakeRow) -> None:
    row = make_row()
    assert row(shard_1_of_2=["killed", "killed"]).status == "ok"
    assert row.launcher.ran == ["shard-1-of-2"] * 3 + ["shard-2-of-2", "merge-of-2"]


def test_a_shard_that_dies_thrice_fails_the_row_and_costs_no_other_shard(make_row: MakeRow) -> None:
    row = make_row()
    result = row(shard_2_of_2=["killed by SIGKILL; see worker.log"] * 3)
    assert result.status == "crashed"
    assert result.reason == "shard 2 of 2 (3 times): killed by SIGKILL; see worker.log (in shards/2-of-2)"
    assert row.launcher.ran == ["shard-1-of-2"] + ["shard-2-of-2"] * 3
    assert result.accuracy is None
    assert row.shards == ["1-of-2"]
    assert row.asked == FIRST | SECOND
    assert row().status == "ok"
    assert row.launcher.ran == ["shard-2-of-2", "merge-of-2"]
    assert row.asked == SECOND


def test_a_failure_that_would_come_again_is_not_tried_again(make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row says of its machine and its model what it would say without shards."""
    row = make_row()
    monkeypatch.setenv("TOY_FAILS", "1")
    result = row()
    assert result.status == "failed"
    assert (result.reason or "").startswith("shard 1 of 2: ValueError: the image is square (in_shards.py:")
    assert (result.reason or "").endswith("; see worker.log) (in shards/1-of-2)")
    assert result.machine is not None
    assert result.model is not None
    # What has not begun is left for the same command.
    assert row.launcher.ran == ["shard-1-of-2"]
    monkeypatch.delenv("TOY_FAILS")
    assert row().status == "ok"


@pytest.mark.parametrize("status", ["timeout", "out_of_memory"])
def test_a_shard_that_passes_a_limit_fails_the_row(make_row: MakeRow, status: str) -> None:
    row = make_row()
    result = row(shard_1_of_2=[Ending(False, status, "too much")])
    assert (result.status, result.reason) == (status, "shard 1 of 2: too much (in shards/1-of-2)")
    assert row.launcher.ran == ["shard-1-of-2"]


def test_a_worker_that_ends_well_without_its_shard_has_died(make_row: MakeRow) -> None:
    row = make_row()
    result = row(shard_1_of_2=[Ending(True)] * 3)
    assert result.status == "crashed"
    assert "shard 1 of 2 (3 times): its worker has ended without a word" in (result.reason or "")


def test_what_a_worker_did_after_its_shard_was_whole_is_a_note(make_row: MakeRow) -> None:
    row = make_row()
    row.notes = {"shard-2-of-2": "the worker ended with exit status 3"}
    result = row()
    assert (result.status, result.notes) == ("ok", ["shard 2 of 2: the worker ended with exit status 3"])


def test_an_interruption_keeps_whole_shards(make_row: MakeRow) -> None:
    row = make_row()
    with pytest.raises(KeyboardInterrupt):
        row(shard_2_of_2=["interrupt"])
    [path] = results_under(row.job.folder)
    result = main.read_own_result(path)
    assert (result.status, result.reason) == ("failed", "interrupted")
    assert result.seconds_by_part.keys() <= {"wait", "accuracy"}
    assert row.shards == ["1-of-2"]
    row.asked  # noqa: B018
    assert row().status == "ok"
    assert row.asked == SECOND


def test_an_interruption_of_the_merging_keeps_all_shards(make_row: MakeRow) -> None:
    row = make_row()
    with pytest.raises(KeyboardInterrupt):
        row(merge_of_2=["interrupt"])
    assert row.shards == ["1-of-2", "2-of-2"]
    assert row().status == "ok"
    assert row.launcher.ran == ["merge-of-2"]


def test_a_worker_that_merges_and_dies_costs_no_shard(make_row: MakeRow) -> None:
    row = make_row()
    assert row(merge_of_2=["killed"]).status == "crashed"
    assert row().status == "ok"
    assert row.launcher.ran == ["merge-of-2"]


def test_the_shards_of_another_number_are_not_merged(make_row: MakeRow) -> None:
    """They stay until the row is measured, since the number may change back; then all go."""
    row = make_row()
    row(shard_2_of_2=["killed"] * 3)
    row.asked  # noqa: B018
    assert row("3", shard_3_of_3=["killed"] * 3).status == "crashed"
    assert row.shards == ["1-of-2", "1-of-3", "2-of-3"]
    row.asked  # noqa: B018
    assert row("2").status == "ok"
    assert row.asked == SECOND
    assert row.shards == []


def test_the_row_as_a_whole_takes_nothing_from_shards(make_row: MakeRow) -> None:
    row = make_row()
    row(shard_2_of_2=["killed"] * 3)
    row.asked  # noqa: B018
    assert row(None).status == "ok"
    assert row.asked == {**FIRST, **SECOND}
    assert row.shards == []


def test_what_is_left_of_a_shard_is_never_taken(make_row: MakeRow) -> None:
    """A shard that a killed worker has begun, and one whose file was damaged between two commands."""
    row = make_row()
    row(merge_of_2=["killed"])
    path = row.job.folder / "shards" / "1-of-2" / "shard.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"score"', b'"scorf"', 1))
    (row.job.folder / "shards" / "2-of-2" / "shard.jsonl").rename(path.parent.parent / "2-of-2" / "shard.jsonl.part")
    row.asked  # noqa: B018
    assert row().status == "ok"
    assert row.asked == {**FIRST, **TWICE}


def test_shards_of_other_contents_are_predicted_anew(make_row: MakeRow) -> None:
    row = make_row()
    row(merge_of_2=["killed"])
    row.job = dataclasses.replace(row.job, contents={"environment": "other"})
    assert row().status == "ok"
    assert row.launcher.ran == ["shard-1-of-2", "shard-2-of-2", "merge-of-2"]


def test_shards_from_other_code_are_predicted_anew(make_row: MakeRow, tmp_path: Path) -> None:
    mine = tmp_path / "mine_in_shards.py"
    mine.write_text("from in_shards import Tells\n\n\nclass Mine(Tells):\n    pass\n")
    row = make_row(f"{mine}:Mine")
    assert row(merge_of_2=["killed"]).status == "crashed"
    with open(mine, "a") as file:
        file.write("# changed\n")
    sources._digest.cache_clear()  # as in the process of another command
    assert row().status == "ok"
    assert row.launcher.ran == ["shard-1-of-2", "shard-2-of-2", "merge-of-2"]


def test_a_file_that_is_edited_while_a_shard_starts_is_the_reason(make_row: MakeRow, tmp_path: Path) -> None:
    mine = tmp_path / "edited_in_shards.py"
    mine.write_text("from in_shards import Tells\n\n\nclass Mine(Tells):\n    pass\n")
    row = make_row(f"{mine}:Mine")
    name = str(mine)
    planned = dataclasses.replace(row.job.now, sources={name: "0" * 16})
    row.job = dataclasses.replace(row.job, now=planned)
    result = row()
    assert (result.status, row.launcher.ran) == ("failed", ["shard-1-of-2"])
    says = f"shard 1 of 2: {name} has changed; the same command predicts it anew (in shards/1-of-2)"
    assert result.reason == without_home(says)


def test_shards_with_fewer_parts_than_are_asked_for_now_are_predicted_anew(make_row: MakeRow) -> None:
    row = make_row()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.jobs.shards.run.made_overlaps", lambda *_: ["keep"])
        patch.setattr("bench.passes.predicting.shard.made_overlaps", lambda *_: ["keep"])
        row(merge_of_2=["killed"])
    assert row.shards == ["1-of-2", "2-of-2"]
    assert row().status == "ok"
    assert row.launcher.ran == ["shard-1-of-2", "shard-2-of-2", "merge-of-2"]


def test_a_shard_that_cannot_be_merged_is_predicted_anew(make_row: MakeRow) -> None:
    """What the command cannot know and the merging worker finds: the division was another."""
    row = make_row()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.passes.predicting.shard.images_of", lambda shard, images, size: list(images[:2]))
        result = row()
    assert result.status == "failed"
    assert "holds image 1 where image 3 belongs; the same command predicts it anew" in (result.reason or "")
    assert row.shards == ["2-of-2"]
    assert row().status == "ok"


def test_an_error_of_ours_stops_the_other_shards(make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Launcher.start

    def cannot_start(launcher: Launcher, job: PlannedJob, phase: str) -> Worker:
        if phase.startswith("shard"):
            raise OSError("no such interpreter")
        return start(launcher, job, phase)

    monkeypatch.setattr(Launcher, "start", cannot_start)
    with pytest.raises(OSError, match="no such interpreter"):
        make_row()()


def test_a_class_whose_answers_depend_on_what_came_before_is_told(make_row: MakeRow) -> None:
    [note] = make_row("in_shards.Counts")().notes
    assert note.startswith("accuracy.shards: shard 1 of 2 found other instances in images of shard 2 than that one: ")


def test_seconds_are_those_of_the_wall(make_row: MakeRow) -> None:
    result = make_row()()
    assert result.seconds_by_part.keys() == {"accuracy", "wait"}
    assert sum(result.seconds_by_part.values()) == pytest.approx(result.seconds)


@pytest.mark.parametrize("shards", ["0", "-1", "2.5", "many", "1e3", "٣"])
def test_a_number_of_shards_that_is_none_is_refused(shards: str) -> None:
    config = BenchConfig(accuracy=AccuracyConfig(shards=shards), dataset=DatasetConfig(name="d"))
    with pytest.raises(UserError, match=f"accuracy.shards={shards}: must be a whole number of 1 or more, auto, or nu"):
        check_values(config)


class _Places:
    def idle(self) -> int:
        return 6

    def launchers(self, shards: int) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("shards", "fields", "number"),
    [
        (None, {}, 1),
        ("1", {}, 1),
        ("4", {}, 4),
        ("auto", {}, 6),
        ("auto", {"batches": 5}, 5),
        ("4", {"replays": True}, 1),
    ],
)
def test_how_many_shards_a_row_has(shards: str | None, fields: dict[str, Any], number: int, tmp_path: Path) -> None:
    config = BenchConfig(accuracy=AccuracyConfig(shards=shards))
    job = PlannedJob(config, {}, tmp_path, **{"batches": 100, **fields})
    assert shards_of(job, _Places()) == number
    assert shards_of(dataclasses.replace(job, config=dataclasses.replace(config, passes=["speed"])), _Places()) == 1


def test_one_place_runs_all_shards_at_once() -> None:
    launcher: Any = object()
    assert OnePlace(launcher).idle() == 1
    assert OnePlace(launcher).launchers(3) == [launcher] * 3


def test_phases_of_shards() -> None:
    due = ["speed", "accuracy", "memory", "flops"]
    assert phases_of(due, shards=True) == [["memory"], ["speed", "flops"], ["accuracy"]]
    assert phases_of(["accuracy"], shards=True) == [["accuracy"]]
    assert phases_of(["memory"], shards=True) == [["memory"]]
    assert shard_of(shard_phase(Shard(2, 15))) == Shard(2, 15)
    assert merged_of(merge_phase(15)) == 15
    for phase in ("accuracy", "train", "rounds", "memory", "speed,accuracy"):
        assert shard_of(phase) is None
        assert merged_of(phase) is None
    assert merged_of(shard_phase(Shard(2, 15))) is None
    assert shard_of(merge_phase(15)) is None


def test_what_changes_predictions_changes_the_key() -> None:
    config = BenchConfig(model=ModelConfig(name="m"), dataset=DatasetConfig(name="d"))
    contents = {"dataset": "d1", "weights": "w1"}
    key = shard_key(config, contents, "w1")
    same = dataclasses.replace(config, passes=["accuracy"], out="elsewhere", accuracy=AccuracyConfig(shards="3"))
    assert shard_key(same, dict(contents), "w1") == key
    moved = dataclasses.replace(config, dataset=DatasetConfig(name="d", annotations="/elsewhere/a.json"))
    assert shard_key(moved, contents, "w1") == key
    others = [
        shard_key(config, contents, "trained"),
        shard_key(config, {**contents, "dataset": "d2"}, "w1"),
        shard_key(dataclasses.replace(config, batch_size=2), contents, "w1"),
        shard_key(dataclasses.replace(config, protocol=ProtocolConfig(max_detections=7)), contents, "w1"),
        shard_key(dataclasses.replace(config, precision="bf16"), contents, "w1"),
        shard_key(dataclasses.replace(config, model=ModelConfig(name="m", options={"a": 1})), contents, "w1"),
    ]
    assert len({key, *others}) == 1 + len(others)


def test_the_parts_of_shards_that_overlapped_add_up_to_the_wall_time() -> None:
    outcome = Outcome(Counter({"import": 4.0, "accuracy": 12.0}))
    assert outcome.parts_within(8.0) == {"import": 2.0, "accuracy": 6.0}
    assert Outcome().parts_within(8.0) == {}


def test_progress_is_that_of_all_shards_together() -> None:
    seen: list[Progress] = []
    together = _Together(2, seen.append)
    together(Shard(1, 2), Progress("load", 0, 1, 0))
    together(Shard(1, 2), Progress("accuracy", 5, 10, 5))
    together(Shard(2, 2), Progress("accuracy", 1, 4, 1))
    together.done(Shard(1, 2))
    assert [(one.done, one.total, one.images) for one in seen] == [(0.5, 2, 5), (0.75, 2, 6), (1.25, 2, 6)]


def test_the_results_of_shards_are_no_rows(tmp_path: Path) -> None:
    """Only in the folder of a job: a user's own folder may be called shards."""
    for name in ("jobs/row/result.json", "jobs/row/shards/2-of-3/result.json", "shards/mine/result.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert results_under(tmp_path) == [tmp_path / "jobs/row/result.json", tmp_path / "shards/mine/result.json"]
