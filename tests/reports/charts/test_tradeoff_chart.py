"""Test the chart of accuracy against a cost: its front, its hollow points, its groups, and what lies on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import vl_convert
from literal_results import build_result, with_busy, with_disturbed_batches
from PIL import Image

from reports.charts import tradeoff
from reports.charts.files import compiled
from reports.charts.look import PRINTED
from reports.charts.overview import pareto
from reports.charts.records import records, row_colours
from reports.table.comparison import load


def front_of(points: list[tuple[float, float]], *, low: bool = False, distrusted: tuple[int, ...] = ()) -> list[int]:
    """Have Vega itself compute the front of some points, and give their places by rising x."""
    found = [
        {"row": place, "name": str(place), "library": "a", "colour": "#000000", "marks": "", "trusted": True}
        | {"figures": {"fps_model": [x], "mask_ap": [y]}}
        for place, (x, y) in enumerate(points)
    ]
    for place in distrusted:
        found[place]["trusted"] = False
    values = tradeoff.points(found, "fps_model", "mask_ap", low=low, of_time=True)
    spec = tradeoff.spec(PRINTED, 400, "x", "y", False, values)
    spec["layer"] = [spec["layer"][0] | {"mark": "text"}]
    spec["layer"][0]["encoding"] = {"text": {"field": "name", "type": "nominal"}}
    scene = vl_convert.vega_to_scenegraph(compiled(spec))["scenegraph"]
    return sorted(_texts(scene), key=lambda place: points[place])


def _texts(node: Any) -> list[int]:
    if not isinstance(node, dict):
        return []
    if node.get("name") == "front_marks":
        return [int(item["text"]) for item in node["items"]]
    return [place for item in node.get("items", ()) for place in _texts(item)]


def test_front_by_hand() -> None:
    # (10, 40) is beaten by (12, 45); of two with the same FPS only the better one stays, of two equal ones the first.
    points = [(10.0, 40.0), (12.0, 45.0), (30.0, 35.0), (30.0, 37.0), (50.0, 20.0), (40.0, 20.0), (12.0, 45.0)]
    assert front_of(points) == [1, 3, 4]


def test_front_where_less_is_better() -> None:
    # Of milliseconds: 10 is the fastest; 30 is beaten by 20, which is faster and better.
    assert front_of([(10.0, 20.0), (20.0, 37.0), (30.0, 35.0), (40.0, 45.0)], low=True) == [0, 1, 3]


def test_front_goes_through_no_row_whose_speed_is_not_known() -> None:
    assert front_of([(33.0, 40.0), (50.0, 30.0), (100.0, 50.0)], distrusted=(2,)) == [0, 1]
    assert front_of([(33.0, 40.0), (50.0, 30.0)], distrusted=(0, 1)) == []


def test_distrust_of_speed_is_none_of_parameters() -> None:
    found = [{"row": 0, "name": "a", "library": "x", "colour": "#000", "marks": "", "trusted": False}]
    found[0]["figures"] = {"parameters_m": [44.0], "mask_ap": [37.0, 36.0, 38.0]}
    [point] = tradeoff.points(found, "parameters_m", "mask_ap", low=True, of_time=False)
    assert (point["trusted"], point["toward"]) == (True, -44.0)
    assert (point["y_low"], point["y_high"]) == (36.0, 38.0)
    assert "x_low" not in point


def test_the_picture_names_hollow_points_and_lies_in_three_forms(tmp_path: Path, write_run: Any) -> None:
    rows = [
        with_busy(build_result("A", model_ms=[20.0] * 40, mask_ap=0.3), 22),
        build_result("B", model_ms=[30.0] * 40, mask_ap=0.4),
        with_disturbed_batches(build_result("C", model_ms=[10.0] * 40, mask_ap=0.5)),
    ]
    comparison = load([write_run(tmp_path, rows)], tmp_path)
    [picture] = pareto(comparison, tmp_path)
    assert "hollow point means less than it seems (disturbed, host-bound" in picture.caption
    assert "leaves out rows whose speed is never called the best" in picture.caption
    with Image.open(picture.path) as drawn:
        assert drawn.size[0] > 1000
    assert (tmp_path / "pareto.pdf").read_bytes().startswith(b"%PDF")
    svg = (tmp_path / "pareto.svg").read_text()
    assert all(f">{name} R50-FPN · torchvision<" in svg for name in "ABC")
    assert "http" not in svg.replace("http://www.w3.org/", "")


def test_figures_of_records_are_those_of_the_table(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    result = make_result("A", model_ms=[20.0, 30.0, 50.0], mask_ap=0.372, stages_ms=(4.0, 25.0, 3.0))
    comparison = load([write_run(tmp_path, [result])], tmp_path)
    [record] = records(comparison, PRINTED)
    assert record["figures"]["fps_model"][0] == pytest.approx(30.0)
    assert record["figures"]["mask_ap"] == [37.2, 35.7, 38.7]
    assert record["figures"]["parameters_m"] == [44.4014]
    assert (record["p50"], record["samples"]) == (30.0, [20.0, 30.0, 50.0])
    assert (record["network_ms"], record["peak_allocated_mb"], record["module_mb"]) == (25.0, 812.0, 177.828)


def test_rows_of_different_batch_sizes_share_no_line(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [
        make_result(batch_size=size, model_ms=[ms]) for size, ms in ((1, 20), (1, 400), (8, 90), (8, 95), (4, 50))
    ]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    assert [picture.path.name for picture in pareto(comparison, tmp_path)] == ["pareto.png", "pareto-2.png"]
    groups = [record["group"] for record in records(comparison, PRINTED)]
    assert sorted(groups) == [f"coco, cuda:0, batch size {size}" for size in (1, 1, 4, 8, 8)]


def test_every_row_has_a_colour_of_its_own(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result(family, library=library) for family in "ABCDEF" for library in ("x", "y", "z")]
    colours = row_colours(load([write_run(tmp_path, results)], tmp_path), PRINTED)
    assert len(set(colours)) == 18
