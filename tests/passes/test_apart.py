"""Tests the processes beside the model's: the same predictions and figures, and a reason whatever ends them."""

from __future__ import annotations

import dataclasses
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import habits
import numpy as np
import orderly
import psutil
import pytest
import torch
from bright_set import bright_set
from contexts import context_of

from bench.data.dataset import CocoDataset
from bench.errors import UserError
from bench.jobs.worker.failures import classify
from bench.passes import accuracy as accuracy_pass
from bench.passes.accuracy import PASS
from bench.passes.apart import when
from bench.passes.apart.loaders import Loaders
from bench.passes.apart.process import Process, ProcessDiedError
from bench.passes.recording.predictions_file import close_after_death, open_predictions
from bench.predictor import Instances, Predictor, Settings
from bench.schema.config import BenchConfig, ModelConfig
from bench.schema.parts.accuracy import AccuracyResult

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
LABELS = [7, *[None] * 5]
IMAGES = 40


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return bright_set(tmp_path_factory.mktemp("bright"), IMAGES)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every pass use two loaders and an evaluator, whatever the machine is."""
    monkeypatch.setattr(accuracy_pass, "loaders_that_pay", lambda *_: 2)


class Ahead(habits.Bright):
    """Gives three overlapping masks an image, some of a class that the dataset lacks; it may run ahead."""

    stateless_preprocess = True
    on_image: Callable[[int], None] = staticmethod(lambda number: None)
    images = 0

    def one(self, gray: torch.Tensor) -> Instances:
        self.images += 1
        self.on_image(self.images)
        found = super().one(gray)
        thresholds = torch.stack([gray.mean(), gray.mean() * 0.9, gray.mean() + 1])
        return Instances(
            gray > thresholds[:, None, None],
            found.boxes.repeat(3, 1),
            torch.tensor([0.9, float(gray.mean() / 400) + 0.1, 0.05]),
            torch.tensor([0, 0, self.images % 2]),
        )


def measure(
    predictor: Predictor, dataset: CocoDataset, folder: Path, **settings: Any
) -> tuple[AccuracyResult, list[str], bytes]:
    """Run the pass; give its result, its notes and the predictions on disk."""
    folder.mkdir(exist_ok=True)
    config = BenchConfig(**{"model": ModelConfig(weights="own"), **settings})
    context = context_of(predictor, dataset, config, labels=LABELS, folder=folder)
    accuracy = PASS.measure(context)
    return accuracy, context.result.notes, (folder / accuracy.predictions).read_bytes()


def children() -> list[psutil.Process]:
    """Give the processes that this one has started from ``start.py`` and that still run."""
    running = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in running if any("start.py" in word for word in p.cmdline())]


@pytest.mark.parametrize("settings", [{}, {"overlap": "highest_score"}, {"batch_size": 3, "evaluator": "pycocotools"}])
@pytest.mark.parametrize("cls", [Ahead, orderly.UsesMasksAgain])
def test_the_same_bytes_and_figures(
    cls: type[Predictor], settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bright_set(tmp_path / "images", IMAGES, (64, 80))
    here, notes, written = measure(cls(Settings(CPU)), data, tmp_path / "here", **settings)
    monkeypatch.setattr(accuracy_pass, "loaders_that_pay", lambda *_: 2)
    there, notes_there, written_there = measure(cls(Settings(CPU)), data, tmp_path / "there", **settings)
    assert written_there == written
    assert len(json.loads(written)) == here.detections >= IMAGES
    assert dataclasses.replace(there, seconds=None) == dataclasses.replace(here, seconds=None)
    assert notes_there == notes
    assert children() == []


def test_random_weights_write_their_predictions(dataset: CocoDataset, tmp_path: Path, apart: None) -> None:
    accuracy, _, written = measure(Ahead(Settings(CPU)), dataset, tmp_path, model=ModelConfig(weights="random"))
    assert accuracy.figures is None
    assert accuracy.detections == len(json.loads(written)) > IMAGES


def test_notes_come_back(dataset: CocoDataset, tmp_path: Path, apart: None) -> None:
    class Confident(Ahead):
        stateless_preprocess = True

        def one(self, gray: torch.Tensor) -> Instances:
            found = super().one(gray)
            found.scores = found.scores + 1
            return found

    _, notes, _ = measure(Confident(Settings(CPU)), dataset, tmp_path)
    assert notes == ["accuracy: scores lie outside 0 to 1, so they are no probabilities: no calibration"]


def wait_until_started() -> None:
    """Wait until the three processes have nothing to do."""
    deadline, idle = time.monotonic() + 30, 0
    while idle < 8 and time.monotonic() < deadline:
        time.sleep(0.03)
        found = children()
        idle = idle + 1 if len(found) == 3 and {p.status() for p in found} == {psutil.STATUS_SLEEPING} else 0


def kill(which: str) -> Callable[[int], None]:
    """Give what kills the processes of a module with SIGKILL at the 25th image, once they have started."""

    def at(number: int) -> None:
        time.sleep(0.02)
        if number == 1:
            wait_until_started()
        if number == 25:
            for process in children():
                if which in process.cmdline():
                    process.kill()

    return at


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("loaders", r"the process that reads images was killed by SIGKILL, by the kernel if .* while it read \d+\.png"),
        ("evaluator", "the process that evaluates was killed by SIGKILL, by the kernel if the machine's memory ran"),
    ],
)
def test_a_killed_process_is_the_rows_reason(
    which: str, says: str, dataset: CocoDataset, tmp_path: Path, apart: None
) -> None:
    model = Ahead(Settings(CPU))
    model.on_image = kill(which)
    with pytest.raises(ProcessDiedError, match=says) as caught:
        measure(model, dataset, tmp_path)
    assert classify(caught.value, "x.Y", "worker.log")[0] == "crashed"
    written = (tmp_path / "predictions.json").read_text()
    assert 10 < len({entry["image_id"] for entry in json.loads(written)}) < IMAGES
    assert children() == []


def test_a_file_whose_writer_was_killed_is_closed(tmp_path: Path) -> None:
    """Wherever it was cut, its whole lines stay; the last one may be without the newline that says it is whole."""
    entries = [{"image_id": 1, "score": 0.5}, {"image_id": 2, "score": 0.25}, {"image_id": 3, "score": 0.125}]
    with open_predictions(tmp_path / "whole.json") as file:
        for entry in entries:
            file.write([entry])
    whole = (tmp_path / "whole.json").read_bytes()
    for length in range(2, len(whole) + 1):
        (tmp_path / "cut.json").write_bytes(whole[:length])
        close_after_death(tmp_path / "cut.json")
        kept = json.loads((tmp_path / "cut.json").read_bytes())
        assert kept == entries[: len(kept)]
        assert len(kept) >= whole[:length].count(b"}\n") + whole[:length].count(b"},\n")
    assert (tmp_path / "cut.json").read_bytes() == whole


def test_what_a_users_module_has_set_does_not_matter(
    dataset: CocoDataset, tmp_path: Path, apart: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time limit for all new sockets, and an entry of ``sys.path`` that imports leave out."""
    monkeypatch.setattr(sys, "path", [*sys.path, Path("mine")])
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.05)
    try:
        accuracy, _, _ = measure(Ahead(Settings(CPU)), dataset, tmp_path)
    finally:
        socket.setdefaulttimeout(before)
    assert accuracy.detections > IMAGES


def test_a_damaged_image_is_named(dataset: CocoDataset, tmp_path: Path, apart: None) -> None:
    data = bright_set(tmp_path / "images", IMAGES)
    whole = data.images[30].path.read_bytes()
    data.images[30].path.write_bytes(whole[: len(whole) // 2])
    model = Ahead(Settings(CPU), sleep_ms=20)
    model.on_image = lambda number: wait_until_started() if number == 1 else None
    with pytest.raises(UserError, match=r"31\.png: cannot be decoded"):
        measure(model, data, tmp_path)
    assert len(json.loads((tmp_path / "predictions.json").read_text())) >= 20
    assert children() == []


def test_a_full_disk_is_named(dataset: CocoDataset, tmp_path: Path, apart: None) -> None:
    (tmp_path / "predictions.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        measure(Ahead(Settings(CPU)), dataset, tmp_path)
    status = classify(caught.value, "x.Y", "worker.log")
    assert status == ("failed", "predictions.json could not be written: No space left on device")
    assert children() == []


def test_an_error_of_the_evaluation_ends_the_pass(dataset: CocoDataset, tmp_path: Path, apart: None) -> None:
    context = context_of(Ahead(Settings(CPU)), dataset, BenchConfig(model=ModelConfig(weights="own")), folder=tmp_path)
    context.labels = [99, *[None] * 5]  # no category of the data set
    with pytest.raises(KeyError, match="99"):
        PASS.measure(context)
    assert children() == []


def test_ctrl_c_keeps_what_is_written(dataset: CocoDataset, tmp_path: Path, apart: None) -> None:
    def interrupt(number: int) -> None:
        if number == 1:
            wait_until_started()
        if number == 30:
            for process in children():
                process.send_signal(signal.SIGINT)
            raise KeyboardInterrupt

    model = Ahead(Settings(CPU))
    model.on_image = interrupt
    with pytest.raises(KeyboardInterrupt):
        measure(model, dataset, tmp_path)
    assert len(json.loads((tmp_path / "predictions.json").read_text())) >= 20
    assert children() == []


def test_pixels_are_those_of_the_file_in_memory_of_their_own(dataset: CocoDataset) -> None:
    from bench.data.images import read_images

    loaders = Loaders(1)
    try:
        while not loaders._processes[0].started():
            time.sleep(0.01)
        first, second = loaders.read(dataset.images[:2]), loaders.read(dataset.images[:2])
    finally:
        loaders.close()
    for one, other, expected in zip(first, second, read_images(dataset.images[:2]), strict=True):
        assert one.dtype == np.uint8
        assert one.flags.writeable
        assert one.flags.c_contiguous
        assert np.array_equal(one, expected)
        one[:] = 0
        assert np.array_equal(other, expected)


@pytest.mark.parametrize("module", ["evaluator", "loaders"])
def test_they_do_without_torch(module: str) -> None:
    """Its import takes 2 s of a core and 650 MB."""
    code = (
        f"import bench.passes.apart.{module}, sys; print([m for m in ('torch', 'hydra', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_ends_with_the_process_that_started_it() -> None:
    code = (
        "from bench.passes.apart.loaders import Loaders; import os, time; l = Loaders(1)\n"
        "while not l._processes[0].started(): time.sleep(0.01)\n"
        "print(l.pids[0], flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while (alive := psutil.pid_exists(int(done.stdout))) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive


def test_one_that_cannot_start_has_its_reason() -> None:
    process = Process("no_such_work", "does nothing")
    with pytest.raises(ModuleNotFoundError, match="no_such_work"):
        process.receive()
    process.close(1)


@pytest.mark.parametrize(
    ("images", "device", "cores", "threads", "loaders"),
    [
        (5000, "cpu", 2, 2, 0),
        (5000, "cpu", 2, 1, 1),
        (5000, "cpu", 16, 8, 2),
        (when.LEAST_IMAGES_ON_FEW_CORES - 1, "cpu", 2, 1, 0),
        (when.LEAST_IMAGES, "cpu", 4, 1, 2),
        (when.LEAST_IMAGES - 1, "cpu", 4, 1, 0),
        (5000, "cuda", 16, 8, 2),
        (5000, "cuda", 2, 2, 1),
        (5000, "cuda", 1, 1, 0),
    ],
)
def test_when_processes_pay(
    images: int, device: str, cores: int, threads: int, loaders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(when, "usable_cores", lambda: list(range(cores)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert when.loaders_that_pay(images, torch.device(device)) == loaders
