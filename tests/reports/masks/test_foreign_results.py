"""Tests that a result file from somebody else brings no picture of this machine into a page, and no hostile mask."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from bench.schema.row import Row
from reports.masks.ground_truth import Datasets, predictions_path
from reports.masks.panels import draw_panel, panels
from reports.masks.predictions import read_predictions
from reports.table.comparison import load


def _panels(tmp_path, run):
    (tmp_path / "plots").mkdir(exist_ok=True)
    comparison, datasets = load([run], tmp_path), Datasets()
    return [draw_panel(comparison, panel, tmp_path / "plots", datasets) for panel in panels(comparison, datasets)]


def _foreign(tmp_path, make_result, file_name="private.jpg", **keys):
    """A result whose author knows where a picture lies and how large it is, and sends annotations that name it."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "pictures/private.jpg")
    data = {
        "images": [{"id": 1, "file_name": file_name, "height": 40, "width": 60}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[5, 5, 20, 5, 20, 20]]}],
        "categories": [{"id": 1, "name": "a"}],
    }
    (tmp_path / "sent.json").write_text(json.dumps(data))
    images = str(tmp_path / "pictures")
    return make_result(dataset={"images": images, "annotations": str(tmp_path / "sent.json"), **keys})


@pytest.mark.parametrize("contents", [{}, {"dataset": ""}, {"dataset": "0" * 64}])
def test_pictures_that_no_measurement_saw_are_not_shown(tmp_path, make_result, write_run, contents):
    result = _foreign(tmp_path, make_result)
    run = write_run(tmp_path / "run", [result])
    assert len(_panels(tmp_path, run)) == 1  # with the digest of a measurement
    result.contents = contents
    assert _panels(tmp_path, write_run(tmp_path / "run", [result])) == []


def test_a_row_that_is_not_shown_takes_no_other_row_with_it(tmp_path, make_result, write_run, tiny_dataset):
    foreign, own = make_result("A", dataset=tiny_dataset), make_result("B", dataset=tiny_dataset)
    foreign.contents = {}
    assert len(_panels(tmp_path, write_run(tmp_path / "run", [foreign, own]))) == 3


@pytest.mark.parametrize("change", ["annotations", "another size", "absent"])
def test_a_set_that_has_changed_is_not_shown(tmp_path, make_result, tiny_dataset, change):
    row = Row(Path("result.json"), make_result(dataset=tiny_dataset))
    assert Datasets().of(row) is not None
    image = tmp_path / "data/images/2.jpg"
    if change == "annotations":
        file = Path(tiny_dataset["annotations"])
        file.write_text(file.read_text().replace("person", "people"))
    elif change == "another size":
        image.write_bytes(image.read_bytes() + b"0")
    else:
        image.unlink()
    assert Datasets().of(row) is None


def test_an_image_outside_is_shown_only_where_it_was_allowed_when_measured(tmp_path, make_result, write_run):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "elsewhere/other.jpg")
    result = _foreign(tmp_path, make_result, "../elsewhere/other.jpg", allow_outside=True)
    assert len(_panels(tmp_path, write_run(tmp_path / "run", [result]))) == 1
    result.config["dataset"]["allow_outside"] = False
    assert _panels(tmp_path, write_run(tmp_path / "run", [result])) == []


NEW = ("exif", "image_range", "without_mask", "strict")


@pytest.mark.parametrize("key", ["limit", "max_pixels", "max_json_gb", "allow_outside", "images", "annotations", *NEW])
@pytest.mark.parametrize("value", ["x", -1, [1], {}, 1e400, "a\0b", True, [0, 1e400]])
def test_any_value_of_the_configuration_gives_a_set_or_none(make_result, tiny_dataset, key, value):
    result = make_result(dataset=tiny_dataset)
    result.config["dataset"][key] = value
    Datasets().of(Row(Path("result.json"), result))


@pytest.mark.parametrize("name", ["../../elsewhere.json", "/etc/passwd"])
def test_predictions_lie_beside_their_result(make_result, name):
    result = make_result()
    result.accuracy.predictions = name
    assert predictions_path(Row(Path("run/jobs/a/result.json"), result)).parent == Path("run/jobs/a")


def _line(**changes):
    rle = coco_mask.frPyObjects({"size": [1, 60], "counts": [30, 10, 20]}, 1, 60)
    segmentation = {"size": [1, 60], "counts": rle["counts"].decode()}
    return json.dumps({"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": segmentation, **changes})


def test_hostile_detections_are_left_out(tmp_path):
    lines = [
        _line(category_id=float("inf")),
        _line(score=10**400),
        _line(score=float("nan")),
        _line(image_id=True),
        _line(segmentation={"size": [True, 60], "counts": [30, 10, 20]}),
        _line(segmentation={"size": [1.0, 60.0], "counts": [30, 10, 20]}),
        _line(segmentation={"size": [2**16, 2**16], "counts": [2**31 - 1, 2**31 - 1, 2]}),
        _line(segmentation={"size": [2**70, 2**70], "counts": "0"}),
        _line(segmentation={"size": ["1", "60"], "counts": "0"}),
        '{"image_id": 1, "deep": ' + "[" * 100_000,
        '{"image_id": ' + "1" * 5_000 + "}",
        '{"image_id": 1, "score": ' + "1" * 5_000 + "}",
        _line(),
    ]
    file = tmp_path / "predictions.json"
    file.write_text("\n".join(lines))
    kept = read_predictions(file, {1: (1, 60)}, 0.5)[1].kept
    assert [(d.score, d.shape, d.area) for d in kept] == [(0.9, (1, 60), 10)]


@pytest.mark.timeout(30)
def test_a_pipe_and_a_file_of_nothing_are_no_predictions(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert read_predictions(tmp_path / "pipe", {1: (1, 60)}, 0.5) == "no predictions file"
    with open(tmp_path / "long.json", "wb") as file:
        file.truncate(1 << 26)
    assert read_predictions(tmp_path / "long.json", {1: (1, 60)}, 0.5)[1].total == 0


def test_a_detection_whose_rle_is_not_of_its_size_is_left_out(tmp_path):
    """pycocotools would read past the end of such an RLE."""
    short = _line(segmentation={"size": [1, 60], "counts": [10, 20]})
    listed = _line(segmentation={"size": [1, 60], "counts": [1, 2, 57]})
    (tmp_path / "predictions.json").write_text("\n".join([short, _line(segmentation="x"), listed]))
    (drawn,) = read_predictions(tmp_path / "predictions.json", {1: (1, 60)}, 0.5)[1].kept
    assert np.flatnonzero(drawn.at(1, 60)).tolist() == [1, 2]
