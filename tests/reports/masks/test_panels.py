"""Test the panels of masks: what is drawn and left out, the ground truth, and the pixels of the masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from squares import detection, square

from bench.data.dataset import CocoDataset, from_coco, load
from bench.schema.config import DatasetConfig
from bench.schema.row import Row
from reports.masks import ground_truth, photograph
from reports.masks.drawing import Drawn, draw
from reports.masks.ground_truth import Datasets, GroundTruth, predictions_path
from reports.masks.panels import _truth_cell, draw_panel, drawn_rows, panels
from reports.table.comparison import load as load_comparison


def _rle(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def _ground_truth(make_result, dataset) -> GroundTruth | None:
    return Datasets().of(Row(Path("result.json"), make_result(dataset=dataset)))


def test_ground_truth_without_crowds(make_result, tiny_dataset):
    truth = _ground_truth(make_result, tiny_dataset)
    objects, crowds = truth.objects(1), truth.crowds(1)
    assert [drawn.category_id for drawn in objects] == [1, 2]
    mask = objects[0].at(40, 60)
    assert mask.sum() == objects[0].area == 64
    assert mask[10:18, 5:13].all()
    assert [(drawn.category_id, drawn.area) for drawn in crowds] == [(1, 64)]


def test_images_without_annotations_are_not_chosen(make_result, tiny_dataset):
    truth = _ground_truth(make_result, tiny_dataset)
    assert truth.choose(3, None) == [1, 3, 4]
    assert truth.choose(3, 2) == [1]


@pytest.mark.parametrize("key", ["annotations", "images"])
def test_a_moved_dataset_gives_no_panel(make_result, tiny_dataset, key):
    assert _ground_truth(make_result, {**tiny_dataset, key: "/absent"}) is None


def test_an_image_that_cannot_be_shown_says_why_without_its_folder(make_result, tiny_dataset, tmp_path):
    truth = _ground_truth(make_result, tiny_dataset)
    assert (truth.image(1, 900) == 40).all()
    truth = _ground_truth(make_result, tiny_dataset)
    (tmp_path / "data/images/1.jpg").write_bytes(b"no image")
    (tmp_path / "data/images/2.jpg").unlink()
    Image.new("RGB", (30, 40)).save(tmp_path / "data/images/3.jpg")
    reasons = [truth.image(image_id, 900) for image_id in (1, 2, 3)]
    assert reasons[0].startswith("image cannot be shown:\ncannot be decoded, truncated or not an image (")
    assert reasons[1] == "image cannot be shown:\nno such image file"
    assert reasons[2] == (
        "image cannot be shown:\nhas 40 x 30 pixels (height x width), the annotation file says 40 x 60"
    )
    assert not any(str(tmp_path) in reason for reason in reasons)


def test_mask_pixels_are_coloured_and_the_rest_is_untouched():
    image = np.full((20, 20, 3), 100, dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:16, 4:16] = True
    drawn = draw(image, [Drawn(_rle(mask), 7)], {7: (1.0, 0.0, 0.0)})
    assert (drawn[~mask] == 100).all()
    assert drawn[4, 10].tolist() == [255, 0, 0]
    assert drawn[10, 10].tolist() == [178, 50, 50]


def test_a_large_image_is_drawn_smaller_with_its_masks_in_place():
    mask, inside = np.zeros((1000, 1500), bool), np.zeros((200, 300), bool)
    mask[200:700, 300:1200] = True
    inside[40:140, 60:240] = True
    image = np.full((200, 300, 3), 100, np.uint8)
    np.testing.assert_array_equal((draw(image, [Drawn(_rle(mask), 1)], {}) != image).any(-1), inside)


@pytest.mark.parametrize(("top", "left"), [(1500, 2000), (0, 0), (2998, 3998)], ids=["inside", "first", "last"])
def test_a_dot_is_seen_in_a_panel(top, left):
    """A cell of a panel has half the pixels of the drawing, which has a ninth of the photograph's here."""
    mask = np.zeros((3000, 4000), bool)
    mask[top : top + 2, left : left + 2] = True
    image = np.full((676, 900, 3), 100, np.uint8)
    drawn = draw(image, [Drawn(_rle(mask), 1)], {1: (1.0, 0.0, 0.0)})
    panel = np.asarray(Image.fromarray(drawn).resize((450, 338)), int)
    y, x = np.argwhere((drawn != 100).any(-1)).mean(0)
    assert abs(y / 676 - top / 3000) < 0.003
    assert abs(x / 900 - left / 4000) < 0.003
    assert np.abs(panel - 100).max() > 50
    assert (drawn != 100).any(-1).sum() <= 16


def test_images_are_kept_at_the_size_of_their_drawing_only(tmp_path, monkeypatch):
    monkeypatch.setattr(ground_truth, "IMAGES_KEPT", 2)
    read = []
    monkeypatch.setattr(photograph, "read_image", lambda record: read.append(record.id) or _grey(record))
    images = [{"id": i, "file_name": f"{i}.png", "height": 100, "width": 3000} for i in (1, 2, 3)]
    data = {"images": images, "annotations": [], "categories": []}
    truth = GroundTruth(from_coco("x", data, tmp_path, tmp_path / "x.json", ""), tmp_path)
    assert [truth.image(i, 900).shape for i in (1, 1, 2, 3, 1)] == [(30, 900, 3)] * 5
    assert read == [1, 2, 3, 1]


def _grey(record):
    return np.full((record.height, record.width, 3), 90, np.uint8)


def test_ids_that_are_texts(tmp_path):
    images = [{"id": name, "file_name": f"{name}.png", "height": 40, "width": 60} for name in ("b", "a c")]
    annotation = {"id": 1, "image_id": "b", "category_id": "cat", "segmentation": square(5), "iscrowd": 0}
    data = {"images": images, "annotations": [annotation], "categories": [{"id": "cat", "name": "a cat"}]}
    truth = GroundTruth(from_coco("x", data, tmp_path, tmp_path / "x.json", ""), tmp_path)
    assert truth.choose(3, None) == ["b"]
    truth.colour_classes(["b"])
    assert [(drawn.category_id, drawn.area) for drawn in truth.objects("b")] == [("cat", 100)]
    assert list(truth.colours) == ["cat"]


def test_more_objects_than_can_be_drawn_are_told(tmp_path, monkeypatch, make_result, write_run, tiny_dataset):
    monkeypatch.setattr(ground_truth, "MOST_OBJECTS", 1)
    truth = _ground_truth(make_result, tiny_dataset)
    assert _truth_cell(truth, 1)[0] == "2 instances, the first 1 are shown"


def test_one_dataset_named_in_two_ways_has_one_panel(tmp_path, make_result, write_run, tiny_dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = {**tiny_dataset, "images": "data/images", "annotations": "data/instances.json"}
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset), make_result("B", dataset=relative)])
    (tmp_path / "plots").mkdir()
    assert len(panels(load_comparison([run], tmp_path), Datasets())) == 3


READINGS = [{"exif": "apply"}, {"image_range": [0, 4095]}, {"without_mask": "drop"}]


@pytest.mark.parametrize("keys", READINGS)
def test_a_set_that_was_read_in_two_ways_is_drawn_in_two(
    tmp_path, make_result, write_run, tiny_dataset, monkeypatch, keys
):
    """A panel of both rows would show one of them pixels or objects that it never saw."""
    configs = []

    def load_and_tell(config: DatasetConfig) -> CocoDataset:
        configs.append(config)
        return load(config)

    monkeypatch.setattr(ground_truth, "load", load_and_tell)
    results = [make_result("A", dataset={**tiny_dataset, **more}) for more in ({}, keys)]
    comparison = load_comparison([write_run(tmp_path / "run", results)], tmp_path)
    assert [panel.rows for panel in panels(comparison, Datasets())] == [(0,)] * 3 + [(1,)] * 3
    assert drawn_rows(comparison) == {0: [0], 1: [1]}
    ((key, value),) = keys.items()
    assert sorted(str(getattr(config, key)) for config in configs) == sorted(
        str(word) for word in (getattr(DatasetConfig(), key), value)
    )


def _predictions(*lines: str) -> str:
    return "[\n" + ",\n".join(lines) + "\n]\n"


@pytest.mark.parametrize("weights", ["zoo", "random"])
def test_panels(tmp_path, make_result, write_run, tiny_dataset, weights):
    damaged = tmp_path / "data/images/4.jpg"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    results = [make_result(f"M{i}", dataset=tiny_dataset, weights=weights) for i in range(7)]
    run = write_run(tmp_path / "run", results)
    for number in range(6):
        text = _predictions(detection(1, 5, 0.9), detection(3, 30, 0.2, 2))
        (run / f"jobs/job{number}/predictions.json").write_text(text)
    comparison = load_comparison([run], tmp_path)
    (tmp_path / "plots").mkdir()
    datasets = Datasets()
    pictures = [draw_panel(comparison, panel, tmp_path / "plots", datasets) for panel in panels(comparison, datasets)]
    assert [p.path.name for p in pictures] == ["panel_tiny_1.png", "panel_tiny_3.png", "panel_tiny_4.png"]
    first, _, missing = (np.asarray(Image.open(p.path).convert("HSV")) for p in pictures)
    # The class colours are vivid and the photographs of this dataset grey, as is a cell that only says why.
    assert (first[..., 1] > 200).mean() > 0.01
    assert (missing[..., 1] > 200).mean() < 0.002


def test_the_masks_that_are_kept_for_the_next_panel_are_bounded(tmp_path, make_result, tiny_dataset, monkeypatch):
    monkeypatch.setattr(ground_truth, "PREDICTED_BYTES", len(square(5)["counts"]))
    truth, datasets = _ground_truth(make_result, tiny_dataset), Datasets()
    for name in ("a", "b", "c"):
        row = Row(tmp_path / name / "result.json", make_result(dataset=tiny_dataset))
        row.path.parent.mkdir()
        predictions_path(row).write_text(detection(1, 5, 0.9))
        read = datasets.predictions(row, truth, [1, 3], 0.5, 10)
        assert [len(read[i].kept) for i in (1, 3)] == [1, 0]
    assert [path.parent.name for path, *_ in datasets._predicted] == ["c"]
