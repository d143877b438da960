"""Test what plots and panels draw and leave out, and the pixels of the masks."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from bench.schema.row import Row
from reports.plots.ground_truth import Datasets, GroundTruth
from reports.plots.labels import place_labels
from reports.plots.masks import Drawn, draw, read_predictions
from reports.plots.overview import draw_plots
from reports.plots.panels import draw_panel, panels
from reports.plots.pareto import pareto_front
from reports.plots.style import row_colours
from reports.table.comparison import load


def test_pareto_front_by_hand():
    # (10, 40) is beaten by (12, 45); of two with the same FPS only the better one stays.
    points = [(10.0, 40.0), (12.0, 45.0), (30.0, 35.0), (30.0, 37.0), (50.0, 20.0), (40.0, 20.0)]
    assert pareto_front(points) == [1, 3, 4]


def test_plots_are_drawn_only_where_there_is_data(tmp_path, make_result, write_run):
    (tmp_path / "plots").mkdir()
    crashed = make_result(status="crashed", reason="x")
    comparison = load([write_run(tmp_path / "a", [crashed])], tmp_path)
    assert draw_plots(comparison, tmp_path / "plots") == []
    untrained = make_result(weights="random", mask_ap=None)
    comparison = load([write_run(tmp_path / "b", [untrained, crashed])], tmp_path)
    names = [picture.path.name for picture in draw_plots(comparison, tmp_path / "plots")]
    assert names == ["latency.png", "stages.png", "memory.png"]


def test_trained_models_have_a_pareto_plot_for_each_setting(tmp_path, make_result, write_run):
    (tmp_path / "plots").mkdir()
    results = [
        make_result(batch_size=size, model_ms=[ms]) for size, ms in ((1, 20), (1, 400), (8, 90), (8, 95), (4, 50))
    ]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    pictures = draw_plots(comparison, tmp_path / "plots")
    names = [picture.path.name for picture in pictures]
    assert names == ["pareto.png", "pareto-2.png", "throughput.png", "latency.png", "stages.png", "memory.png"]
    for picture in pictures:
        pixels = np.asarray(Image.open(picture.path).convert("L"))
        assert pixels.shape[1] > 1000
        assert pixels.std() > 5


def test_names_with_dollars_and_one_sample_are_drawn(tmp_path, make_result, write_run):
    (tmp_path / "plots").mkdir()
    comparison = load([write_run(tmp_path, [make_result("a_$x$ {", model_ms=[5.0]), make_result()])], tmp_path)
    assert len(draw_plots(comparison, tmp_path / "plots")) == 4


def test_every_row_has_a_colour_of_its_own(tmp_path, make_result, write_run):
    results = [make_result(family, library=library) for family in "ABCDEF" for library in ("x", "y", "z")]
    colours = row_colours(load([write_run(tmp_path, results)], tmp_path))
    assert len(set(colours)) == 18


def test_labels_cover_neither_one_another_nor_the_points():
    figure, axes = plt.subplots(figsize=(9, 5))
    points = [(10.0 + i % 4, 30.0 + 0.3 * i) for i in range(12)]
    axes.scatter(*zip(*points, strict=True))
    axes.margins(0.15)
    place_labels(axes, points, [f"Mask R-CNN {i}" for i in range(12)], [])
    boxes = [text.get_window_extent() for text in axes.texts]
    pixels = axes.transData.transform(points)
    plt.close(figure)
    assert len(boxes) == 12
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert not any(box.contains(*xy) for xy in pixels)


def _prediction(image_id: int, left: int, score: float, category: int = 1) -> str:
    mask = np.zeros((40, 60), dtype=np.uint8, order="F")
    mask[10:20, left : left + 10] = 1
    rle = coco_mask.encode(mask)
    segmentation = {"size": [40, 60], "counts": rle["counts"].decode()}
    result = {"image_id": image_id, "category_id": category, "segmentation": segmentation, "score": score}
    return json.dumps(result)


def test_predictions_of_some_images_from_a_file_cut_short(tmp_path):
    lines = [_prediction(1, 5, 0.9), _prediction(2, 5, 0.8), _prediction(1, 30, 0.7), _prediction(1, 40, 0.6)]
    file = tmp_path / "predictions.json"
    file.write_text("[" + ",\n".join(lines)[:-30])
    predictions = read_predictions(file, [1])
    assert list(predictions) == [1]
    assert [drawn.score for drawn in predictions[1]] == [0.9, 0.7]
    assert predictions[1][0].area == 100
    mask = predictions[1][0].decoded(40, 60)
    assert mask[15, 5:15].all()
    assert mask.sum() == 100


def test_predictions_on_a_single_line(tmp_path):
    file = tmp_path / "predictions.json"
    file.write_text("[" + ", ".join([_prediction(1, 5, 0.9), _prediction(2, 5, 0.8)]) + "]")
    assert [drawn.score for drawn in read_predictions(file, [2])[2]] == [0.8]


def test_no_predictions_file_says_so(tmp_path):
    assert read_predictions(tmp_path / "predictions.json", [1]) == "no predictions file"


def _ground_truth(make_result, dataset) -> GroundTruth | None:
    return Datasets().of(Row(Path("result.json"), make_result(dataset=dataset)))


def test_ground_truth_without_crowds(make_result, tiny_dataset):
    truth = _ground_truth(make_result, tiny_dataset)
    objects, crowds = truth.objects(1), truth.crowds(1)
    assert [drawn.category_id for drawn in objects] == [1, 2]
    mask = objects[0].decoded(40, 60)
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
    assert (truth.image(1) == 40).all()
    (tmp_path / "data/images/1.jpg").write_bytes(b"no image")
    (tmp_path / "data/images/2.jpg").unlink()
    Image.new("RGB", (30, 40)).save(tmp_path / "data/images/3.jpg")
    reasons = [truth.image(image_id) for image_id in (1, 2, 3)]
    assert reasons[0].startswith("image cannot be shown:\ncannot be decoded, truncated or not an image (")
    assert reasons[1] == "image cannot be shown:\nno such image file"
    assert reasons[2] == (
        "image cannot be shown:\nhas 40 x 30 pixels (height x width), the annotation file says 40 x 60"
    )
    assert not any(str(tmp_path) in reason for reason in reasons)


def test_a_detection_whose_rle_is_not_of_its_size_is_left_out(tmp_path):
    """pycocotools would read past the end of such an RLE."""
    whole = json.loads(_prediction(1, 5, 0.9))
    short = {**whole, "segmentation": {"size": [40, 60], "counts": [10, 20]}}
    listed = {**whole, "segmentation": {"size": [2, 2], "counts": [1, 2, 1]}}
    (tmp_path / "predictions.json").write_text(json.dumps([short, {**whole, "segmentation": "x"}, listed]))
    (drawn,) = read_predictions(tmp_path / "predictions.json", [1])[1]
    # Read down the columns: background, two pixels of the mask, background.
    assert drawn.decoded(2, 2).tolist() == [[False, True], [True, False]]


def test_a_mask_is_scaled_to_the_drawing_by_nearest_neighbour():
    rle = coco_mask.encode(np.asfortranarray([[1, 0], [0, 0]], dtype=np.uint8))
    drawn = Drawn({"size": [2, 2], "counts": rle["counts"].decode()}, 1)
    assert drawn.decoded(2, 4).tolist() == [[True, True, False, False], [False] * 4]


def test_mask_pixels_are_coloured_and_the_rest_is_untouched():
    image = np.full((20, 20, 3), 100, dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:16, 4:16] = True
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    red = Drawn({"size": [20, 20], "counts": rle["counts"].decode()}, 7)
    drawn = draw(image, [red], {7: (1.0, 0.0, 0.0)})
    assert (drawn[~mask] == 100).all()
    assert drawn[4, 10].tolist() == [255, 0, 0]
    assert drawn[10, 10].tolist() == [178, 50, 50]


def test_one_dataset_named_in_two_ways_has_one_panel(tmp_path, make_result, write_run, tiny_dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = {**tiny_dataset, "images": "data/images", "annotations": "data/instances.json"}
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset), make_result("B", dataset=relative)])
    (tmp_path / "plots").mkdir()
    assert len(panels(load([run], tmp_path), Datasets())) == 3


@pytest.mark.parametrize("weights", ["zoo", "random"])
def test_panels(tmp_path, make_result, write_run, tiny_dataset, weights):
    results = [make_result(f"M{i}", dataset=tiny_dataset, weights=weights) for i in range(7)]
    run = write_run(tmp_path / "run", results)
    for number in range(6):
        text = "[" + ",\n".join([_prediction(1, 5, 0.9), _prediction(3, 30, 0.2, 2)]) + "]"
        (run / f"jobs/job{number}/predictions.json").write_text(text)
    damaged = tmp_path / "data/images/4.jpg"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    comparison = load([run], tmp_path)
    (tmp_path / "plots").mkdir()
    datasets = Datasets()
    pictures = [draw_panel(comparison, panel, tmp_path / "plots", datasets) for panel in panels(comparison, datasets)]
    assert [p.path.name for p in pictures] == ["panel_tiny_1.png", "panel_tiny_3.png", "panel_tiny_4.png"]
    first, _, missing = (np.asarray(Image.open(p.path).convert("HSV")) for p in pictures)
    # The class colours are vivid and the photographs of this dataset grey, as is a cell that only says why.
    assert (first[..., 1] > 200).mean() > 0.01
    assert (missing[..., 1] > 200).mean() < 0.002
