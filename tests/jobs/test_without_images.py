"""Tests that results which a model gave elsewhere need no image files, and that what reads pixels asks for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_models
from contexts import context_of
from PIL import Image

from bench.cli.run import compose
from bench.data.dataset import load
from bench.errors import UserError
from bench.jobs import ask
from bench.jobs import plan as planning
from bench.jobs.job import PlannedJob, read_job, write_job
from bench.jobs.plan import plan
from bench.jobs.worker import told
from bench.jobs.worker.main import _note_on_data
from bench.predictor import Settings
from bench.schema.result import read_result

TOYS = Path(__file__).resolve().parents[1] / "toys"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A set of two images with a square each, and results that find one of them; the folder of images is not there."""
    square = [[5, 5, 25, 5, 25, 25, 5, 25]]
    annotations = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 40, "width": 50} for n in (1, 2)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "segmentation": square} for n in (1, 2)],
        "categories": [{"id": 1, "name": "circle"}, {"id": 9, "name": "unused"}],
    }
    results = [{"image_id": 1.0, "category_id": 1, "segmentation": square, "score": 0.9}]
    paths = {"annotations": tmp_path / "a.json", "results": tmp_path / "r.json", "images": tmp_path / "images"}
    paths["annotations"].write_text(json.dumps(annotations))
    paths["results"].write_text(json.dumps(results))
    return paths


def replay(files: dict[str, Path]) -> list[str]:
    return ["model=replay", f"model.options.results={files['results']}", *of_set(files)]


def of_set(files: dict[str, Path]) -> list[str]:
    return ["dataset=coco", f"dataset.annotations={files['annotations']}", "device=cpu"]


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., tuple[list[PlannedJob], list[str]]]:
    def of(*commands: list[str]) -> tuple[list[PlannedJob], list[str]]:
        said: list[str] = []
        composed = [job for command in commands for job in compose(command)]
        return plan(composed, tmp_path / "out", lambda *_: None, say=said.append), said

    return of


def write_images(files: dict[str, Path]) -> None:
    files["images"].mkdir()
    for n in (1, 2):
        Image.new("RGB", (50, 40)).save(files["images"] / f"{n}.png")


def test_a_replay_is_planned_without_images(
    planned: Any, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a folder that is not there, too; what was found in the files is told before anything is measured."""
    monkeypatch.setattr(told, "cautions", lambda dataset, limit: [f"{len(dataset.images)} images, {limit} detections"])
    absent = [f"dataset.images={files['images']}", "dataset.limit=1", "protocol.max_detections=300"]
    jobs, said = planned(replay(files), [*replay(files), *absent], replay(files))
    assert [job.config.dataset.images for job in jobs] == [None, None, None]
    panels = "results that exist already need none: panels are left out, and rows that are measured with images count"
    assert list(dict.fromkeys(said)) == [
        "coco: 2 images, 100 detections",
        f"coco: no dataset.images; {panels} as another data set",
        "replay: results: 1 result whose ids are written as 1.0 or as text: read as whole numbers (entry 0)",
        "coco: 1 images, 300 detections",
        f"coco: no folder {files['images']} (dataset.images); {panels} as another data set",
    ]


def test_what_the_check_of_the_images_found_is_told_and_goes_into_the_row(
    planned: Any, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(files)
    monkeypatch.setattr(planning.datasets, "check_images", lambda dataset, config: ["2 images have no contrast"])
    (job,), said = planned([*replay(files), f"dataset.images={files['images']}"])
    assert said[0] == "coco: 2 images have no contrast"
    job.folder.mkdir(parents=True)
    write_job(job)
    dataset = load(job.config.dataset)
    context = context_of(toy_models.Echo(Settings(torch.device("cpu"))), dataset, job.config)
    monkeypatch.setattr(told, "cautions", lambda dataset, limit: [f"at most {limit} detections"])
    for phase in ("memory", "speed,accuracy", "speed,accuracy"):
        _note_on_data(context, phase, read_job(job.folder).image_notes)
        assert ("at most 100 detections" in context.result.notes) == ("accuracy" in phase)
    assert context.result.notes == ["2 images have no contrast", "at most 100 detections"]


def test_images_that_are_there_are_checked_also_for_a_replay(planned: Any, files: dict[str, Path]) -> None:
    write_images(files)
    (files["images"] / "2.png").unlink()
    with pytest.raises(UserError, match=r"1 image whose file is absent: .* \(2\.png \(id 2\) no such image file\)"):
        planned([*replay(files), f"dataset.images={files['images']}"])


def test_a_model_that_runs_asks_for_images(
    planned: Any, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its interpreter says that the class reads pixels; a replay beside it needs none, and does not hide that."""
    monkeypatch.chdir(TOYS)
    blobs = ["model=custom", "model._target_=toy_models.Blobs", *of_set(files), "passes=[accuracy]"]
    with pytest.raises(UserError, match=r"^dataset=coco: model=Blobs reads images; give dataset\.images=PATH \(the"):
        planned(replay(files), blobs)


@pytest.mark.parametrize(
    "more",
    [
        ["model=mask_rcnn_r50_torchvision", "model.weights=zoo"],
        ["model=mask_rcnn_r50_torchvision", "model.weights=nowhere.pt"],
        ["model=mask_rcnn_r50_torchvision", "model.weights=random", "finetune=default"],
    ],
)
def test_what_has_weights_asks_before_anything_is_fetched(
    planned: Any, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("fetched or asked before the images were")

    monkeypatch.setattr(planning, "fetch", never)
    monkeypatch.setattr(ask, "_ask", never)
    monkeypatch.setattr(planning, "_fill_from_zoo", lambda config: None)
    with pytest.raises(UserError, match=r"reads images; give dataset\.images=PATH"):
        planned([*more, *of_set(files)])


def test_the_training_set_needs_images(planned: Any, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(files)
    monkeypatch.setattr(planning, "_fill_from_zoo", lambda config: None)
    train = f"dataset.train.annotations={files['annotations']}"
    command = ["model=mask_rcnn_r50_torchvision", "model.weights=random", "finetune=default", *of_set(files), train]
    with pytest.raises(UserError, match=r"finetune reads images; give dataset\.train\.images=PATH \(the image folder"):
        planned([*command, f"dataset.images={files['images']}"])


def test_a_replay_without_images_is_evaluated_and_reported(
    run_command: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    done = run_command(*replay(files), f"out={tmp_path / 'runs'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("read as whole numbers") == 2  # before anything is measured, and below the table
    [path] = (tmp_path / "runs").glob("jobs/*/result.json")
    result = read_result(path)
    assert result.accuracy is not None
    assert result.accuracy.figures is not None
    # Half of the objects are found, each exactly: precision 1 up to recall 0.5, at 51 of 101 recalls.
    assert result.accuracy.figures["mask_ap"] == pytest.approx(51 / 101, abs=1e-9)
    assert "results: 1 result whose ids are written as 1.0 or as text: read as whole numbers (entry 0)" in result.notes
    [written] = json.loads((path.parent / "predictions.json").read_text())
    assert (written["image_id"], type(written["image_id"])) == (1, int)


def test_what_misleads_in_a_data_set_is_looked_for_once_for_all_of_its_jobs(
    files: dict[str, Path], planned: Callable[..., tuple[list[PlannedJob], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    looked = told.cautions
    monkeypatch.setattr(told, "cautions", lambda *given: (asked.append(given[1]), looked(*given))[1])
    once, said_once = planned(replay(files))
    jobs, said = planned(replay(files), replay(files), [*replay(files), "protocol.max_detections=7"])
    assert (len(once), len(jobs)) == (1, 3)
    assert asked == [100, 100, 7]
    unused = [line for line in said_once if "1 of 2 categories has no object" in line]
    assert len(unused) == 1
    assert said.count(unused[0]) == 3
