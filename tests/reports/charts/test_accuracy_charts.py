"""Test the charts of the accuracy pass by the bars that Vega draws: their lengths, heights and strengths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from bench.schema.parts.accuracy import Calibration
from reports.charts.accuracy import calibration_spec, errors_spec
from reports.charts.files import compiled, write
from reports.charts.look import PRINTED

BINS = Calibration(0.125, [0.0, 0.25, 0.5, 1.0], [0.1, None, 0.8], [0.5, None, 0.75], [4, 0, 64])


def bars(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Give what Vega draws of bars, without backgrounds."""
    found: list[dict[str, Any]] = []

    def walk(node: Any) -> None:
        if node.get("marktype") == "rect":
            found.extend(item for item in node["items"] if item.get("fill"))
        for item in node.get("items", ()):
            walk(item)

    walk(vl_convert.vega_to_scenegraph(compiled(spec))["scenegraph"])
    return found


def test_a_bar_is_as_long_as_its_points() -> None:
    """10 points are the longest; 1.4 times as much has room in a column of 128 pixels."""
    points = {("Classification", "A"): 10.0, ("Missed", "A"): 2.5, ("Classification", "B"): 0.0, ("Missed", "B"): 5.0}
    values = [
        {"name": name, "colour": "#ff0000" if name == "A" else "#00ff00", "error": error, "points": value}
        for (error, name), value in points.items()
    ]
    drawn = bars(errors_spec(PRINTED, values))
    widths = sorted((bar["fill"], round(bar.get("width", 0) / 128 * 14, 3)) for bar in drawn)
    assert widths == [("#00ff00", 0.0), ("#00ff00", 5.0), ("#ff0000", 2.5), ("#ff0000", 10.0)]


def test_a_bar_of_points_that_mending_costs_stays_in_its_column() -> None:
    """Of -20 points beside 5: the column of 128 pixels goes from -20 to 1.4 times 5."""
    values = [
        {"name": name, "colour": "#ff0000", "error": "Missed", "points": points}
        for name, points in (("A", -20.0), ("B", 5.0))
    ]
    drawn = sorted((bar["x"], bar["width"]) for bar in bars(errors_spec(PRINTED, values)))
    zero = 128 * 20 / 27
    assert drawn == [pytest.approx((0.0, zero)), pytest.approx((zero, 128 * 5 / 27))]


def test_a_bin_stands_over_its_scores_and_is_as_strong_as_it_is_full() -> None:
    drawn = bars(calibration_spec(PRINTED, [("A · x", "#ff0000", BINS)]))
    found = sorted((bar["x"] / 140, bar["width"] / 140, bar["height"] / 140, bar["opacity"]) for bar in drawn)
    # 4 of 64 detections: 0.25 + 0.75 * sqrt(1 / 16). A bin without any has no bar.
    assert found == [pytest.approx((0.0, 0.25, 0.5, 0.4375)), pytest.approx((0.5, 0.5, 0.75, 1.0))]


def test_names_of_others_are_written_as_they_are(tmp_path: Path) -> None:
    names = ["a_$x$ {<b>\"'\\", "b\x07"]
    values = [{"name": name, "colour": "#ff0000", "error": "Missed", "points": 1.0} for name in names]
    write(errors_spec(PRINTED, values), tmp_path / "errors.png")
    write(calibration_spec(PRINTED, [(name, "#ff0000", BINS) for name in names]), tmp_path / "calibration.png")
    for stem in ("errors", "calibration"):
        text = (tmp_path / f"{stem}.svg").read_text()
        assert "a_$x$ {&lt;b&gt;" in text
        assert re.search(r"b\\x07", text)
