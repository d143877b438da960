"""Test the charts of latency, stages, memory and sweeps by the texts and the widths that they draw."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert
from PIL import Image, ImageColor

from reports.charts import costs
from reports.charts.files import compiled
from reports.charts.look import MEMORY, PAGE, PRINTED
from reports.charts.overview import OVERVIEW, stages, throughput
from reports.charts.records import records
from reports.charts.sweeps import sweeps
from reports.page.render import TEMPLATES
from reports.table.comparison import Comparison, comparison_key, load


def drawn_by(spec: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Give what Vega draws of one kind of mark, without that of axes and legends."""
    found: list[dict[str, Any]] = []

    def walk(node: Any) -> None:
        if node.get("role") in ("axis", "legend"):
            return
        if node.get("marktype") == kind:
            found.extend(node["items"])
        for item in node.get("items", ()):
            walk(item)

    walk(vl_convert.vega_to_scenegraph(compiled(spec))["scenegraph"])
    return found


def test_plots_are_drawn_only_where_there_is_data(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    crashed = make_result(status="crashed", reason="x")
    comparison = load([write_run(tmp_path / "a", [crashed])], tmp_path)
    assert [draw(comparison, tmp_path) for draw in OVERVIEW.values()] == [[]] * 5
    untrained = make_result(weights="random", mask_ap=None)
    comparison = load([write_run(tmp_path / "b", [untrained, crashed])], tmp_path)
    names = [picture.path.name for draw in OVERVIEW.values() for picture in draw(comparison, tmp_path)]
    assert names == ["latency.png", "stages.png", "memory.png"]


def test_records_are_made_once_and_go_with_their_comparison(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    """They lay in the module, with the comparison that they are of, until another one was drawn."""
    run = write_run(tmp_path, [make_result()])
    comparison = load([run], tmp_path, key=comparison_key)
    [first], [second] = records(comparison, PRINTED), records(comparison, PAGE)
    assert first["samples"] is second["samples"]
    assert first["colour"] != second["colour"]
    dies = weakref.ref(comparison)
    del comparison
    gc.collect()
    assert dies() is None


def test_names_with_dollars_and_markup_and_one_sample_are_drawn(
    tmp_path: Path, make_result: Any, write_run: Any
) -> None:
    results = [make_result("a_$x$ {<b>\"'", model_ms=[5.0]), make_result()]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    pictures = [picture for draw in OVERVIEW.values() for picture in draw(comparison, tmp_path)]
    assert len(pictures) == 4
    for picture in pictures:
        pixels = np.asarray(Image.open(picture.path).convert("L"))
        assert pixels.shape[1] > 1000
        assert pixels.std() > 5
        assert "a_$x$ {&lt;b&gt;" in picture.path.with_suffix(".svg").read_text()


def test_five_stages_stand_one_behind_the_other(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    """One trained row, one untrained row whose encoding is noise, and one of before decode and encode were timed."""
    results = [
        make_result("Good", model_ms=[40.0], stages_ms=(2.0, 30.0, 10.0), ends_ms=(5.0, 3.0)),
        make_result("Noise", weights="random", model_ms=[50.0], stages_ms=(2.0, 40.0, 10.0), ends_ms=(5.0, 37.0)),
        make_result("Old", model_ms=[20.0], stages_ms=(4.0, 16.0, 3.0)),
    ]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    spec = costs.stages(PRINTED, 940, records(comparison, PRINTED))
    assert [item["text"] for item in sorted(drawn_by(spec, "text"), key=lambda item: item["y"])] == [
        "23.0 = – + 4.0 + 16.0 + 3.0 + –",
        "50.0 = 5.0 + 2.0 + 30.0 + 10.0 + 3.0",
        "94.0 = 5.0 + 2.0 + 40.0 + 10.0 + 37.0",
    ]
    bars = [item for item in drawn_by(spec, "rect") if item["height"] == 18 and item.get("width")]
    per_ms = max(item["x"] + item["width"] for item in bars) / 94.0
    ends: dict[float, list[float]] = {}
    for item in sorted(bars, key=lambda item: (item["y"], item["x"])):
        ends.setdefault(item["y"], []).append(round((item["x"] + item["width"]) / per_ms, 1))
    assert list(ends.values()) == [[4, 20, 23], [5, 7, 37, 47, 50], [5, 7, 47, 57, 94]]
    assert sorted(item.get("opacity") for item in bars) == [0.3] + [1] * 12
    # End to end of these results is the model boundary and 10 ms.
    assert sorted(record["whole"] for record in records(comparison, PRINTED)) == [30.0, 50.0, 60.0]
    assert (
        "Pale: Encode, not to be compared: with random weights the masks are noise"
        in stages(comparison, tmp_path)[0].caption
    )


def test_no_word_about_noise_below_a_plot_of_trained_rows(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    comparison = load([write_run(tmp_path, [make_result(ends_ms=(5.0, 3.0))])], tmp_path)
    assert "Pale" not in stages(comparison, tmp_path)[0].caption


def test_latency_shows_the_quantiles(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    samples = [float(ms) for ms in range(1, 102)]
    comparison = load([write_run(tmp_path, [make_result(model_ms=samples)])], tmp_path)
    [record] = records(comparison, PRINTED)
    assert [record[name] for name in ("p5", "p25", "p50", "p75", "p95")] == [6.0, 26.0, 51.0, 76.0, 96.0]
    assert (len(record["samples"]), record["samples"][0], record["samples"][-1]) == (50, 1.0, 101.0)
    spec = costs.latency(PRINTED, 500, [record], log=False)
    assert [item["text"] for item in drawn_by(spec, "text")] == ["51.0"]
    assert drawn_by(spec, "symbol") == drawn_by(spec, "symbol"), "the same results draw the same picture"


def test_memory_stands_with_its_figures(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    comparison = load([write_run(tmp_path, [make_result()])], tmp_path)
    texts = [item["text"] for item in drawn_by(costs.memory(PRINTED, 500, records(comparison, PRINTED)), "text")]
    assert sorted(texts) == sorted(["178", "812", "1,024", "1,640", "3,210"])


def test_megabytes_are_whole_but_for_a_few(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    comparison = load([write_run(tmp_path, [make_result()])], tmp_path)
    [record] = records(comparison, PRINTED)
    found = [record | dict(zip(MEMORY, (7.494, 0.0312, 1229.7, 10.4, 99.9), strict=True))]
    texts = [item["text"] for item in drawn_by(costs.memory(PRINTED, 500, found), "text")]
    assert sorted(texts) == sorted(["7.5", "0.03", "1,230", "10", "100"])


def sweep(folder: Path, make_result: Any, write_run: Any) -> Comparison:
    """Write one model at batch sizes 4, 1 and 2 in two precisions, another at one size, and one out of memory."""
    results = [
        make_result("A", model_ms=[ms] * 3, batch_size=size, precision=precision)
        for precision, factor in (("fp32", 1.0), ("fp16", 0.5))
        for size, ms in ((4, 60.0 * factor), (1, 20.0 * factor), (2, 35.0 * factor))
    ]
    results.append(make_result("A", batch_size=8, precision="fp16", status="out_of_memory", model_ms=None))
    results.append(make_result("B", batch_size=1))
    return load([write_run(folder / "run", results)], folder)


def test_rows_of_a_line(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    comparison = sweep(tmp_path, make_result, write_run)
    lines = [
        [(comparison.text(row, "precision"), comparison.cell(row, "batch_size")) for row in rows]
        for rows in sweeps(comparison)
    ]
    assert sorted(lines) == [[(p, size) for size in (1, 2, 4)] for p in ("fp16", "fp32")]


def test_each_input_size_is_a_line_of_its_own(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result("A", batch_size=size, input_size=edges) for edges in (None, "640x1066") for size in (1, 2)]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    assert sorted([comparison.text(row, "input_size") for row in rows] for rows in sweeps(comparison)) == [
        ["", ""],
        ["640x1066", "640x1066"],
    ]


def test_the_lines_are_drawn(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    comparison = sweep(tmp_path, make_result, write_run)
    spec = costs.throughput(PRINTED, 500, records(comparison, PRINTED))
    assert sorted(str(item["text"]) for item in drawn_by(spec, "text")) == ["1", "1", "2", "2", "4", "4"]
    assert len({item["stroke"] for item in drawn_by(spec, "line")}) == 2
    [picture] = throughput(comparison, tmp_path)
    assert picture.path.is_file()
    one = load([write_run(tmp_path / "one", [make_result("A"), make_result("B")])], tmp_path)
    assert throughput(one, tmp_path) == []


def test_stages_are_told_apart_without_colour() -> None:
    """By their lightness, ITU-R BT.601, as a grey print shows them."""
    lightness = sorted(_grey(colour) for colour in PRINTED.stages)
    assert len(lightness) == 5
    assert min(np.diff(lightness)) > 0.1


def _grey(colour: str) -> float:
    return float(np.dot(ImageColor.getrgb(colour), (0.299, 0.587, 0.114))) / 255


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [c / 255 for c in ImageColor.getrgb(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize(("scheme", "ground"), [(0, "#ffffff"), (1, "#14171a")])
def test_hues_are_seen_on_their_ground(scheme: int, ground: str) -> None:
    """WCAG 1.4.11: 3 to 1; the style sheet has the hues of the page twice."""
    style = (TEMPLATES / "plots.css").read_text()
    hues = re.findall(r"--hue-\d: (#\w+)", style)
    assert len(hues) == 2 * len(PAGE.hues)
    half = hues[scheme * len(PAGE.hues) :][: len(PAGE.hues)]
    if scheme == 0:
        assert [hue.upper() for hue in half] == list(PRINTED.hues)
    for hue in half:
        light, dark = sorted((_luminance(hue), _luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, hue
