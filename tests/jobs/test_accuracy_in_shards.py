"""Tests rows whose accuracy is measured in shards: workers that die, fail or are interrupted cost no other shard."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.jobs.identity import shard_key
from bench.jobs.job import PlannedJob, phases_of
from bench.jobs.messages import Progress
from bench.jobs.shards.phase import merge_phase, merged_of, shard_of, shard_phase
from bench.jobs.shards.places import OnePlace, shards_of
from bench.jobs.shards.run import Outcome, _Together
from bench.jobs.validate import check_values
from bench.passes.shards.division import Shard
from bench.schema.config import AccuracyConfig, BenchConfig, DatasetConfig, ModelConfig, ProtocolConfig
from bench.schema.result import Result, read_result, results_under

ROOT = Path(__file__).resolve().parents[2]
SQUARE = "50x50"
"""The third image; of two shards it is in the first, with the largest, and the other two are in the second."""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    folder = tmp_path / "told"
    folder.mkdir()
    return folder


@pytest.fixture
def command(environment: dict[str, str], bright_squares: list[str], told: Path, tmp_path: Path) -> Callable[..., Any]:
    """Start a row of a toy, with ``accuracy.shards=2`` unless something else is said."""

    def start(cls: str, *arguments: str, shards: str = "2", **variables: str) -> subprocess.Popen[str]:
        model = ["model=custom", f"model._target_=in_shards.{cls}", "model.weights=own", "passes=[accuracy]"]
        given = [*model, *bright_squares, f"accuracy.shards={shards}", f"out={tmp_path / 'out'}", *arguments]
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run_bench.py"), *given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "TOY_TOLD": str(told), **variables},
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


@pytest.fixture
def row(command: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Callable[..., tuple[int, Result]]:
    """Run a row of a toy to its end; give the exit status and the result."""

    def run(*arguments: str, **given: str) -> tuple[int, Result]:
        process = command(*arguments, **given)
        _, errors = process.communicate(timeout=240)
        assert "Traceback" not in errors, errors
        [path] = results_under(tmp_path / "out")
        return process.returncode, read_result(path)

    return run


def asked(told: Path) -> Counter[str]:
    """Give how often the model was asked for an image of each size."""
    return Counter(line for path in told.glob("*.txt") for line in path.read_text().splitlines())


def shard_files(out: Path) -> list[str]:
    return sorted(str(path.parent.name) for path in out.glob("jobs/*/shards/*/shard.jsonl"))


def test_a_demo_row_in_shards_is_the_row_as_a_whole(run_command: Any, tmp_path: Path) -> None:
    """Beside the accuracy, the row has all that a row has, and nothing of the shards is left."""
    pytest.importorskip("torchvision")
    given = ["model=demo_mask_rcnn_torchvision", "dataset.shapes.count=7", "batch_size=2", "passes=[accuracy,flops]"]
    found = {}
    for name, shards in (("whole", "null"), ("shards", "3")):
        done = run_command(*given, "device=cpu", f"accuracy.shards={shards}", f"out={tmp_path / name}")
        assert done.returncode == 0, done.stdout + done.stderr
        [path] = results_under(tmp_path / name)
        found[name] = read_result(path), path.with_name("predictions.json").read_bytes(), path.parent
    (whole, bytes_whole, folder), (shards, bytes_shards, other) = found["whole"], found["shards"]
    assert bytes_shards == bytes_whole
    assert len(json.loads(bytes_whole)) > 7
    assert whole.accuracy is not None
    assert shards.accuracy is not None
    assert whole.accuracy.bootstrap is not None
    assert dataclasses.replace(shards.accuracy, seconds=None) == dataclasses.replace(whole.accuracy, seconds=None)
    changing = {"accuracy": None, "config": {}, "started": None, "seconds": None, "seconds_by_part": {}}
    assert dataclasses.replace(shards, **changing) == dataclasses.replace(whole, **changing)
    assert other.name == folder.name
    assert sorted(path.name for path in other.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert set(shards.seconds_by_part) == set(whole.seconds_by_part)
    assert sum(shards.seconds_by_part.values()) == pytest.approx(shards.seconds)


def test_a_worker_that_dies_is_started_again(row: Any, told: Path, tmp_path: Path) -> None:
    status, result = row("Mortal", TOY_DEATHS="2")
    assert (status, result.status, result.reason) == (0, "ok", None)
    assert result.accuracy is not None
    assert (result.accuracy.images_evaluated, result.accuracy.detections) == (4, 4)
    assert len(list(told.glob("*.dead"))) == 2
    assert asked(told)[SQUARE] == 3
    assert result.notes == []
    assert list(tmp_path.glob("out/jobs/*/shards")) == []


def test_a_worker_that_dies_thrice_fails_the_row_and_costs_no_other_shard(row: Any, told: Path, tmp_path: Path) -> None:
    status, result = row("Mortal", TOY_DEATHS="3")
    assert (status, result.status) == (1, "crashed")
    assert result.reason == (
        "shard 1 of 2 (3 times): the worker was killed by SIGKILL, by the kernel if the machine's memory ran out; see "
        "worker.log (in shards/1-of-2)"
    )
    assert result.accuracy is None
    assert result.machine is not None
    assert result.model is not None
    assert shard_files(tmp_path / "out") == ["2-of-2"]
    before = asked(told)
    status, result = row("Mortal", TOY_DEATHS="3")
    assert (status, result.status) == (0, "ok")
    assert result.accuracy is not None
    assert result.accuracy.detections == 4
    # The first shard has two images, and the first image of the set as a witness.
    assert asked(told) - before == Counter({SQUARE: 1, "64x96": 1, "60x80": 1})


def test_a_failure_that_would_come_again_is_not_tried_again(row: Any, told: Path, tmp_path: Path) -> None:
    status, result = row("Fails", TOY_FAILS="1")
    assert (status, result.status) == (1, "failed")
    assert (result.reason or "").startswith("shard 1 of 2: ValueError: the image is square (in_shards.py:")
    assert asked(told)[SQUARE] == 1
    assert shard_files(tmp_path / "out") == ["2-of-2"]
    assert row("Fails")[1].status == "ok"


def test_the_shards_of_another_number_are_not_merged(row: Any, told: Path, tmp_path: Path) -> None:
    """They stay until the row is measured; then all go."""
    assert row("Fails", TOY_FAILS="1")[1].status == "failed"
    before = asked(told)
    status, result = row("Fails", shards="3", TOY_FAILS="1")
    assert status == 1
    assert "2-of-2" in shard_files(tmp_path / "out")
    assert asked(told) - before >= Counter({"60x80": 1, "80x60": 1, "64x96": 1})
    before = asked(told)
    status, result = row("Fails", shards="null")
    assert status == 0
    assert result.accuracy is not None
    assert result.accuracy.detections == 4
    assert asked(told) - before == Counter({SQUARE: 1, "60x80": 1, "80x60": 1, "64x96": 1})
    assert list(tmp_path.glob("out/jobs/*/shards")) == []


def test_a_shard_from_other_code_is_predicted_anew(row: Any, told: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from in_shards import Fails\n\n\nclass Mine(Fails):\n    pass\n")
    mine = "model._target_=mine.py:Mine"
    assert row("Fails", mine, TOY_FAILS="1")[1].status == "failed"
    assert shard_files(tmp_path / "out") == ["2-of-2"]
    with open(tmp_path / "mine.py", "a") as file:
        file.write("# changed\n")
    before = asked(told)
    assert row("Fails", mine)[1].status == "ok"
    assert asked(told) - before == Counter({SQUARE: 1, "60x80": 2, "80x60": 1, "64x96": 1})


def test_ctrl_c_keeps_the_shards_that_are_whole(
    command: Callable[..., subprocess.Popen[str]], row: Any, told: Path, tmp_path: Path
) -> None:
    (told / "wait").touch()
    process = command("Waits")
    deadline = time.monotonic() + 120
    while shard_files(tmp_path / "out") != ["2-of-2"] or not asked(told)[SQUARE]:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "what was measured is kept" in output
    [path] = results_under(tmp_path / "out")
    result = read_result(path)
    assert (result.status, result.reason) == ("failed", "interrupted")
    assert shard_files(tmp_path / "out") == ["2-of-2"]
    (told / "wait").unlink()
    before = asked(told)
    status, result = row("Waits")
    assert (status, result.status) == (0, "ok")
    assert asked(told) - before == Counter({SQUARE: 1, "64x96": 1, "60x80": 1})


def test_the_command_killed_leaves_no_worker(
    command: Callable[..., subprocess.Popen[str]], told: Path, tmp_path: Path
) -> None:
    (told / "wait").touch()
    process = command("Waits")
    deadline = time.monotonic() + 120
    while not asked(told)[SQUARE]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    [pid] = (int(path.stem) for path in told.glob("*.txt") if SQUARE in path.read_text())
    process.kill()
    process.communicate()
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_class_whose_answers_depend_on_what_came_before_is_told(row: Any) -> None:
    status, result = row("Counts")
    assert status == 0
    [note] = result.notes
    assert note.startswith("accuracy.shards: shard 1 of 2 found other instances in the first batch than shard 2, which")


def test_more_shards_than_batches_are_refused(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    given = ["model=custom", "model._target_=toy_models.Blobs", *bright_squares, f"out={tmp_path / 'out'}"]
    done = run_command(*given, "batch_size=3", "accuracy.shards=3")
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "accuracy.shards=3: coco has 4 images, which are 2 batches of 3, and a batch is never divided; give "
        "accuracy.shards=2 or fewer"
    )
    assert not (tmp_path / "out").exists()


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
