from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_api

from adapters.replay import ReplayPredictor
from bench import predictor
from bench.data import dataset
from bench.data.results_file import normalised, read_results
from bench.errors import UserError
from bench.schema.config import DatasetConfig, ShapesConfig

SETTINGS = predictor.Settings(device=torch.device("cpu"), classes=("circle", "square"))


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dataset.CocoDataset:
    return dataset.load(
        DatasetConfig(name="shapes", shapes=ShapesConfig(count=7, cache=str(tmp_path_factory.mktemp("shapes"))))
    )


def limited(truth: dataset.CocoDataset, count: int) -> dataset.CocoDataset:
    folder = truth.images[0].path.parent
    return dataset.load(
        DatasetConfig(name="few", images=str(folder), annotations=str(truth.annotations_path), limit=count)
    )


def as_results(truth: dataset.CocoDataset) -> list[dict[str, Any]]:
    """Give the ground truth without its crowds as results with a ``bbox``, scores rising in the order of the file."""
    return [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "segmentation": a["segmentation"],
            "score": k / 1000,
            "bbox": a["bbox"],
        }
        for k, a in enumerate(truth.annotations)
        if not a["iscrowd"]
    ]


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_results_come_by_image_and_falling_score_as_rle_without_box(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    given = as_results(truth)
    assert {type(entry["segmentation"]) for entry in given} == {list, dict}
    results = read_results(write(tmp_path, given), truth)
    assert set(results) == {1, 2, 3, 4, 5, 6, 7}
    assert results[7] == []
    assert sum(map(len, results.values())) == len(given)
    by_score = {entry["score"]: entry for entry in given}
    areas = {k / 1000: a["area"] for k, a in enumerate(truth.annotations)}
    for entries in results.values():
        scores = [entry["score"] for entry in entries]
        assert scores == sorted(scores, reverse=True)
        for entry in entries:
            assert set(entry) == {"image_id", "category_id", "segmentation", "score"}
            assert isinstance(entry["segmentation"]["counts"], str)
            assert entry["category_id"] == by_score[entry["score"]]["category_id"]
            assert mask_api.area(entry["segmentation"]) == areas[entry["score"]]


def test_an_uncompressed_rle_is_the_same_mask(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    image = truth.images[0]
    mask = np.zeros((image.height, image.width), dtype=np.uint8)
    mask[0:10, 0:5] = 1
    rest = image.height * image.width - 4 * image.height - 10
    counts = [0, 10, *([image.height - 10, 10] * 4), rest]
    entry = {"image_id": image.id, "category_id": 1, "score": 1, "segmentation": {"size": list(mask.shape)}}
    entry["segmentation"]["counts"] = counts
    (result,) = read_results(write(tmp_path, [entry]), truth)[image.id]
    assert (mask_api.decode(result["segmentation"]) == mask).all()


def test_more_than_100_results_of_an_image_are_all_kept(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    given = as_results(truth)[:1] * 150
    assert len(read_results(write(tmp_path, given), truth)[1]) == 150
    assert len(ReplayPredictor(SETTINGS, results=str(write(tmp_path, given))).results(1)) == 150


def test_results_of_the_whole_set_serve_a_limited_one(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    results = read_results(write(tmp_path, as_results(truth)), limited(truth, 2))
    assert set(results) == {1, 2}
    assert len(results[1]) == sum(a["image_id"] == 1 and not a["iscrowd"] for a in truth.annotations)


def test_no_results_at_all_is_a_model_that_finds_nothing(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    assert not any(read_results(write(tmp_path, []), truth).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 8}, "entry 1: image_id 8 is no image of the dataset"),
        ({"image_id": "1"}, "entry 1: image_id '1' is no image"),
        ({"category_id": 7}, "entry 1: category_id 7 is no category of the dataset"),
        ({"category_id": True}, "entry 1: category_id True is no category"),
        ({"score": math.nan}, "entry 1: score is nan, must be a finite number"),
        ({"score": math.inf}, "entry 1: score is inf"),
        ({"score": -math.inf}, "entry 1: score is -inf"),
        ({"score": "0.9"}, "entry 1: score is '0.9'"),
        ({"score": None}, "entry 1: score is None"),
        ({"score": ...}, "entry 1: score is missing"),
        ({"segmentation": ...}, "entry 1: segmentation is missing"),
        ({"image_id": ...}, "entry 1: image_id is missing"),
        ({"segmentation": {"size": [10, 10], "counts": [100]}}, r"entry 1: segmentation.size is \[10, 10\]"),
        ({"segmentation": [[1, 1, 5, 5]]}, r"entry 1: segmentation\[0\] has 4 numbers"),
        ({"segmentation": None}, "entry 1: segmentation is null"),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, truth: dataset.CocoDataset, change: dict[str, Any], message: str) -> None:
    given = as_results(truth)[:3]
    entry = {**given[1], **change}
    given[1] = {key: value for key, value in entry.items() if value is not ...}
    path = write(tmp_path, given)
    with pytest.raises(UserError, match=message) as caught:
        read_results(path, truth)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("counts", "message"),
    [("zz", "not a compressed RLE string"), ("1", "cover 1 pixels"), ([5], "cover 5 pixels"), (7, "counts are 7")],
)
def test_a_bad_rle_is_named(tmp_path: Path, truth: dataset.CocoDataset, counts: object, message: str) -> None:
    image = truth.images[0]
    entry = {"image_id": image.id, "category_id": 1, "score": 0.5}
    entry["segmentation"] = {"size": [image.height, image.width], "counts": counts}
    with pytest.raises(UserError, match=f"entry 0: segmentation.*{message}"):
        read_results(write(tmp_path, [entry]), truth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"image_id": 1, "category_id": 1', "it ends in the middle"),
        ('{"images": [], "annotations": []}', "must be a COCO results array"),
        ('["x"]', "entry 0 is 'x', must be an object"),
    ],
)
def test_a_file_that_is_no_results_file(tmp_path: Path, truth: dataset.CocoDataset, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_results(write(tmp_path, text), truth)
    assert "results.json" in str(caught.value)
    with pytest.raises(UserError, match=r"model\.options\.results"):
        ReplayPredictor(SETTINGS, results=str(write(tmp_path, text)))


def test_an_absent_file(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file \(model\.options\.results\)"):
        read_results(tmp_path / "none.json", truth)
    with pytest.raises(UserError, match=r"none\.json: .*model\.options\.results"):
        ReplayPredictor(SETTINGS, results=str(tmp_path / "none.json"))


def test_the_predictor_serves_what_read_results_checked(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    path = write(tmp_path, as_results(truth))
    checked = read_results(path, truth)
    replay = ReplayPredictor(SETTINGS, results=str(path))
    assert isinstance(replay, predictor.ReplayPredictor)
    assert replay.classes == ("circle", "square")
    for image in truth.images:
        served = replay.results(image.id)
        assert all("bbox" not in entry for entry in served)
        assert [normalised(entry, image.height, image.width) for entry in served] == checked[image.id]
    assert replay.results(999) == []
