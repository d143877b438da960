"""Tests rows whose accuracy is measured in shards: workers that die, fail or are interrupted cost no other shard."""

from __future__ import annotations

import dataclasses
import hashlib
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

from bench.device.fingerprint import facts_of
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
        _, errors = process.communicate(timeout=600)
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
    assert whole.accuracy.predictions_sha256 == hashlib.sha256(bytes_whole).hexdigest()
    assert shards.accuracy is not None
    assert whole.accuracy.bootstrap is not None
    assert dataclasses.replace(shards.accuracy, seconds=None) == dataclasses.replace(whole.accuracy, seconds=None)
    assert facts_of(shards.machine) == facts_of(whole.machine)
    changing = dict.fromkeys(("accuracy", "config", "started", "seconds", "seconds_by_part", "machine"))
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


def test_ctrl_c_keeps_the_shards_that_are_whole(
    command: Callable[..., subprocess.Popen[str]], row: Any, told: Path, tmp_path: Path
) -> None:
    (told / "wait").touch()
    process = command("Waits")
    deadline = time.monotonic() + 400
    while shard_files(tmp_path / "out") != ["2-of-2"] or not asked(told)[SQUARE]:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
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
    assert asked(told) - before == Counter({SQUARE: 1, "64x96": 1, "60x80": 1, "80x60": 1})


def test_the_command_killed_leaves_no_worker(
    command: Callable[..., subprocess.Popen[str]], told: Path, tmp_path: Path
) -> None:
    (told / "wait").touch()
    process = command("Waits")
    deadline = time.monotonic() + 400
    while not asked(told)[SQUARE]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    [pid] = (int(path.stem) for path in told.glob("*.txt") if SQUARE in path.read_text())
    process.kill()
    process.communicate()
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_more_shards_than_batches_are_refused(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    given = ["model=custom", "model._target_=toy_models.Blobs", *bright_squares, f"out={tmp_path / 'out'}"]
    done = run_here(*given, "batch_size=3", "accuracy.shards=3")
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "accuracy.shards=3: coco has 4 images, which are 2 batches of 3, and a batch is never divided; give "
        "accuracy.shards=2 or fewer"
    )
    assert not (tmp_path / "out").exists()
