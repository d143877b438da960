"""Test what plots draw and leave out."""

from __future__ import annotations

import contextlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from reports.plots import costs, style
from reports.plots.labels import place_labels
from reports.plots.overview import draw_plots
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


@pytest.fixture
def drawn_axes(monkeypatch):
    """Keep the axes that the plots of costs draw into."""
    kept = []

    @contextlib.contextmanager
    def keeping(*args, **kwargs):
        with style.figure(*args, **kwargs) as (fig, axes):
            kept.append(axes)
            yield fig, axes

    monkeypatch.setattr(costs, "figure", keeping)
    return kept


def test_five_stages_stand_one_behind_the_other(tmp_path, make_result, write_run, drawn_axes):
    """One trained row, one untrained row whose encoding is noise, and one of before decode and encode were timed."""
    results = [
        make_result("Good", model_ms=[40.0], stages_ms=(2.0, 30.0, 10.0), ends_ms=(5.0, 3.0)),
        make_result("Noise", weights="random", model_ms=[50.0], stages_ms=(2.0, 40.0, 10.0), ends_ms=(5.0, 37.0)),
        make_result("Old", model_ms=[20.0], stages_ms=(4.0, 16.0, 3.0)),
    ]
    picture = costs.stages(load([write_run(tmp_path, results)], tmp_path), tmp_path)
    [axes] = drawn_axes
    assert [text.get_text().split()[0] for text in axes.get_yticklabels()] == ["Old", "Good", "Noise"]
    assert [text.get_text() for text in axes.texts] == [
        "23.0 = – + 4.0 + 16.0 + 3.0 + –",
        "50.0 = 5.0 + 2.0 + 30.0 + 10.0 + 3.0",
        "94.0 = 5.0 + 2.0 + 40.0 + 10.0 + 37.0",
    ]
    bars = {}
    for bar in axes.patches:
        bars.setdefault(round(bar.get_y() + bar.get_height() / 2), []).append(bar)
    ends = {row: [bar.get_x() + bar.get_width() for bar in bars[row]] for row in bars}
    assert ends == {0: [0, 4, 20, 23, 23], 1: [5, 7, 37, 47, 50], 2: [5, 7, 47, 57, 94]}
    assert [bool(bar.get_hatch()) for row in (0, 1, 2) for bar in bars[row]] == [False] * 14 + [True]
    # End to end of these results is the model boundary and 10 ms.
    assert axes.collections[-1].get_offsets()[:, 0].tolist() == [30.0, 50.0, 60.0]
    assert "Hatched: Encode, not to be compared: with random weights the masks are noise" in picture.caption


def test_no_word_about_noise_below_a_plot_of_trained_rows(tmp_path, make_result, write_run):
    picture = costs.stages(load([write_run(tmp_path, [make_result(ends_ms=(5.0, 3.0))])], tmp_path), tmp_path)
    assert "Hatched" not in picture.caption


def test_stages_are_told_apart_without_colour():
    """By their lightness, ITU-R BT.601, as a grey print shows them."""
    lightness = sorted(float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114))) for colour in style.STAGE_COLOURS.values())
    assert len(lightness) == 5
    assert min(np.diff(lightness)) > 0.1
