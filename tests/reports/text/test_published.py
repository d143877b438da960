"""Test what stands beside a published figure: the measured one, and the conditions in which the two differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result, build_training

from bench.schema.result import Result
from reports.page.comparison_page import Pictures, write_html
from reports.table.comparison import load
from reports.text.markdown import write_markdown
from reports.text.published import Line, published_lines

SPEED = {
    "fps": 16.1,
    "source": "a metafile",
    "boundary": "model",
    "hardware": "H200",
    "runtime": "PyTorch",
    "precision": "fp32",
    "batch_size": 1,
    "input_size": "800x1333",
}

Write = Callable[[Path, Sequence[Result]], Path]


def measured(speed: dict[str, Any] | None = None, *, dataset: str = "coco_val2017", **changes: Any) -> Result:
    """Give a row of 3 images in 20 + 30 + 50 ms, so 30 images a second, with a mask AP of 37.1."""
    given = {"mask_ap": 0.371, **changes}
    result = build_result(dataset={"name": dataset}, **given)
    result.published["speed"] = SPEED | (speed or {})
    return result


def lines(folder: Path, write_run: Write, result: Result) -> list[Line]:
    return published_lines(load([write_run(folder, [result])], folder))


def test_both_figures_stand_side_by_side(tmp_path: Path, write_run: Write) -> None:
    accuracy, speed = lines(tmp_path, write_run, measured())
    label = accuracy.label
    assert accuracy == (
        *(label, "mask AP", "37.2", "37.1", "-0.1 points"),
        *("within the tolerance", "the library's model zoo"),
    )
    assert speed == (label, "FPS", "16.1", "30.00", "1.86 times", "none known", "a metafile")


@pytest.mark.parametrize(
    ("said", "changes", "reasons"),
    [
        ({"hardware": "V100"}, {}, "hardware: V100 published, NVIDIA H200 here"),
        ({"hardware": "H20"}, {}, "hardware: H20 published, NVIDIA H200 here"),
        ({"boundary": "the network alone"}, {}, "boundary: the network alone published, model here"),
        ({"runtime": "TensorRT 10"}, {}, "runtime: TensorRT 10 published, PyTorch here"),
        ({"precision": "fp16"}, {}, "precision: fp16 published, fp32 here"),
        ({}, {"batch_size": 4}, "batch size: 1 published, 4 here"),
        ({}, {"input_size": "640x1066"}, "input size: 800x1333 published, 640x1066 here"),
        ({}, {"input_size": "800x1333"}, "none known"),
        ({}, {"compile": "default"}, "torch.compile default here"),
        ({"boundary": None, "batch_size": None}, {}, "the source does not say: boundary, batch size"),
    ],
)
def test_a_condition_that_differs_is_a_reason(
    said: dict[str, Any], changes: dict[str, Any], reasons: str, tmp_path: Path, write_run: Write
) -> None:
    assert lines(tmp_path, write_run, measured(said, **changes))[1].reasons == reasons


def test_a_processor_is_other_hardware(tmp_path: Path, write_run: Write) -> None:
    result = measured()
    result.config["device"] = "cpu"
    assert lines(tmp_path, write_run, result)[1].reasons == "hardware: H200 published, AMD EPYC 9354 here"


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"dataset": "coco_minitrain"}, "data set: coco_val2017 published, coco_minitrain here"),
        ({"overlap": "highest_score"}, "overlap highest_score here"),
        ({"precision": "bf16"}, "computed in bf16 here"),
        ({"input_size": "640x1066"}, "input size 640x1066 asked for here"),
        ({"mask_ap": 0.30}, "none known"),
    ],
)
def test_what_else_than_the_published_mask_ap_was_measured_is_a_reason(
    changes: dict[str, Any], reasons: str, tmp_path: Path, write_run: Write
) -> None:
    line = lines(tmp_path, write_run, measured(**changes))[0]
    assert line.reasons == reasons
    assert (line.difference == "") == ("dataset" in changes)


def test_a_part_of_the_images_and_another_limit_are_reasons(tmp_path: Path, write_run: Write) -> None:
    result = measured()
    assert result.accuracy is not None
    result.config["dataset"]["limit"] = 2
    result.accuracy.images_in_dataset = result.accuracy.images_evaluated + 5
    result.accuracy.max_detections = 300
    evaluated = result.accuracy.images_evaluated
    line = lines(tmp_path, write_run, result)[0]
    assert line.difference == ""
    assert line.reasons == (
        f"{evaluated} of {evaluated + 5} images here; the first 2 images here; "
        "at most 300 detections here, 100 published"
    )


@pytest.mark.parametrize("weights", ["random", "own.pth", "own"])
def test_other_weights_than_the_library_s_have_no_line(weights: str, tmp_path: Path, write_run: Write) -> None:
    assert lines(tmp_path, write_run, measured(weights=weights)) == []


def test_trained_weights_have_no_line(tmp_path: Path, write_run: Write) -> None:
    result = measured()
    result.finetune = build_training()
    assert lines(tmp_path, write_run, result) == []


def test_a_result_of_before_a_speed_was_published_has_the_line_of_its_mask_ap(tmp_path: Path, write_run: Write) -> None:
    result = measured()
    del result.published["speed"]
    assert [line.figure for line in lines(tmp_path, write_run, result)] == ["mask AP"]


def test_the_page_and_the_markdown_have_the_section(tmp_path: Path, write_run: Write) -> None:
    comparison = load([write_run(tmp_path, [measured({"source": "<b> zoo", "hardware": "V100"})])], tmp_path)
    write_markdown(comparison, tmp_path / "c.md")
    markdown = (tmp_path / "c.md").read_text(encoding="utf-8")
    assert "## Published and measured" in markdown
    assert "| FPS | 16.1 | 30.00 | 1.86 times | hardware: V100 published, NVIDIA H200 here | \\<b\\> zoo |" in markdown
    page = write_html(comparison, Pictures(), {}, tmp_path / "c.html").read_text(encoding="utf-8")
    assert '<a href="#published">' in page
    assert '<td class="num">1.86 times</td><td>hardware: V100 published' in page
    assert "&lt;b&gt; zoo" in page
    random = load([write_run(tmp_path / "random", [measured(weights="random")])], tmp_path)
    write_markdown(random, tmp_path / "c.md")
    assert "Published and measured" not in (tmp_path / "c.md").read_text(encoding="utf-8")
