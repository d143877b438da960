"""Plots and panels: what is drawn, what is not, and the pixels of the masks."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from bench.schema.row import Row
from reports.plots.labels import place_labels
from reports.plots.masks import Drawn, GroundTruth, draw, read_predictions
from reports.plots.panels import draw_panels
from reports.plots.plots import draw_plots, pareto_front
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
    found = {"image_id": image_id, "category_id": category, "segmentation": segmentation, "score": score}
    return json.dumps(found)


def test_predictions_of_some_images_from_a_file_cut_short(tmp_path):
    lines = [_prediction(1, 5, 0.9), _prediction(2, 5, 0.8), _prediction(1, 30, 0.7), _prediction(1, 40, 0.6)]
    file = tmp_path / "predictions.json"
    file.write_text("[" + ",\n".join(lines)[:-30])
    found = read_predictions(file, [1])
    assert list(found) == [1]
    assert [drawn.score for drawn in found[1]] == [0.9, 0.7]
    assert found[1][0].mask[15, 5:15].all()
    assert found[1][0].mask.sum() == 100


def test_predictions_on_a_single_line(tmp_path):
    file = tmp_path / "predictions.json"
    file.write_text("[" + ", ".join([_prediction(1, 5, 0.9), _prediction(2, 5, 0.8)]) + "]")
    assert [drawn.score for drawn in read_predictions(file, [2])[2]] == [0.8]


def test_no_predictions_file_says_so(tmp_path):
    assert read_predictions(tmp_path / "predictions.json", [1]) == "no predictions file"


def _job(make_result, dataset) -> Row:
    return Row(Path("result.json"), make_result(dataset=dataset), "result.json")


def test_ground_truth_without_crowds(make_result, tiny_dataset):
    truth = GroundTruth.read(_job(make_result, tiny_dataset))
    masks = truth.masks(1)
    assert [drawn.category_id for drawn in masks] == [1, 2]
    assert masks[0].mask.sum() == 64
    assert masks[0].mask[10:18, 5:13].all()


def test_images_without_annotations_are_not_chosen(make_result, tiny_dataset):
    truth = GroundTruth.read(_job(make_result, tiny_dataset))
    assert truth.choose(3, None) == [1, 3, 4]
    assert truth.choose(3, 2) == [1]


def test_a_moved_dataset_gives_no_panel(make_result, tiny_dataset):
    assert GroundTruth.read(_job(make_result, {**tiny_dataset, "annotations": "/absent.json"})) is None


def test_mask_pixels_are_coloured_and_the_rest_is_untouched():
    image = np.full((20, 20, 3), 100, dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:16, 4:16] = True
    drawn = draw(image, [Drawn(mask, 7)], {7: (1.0, 0.0, 0.0)})
    assert (drawn[~mask] == 100).all()
    assert drawn[4, 10].tolist() == [255, 0, 0]
    assert drawn[10, 10].tolist() == [178, 50, 50]


def test_one_dataset_named_in_two_ways_has_one_panel(tmp_path, make_result, write_run, tiny_dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = {**tiny_dataset, "images": "data/images", "annotations": "data/instances.json"}
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset), make_result("B", dataset=relative)])
    (tmp_path / "plots").mkdir()
    assert len(draw_panels(load([run], tmp_path), tmp_path / "plots")) == 3


@pytest.mark.parametrize("weights", ["zoo", "random"])
def test_panels(tmp_path, make_result, write_run, tiny_dataset, weights):
    results = [make_result(f"M{i}", dataset=tiny_dataset, weights=weights) for i in range(7)]
    run = write_run(tmp_path / "run", results)
    for number in range(6):
        text = "[" + ",\n".join([_prediction(1, 5, 0.9), _prediction(3, 30, 0.2, 2)]) + "]"
        (run / f"jobs/job{number}/predictions.json").write_text(text)
    (tmp_path / "data/images/4.jpg").unlink()
    comparison = load([run], tmp_path)
    (tmp_path / "plots").mkdir()
    pictures = draw_panels(comparison, tmp_path / "plots")
    assert [p.path.name for p in pictures] == ["panel_tiny_1.png", "panel_tiny_3.png", "panel_tiny_4.png"]
    first, _, missing = (np.asarray(Image.open(p.path).convert("HSV")) for p in pictures)
    # The class colours are vivid and the photographs of this dataset grey, as is a cell that only says why.
    assert (first[..., 1] > 200).mean() > 0.01
    assert (missing[..., 1] > 200).mean() < 0.002
