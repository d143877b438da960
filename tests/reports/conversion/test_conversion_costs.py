"""Test the table "AP lost, FPS gained" on literal results: which rows are set against which, and what is said."""

from __future__ import annotations

import io

import numpy as np
import pytest
from literal_results import build_result, with_replicates
from rich.console import Console

import reports
from bench.schema.facts import network_sha256
from bench.schema.result import RuntimeInfo
from reports.conversion.costs import NOT_TOLD_APART, TITLE, cost_lines, gained_text, lost_text
from reports.conversion.groups import conversions
from reports.table.claims import Estimate
from reports.table.comparison import load
from reports.text.terminal import terminal_table

DRAWS = np.linspace(-0.03, 0.03, 200)
WOBBLE = np.where(np.arange(200) % 2, 0.01, -0.01)
WEIGHTS = "ab" * 32
NO_WOBBLE = 0 * WOBBLE


def eager(mask_ap=0.400, weights=WEIGHTS, **config):
    """A row in torch, of 10 ms a batch, or 100 FPS."""
    result = with_replicates(build_result("Eager", mask_ap=mask_ap, model_ms=[10.0] * 40, **config), mask_ap + DRAWS)
    result.model.weights_sha256 = weights
    return result


def converted(runtime="ONNX Runtime", mask_ap=0.400, wobble=NO_WOBBLE, ms=5.0, exported_from=WEIGHTS, **config):
    """A row of a runtime, whose AP changes from draw to draw as that of the eager row does, and by the wobble."""
    file_precision = config.get("precision", "fp32")
    result = build_result(runtime, library=runtime, mask_ap=mask_ap, model_ms=[ms] * 40, **config)
    with_replicates(result, mask_ap + DRAWS + wobble)
    result.model.weights_sha256 = "cd" * 32
    told = RuntimeInfo(runtime, "1.0", "CPU", file_precision, 17, 1_000_000, 0.5, exported_from=exported_from)
    result.model.runtime = told
    return result


@pytest.fixture
def compared(tmp_path, write_run):
    def compare(*results):
        return load([write_run(tmp_path / "run", results)], tmp_path)

    return compare


def lines_of(comparison):
    """Give AP lost, FPS gained and what is unlike of each conversion, by the library of its row."""
    return {
        comparison.cell(line.row, "library"): (line.cells[2], line.cells[4], line.cells[5])
        for line in cost_lines(comparison)
        if not line.is_base
    }


def test_the_table_word_for_word(compared, tmp_path):
    """By hand: 40.0 - 39.5 = 0.5 ± 1.0, 10 ms / 5 ms = 2; and 40.0 - 38.0 = 2.0 in every draw, 10 / 20 = 0.5."""
    int8 = converted("OpenVINO", mask_ap=0.380, ms=20.0, precision="int8")
    int8.model.runtime.calibration = "100 images of shapes train"
    comparison = compared(eager(), converted(mask_ap=0.395, wobble=WOBBLE), int8)
    assert [line.cells for line in cost_lines(comparison)] == [
        ("Eager R50-FPN · torchvision", "40.00", "", "100.00", "", "base: torch, fp32"),
        (
            *("ONNX Runtime R50-FPN · ONNX Runtime", "39.50", "0.5 ± 1.0: not told apart"),
            *("200.00", "2.00 times [2.00, 2.00]", ""),
        ),
        (
            *("OpenVINO R50-FPN · OpenVINO", "38.00", "2.0 ± 0.0", "50.00", "0.50 times [0.50, 0.50]"),
            "precision int8 (base: fp32); calibrated on 100 images of shapes train",
        ),
    ]
    assert [(line.lost, line.gained) for line in cost_lines(comparison)] == [(0, 0), (0, 1), (-1, -1)]


def test_every_form_of_the_report_has_the_table(compared, tmp_path):
    compared(eager(), converted(mask_ap=0.395, wobble=WOBBLE))
    page = reports.build([tmp_path / "run"], tmp_path / "out").read_text()
    terminal = io.StringIO()
    Console(file=terminal, width=300).print(terminal_table([tmp_path / "run"]), crop=False)
    assert f"<h2>{TITLE}</h2>" in page
    assert '<a href="#conversions">' in page
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert f"## {TITLE}\n\n| Row | Mask AP | AP lost | FPS model | FPS gained | Unlike the base |" in markdown
    for text in (page, markdown, terminal.getvalue()):
        assert "0.5 ± 1.0: not told apart" in text
        assert "2.00 times" in text


@pytest.mark.parametrize(
    "others",
    [
        (),
        (eager(weights="ef" * 32),),
        (eager(weights=None),),
    ],
)
def test_there_is_no_table_without_a_row_of_the_same_weights(compared, tmp_path, others):
    """Though all rows have the same name, and the same AP."""
    compared(converted(), converted(exported_from=None), *others)
    page = reports.build([tmp_path / "run"], tmp_path / "out").read_text()
    assert TITLE not in page
    assert TITLE not in (tmp_path / "out" / "comparison.md").read_text()


def test_a_row_without_a_runtime_is_no_conversion(compared):
    assert conversions(compared(eager(), eager(precision="fp16"))) == {}


def test_another_network_with_the_same_weights_is_no_base(compared):
    """RoIPool in place of RoIAlign: the file of weights is the same."""
    network, swapped = eager(), eager(mask_ap=0.500)
    swapped.config["model"]["options"] = {"roi_pooling": "pool"}
    row = converted(mask_ap=0.390)
    row.model.runtime.exported_network = network_sha256(network.config["model"])
    assert network_sha256(swapped.config["model"]) != row.model.runtime.exported_network
    comparison = compared(swapped, network, row)
    [(base, [pair])] = conversions(comparison).items()
    assert comparison.cell(base, "mask_ap") == pytest.approx(40.0)
    assert comparison.cell(pair.row, "mask_ap") == pytest.approx(39.0)


def test_the_base_is_the_eager_row_in_fp32(compared):
    rows = eager(0.41, precision="fp16"), eager(0.42, compile="default"), eager(0.40), converted(mask_ap=0.39)
    comparison = compared(*rows)
    [(base, _)] = conversions(comparison).items()
    assert comparison.cell(base, "mask_ap") == pytest.approx(40.0)


def test_another_base_is_told(compared):
    comparison = compared(eager(0.41, precision="fp16", compile="default"), converted(mask_ap=0.40))
    base, _ = cost_lines(comparison)
    assert base.cells[5] == "base: torch, fp16, compile default"
    assert lines_of(comparison)["ONNX Runtime"][2] == "precision fp32 (base: fp16); torch.compile none (base: default)"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"batch_size": 4}, "batch size 4 (base: 1)"),
        ({"input_size": "200x300"}, "input size 200x300 (base: none)"),
    ],
)
def test_what_is_unlike_is_told(compared, config, words):
    assert lines_of(compared(eager(), converted(**config)))["ONNX Runtime"][2] == words


def test_the_size_of_the_export_is_told(compared):
    row = converted()
    row.model.runtime.exported_size = "200x300"
    assert lines_of(compared(eager(), row))["ONNX Runtime"][2] == "input size 200x300 (base: none)"
    of_that_size = eager(input_size="200x300")
    assert lines_of(compared(of_that_size, row))["ONNX Runtime"][2] == ""


def test_inputs_padded_to_one_shape_are_told(compared):
    row = converted()
    row.speed.input_sizes = [[1216, 1216]] * 40
    words = lines_of(compared(eager(), row))["ONNX Runtime"][2]
    assert words == "every input padded to 1216x1216 (base: inputs of 3 shapes)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overlap": "highest_score"}, "another overlap"),
        ({"dataset": {"limit": 10}}, "another data set"),
    ],
)
def test_rows_measured_by_other_rules_are_not_compared(compared, change, words):
    lost, gained, unlike = lines_of(compared(eager(), converted(mask_ap=0.2, **change)))["ONNX Runtime"]
    assert (lost, gained) == ("", "")
    assert unlike == f"not compared, since the base has {words}"


def test_speeds_on_other_images_are_not_compared(compared):
    """As of ``protocol=quick``, which times 5 images, beside the 10 of the default: AP is of all images in both."""
    base, row = eager(), converted(mask_ap=0.380, ms=5.0)
    base.speed.timed_images, row.speed.timed_images = 10, 5
    lost, gained, unlike = lines_of(compared(base, row))["ONNX Runtime"]
    assert (lost, gained) == ("2.0 ± 0.0", "not compared: timed on other images")
    assert unlike == "number of images that are timed 5 (base: 10)"


def test_a_base_that_was_timed_on_the_same_images_is_taken(compared):
    others, alike, row = eager(0.41), eager(0.40), converted(mask_ap=0.39)
    others.speed.timed_images, alike.speed.timed_images, row.speed.timed_images = 10, 5, 5
    comparison = compared(others, alike, row)
    assert lines_of(comparison)["ONNX Runtime"][1:] == ("2.00 times [2.00, 2.00]", "")


def test_a_row_that_was_not_timed_differs_in_nothing_of_timing(compared):
    base, row = eager(), converted()
    base.speed.timed_images, row.speed = 10, None
    assert lines_of(compared(base, row))["ONNX Runtime"][1:] == ("", "")


@pytest.mark.parametrize(
    ("key", "words"), [("pin", "cores of its own True (base: False)"), ("exclusive", "way of timing beside other")]
)
def test_another_way_of_timing_is_told(compared, key, words):
    row = converted()
    row.config["protocol"] = {**row.config.get("protocol", {}), key: True if key == "pin" else "slot"}
    _, gained, unlike = lines_of(compared(eager(), row))["ONNX Runtime"]
    assert gained == "2.00 times [2.00, 2.00]"
    assert unlike.startswith(words)


def test_another_score_threshold_is_not_compared(compared):
    row = converted()
    row.config["model"]["score_threshold"] = 0.5
    lost, _, unlike = lines_of(compared(eager(), row))["ONNX Runtime"]
    assert (lost, unlike) == ("", "not compared, since the base has another score threshold")


def test_replicates_of_other_images_are_not_compared(compared):
    row = converted(mask_ap=0.2)
    row.accuracy.bootstrap.images_sha256 = "others"
    assert lines_of(compared(eager(), row))["ONNX Runtime"][0] == "not compared: other images or other draws of them"


def test_rows_without_replicates_have_a_difference_without_an_interval(compared):
    row = converted(mask_ap=0.398)
    row.accuracy.bootstrap = None
    assert lines_of(compared(eager(), row))["ONNX Runtime"][0] == "0.20 (without an interval)"


@pytest.mark.parametrize(
    ("lost", "text"),
    [
        ((1.24, 0.84, 1.64), "1.2 ± 0.4"),
        ((0.1, -0.2, 0.4), f"0.1 ± 0.3: {NOT_TOLD_APART}"),
        ((-1.0, -1.5, -0.5), "-1.0 ± 0.5"),
        ((-0.001, -0.004, 0.002), f"0.00 ± 0.00: {NOT_TOLD_APART}"),
        ((0.0, 0.0, 0.0), f"0.00 ± 0.00: {NOT_TOLD_APART}"),
        ((-0.04, -0.06, -0.02), "-0.04 ± 0.02"),
    ],
)
def test_the_words_for_a_loss(lost, text):
    assert lost_text(Estimate(*lost)) == text


def test_the_words_for_a_gain():
    assert gained_text(Estimate(1.424, 1.38, 1.464)) == "1.42 times [1.38, 1.46]"
    assert gained_text(Estimate(1.01, 0.97, 1.05)) == f"1.01 times [0.97, 1.05]: {NOT_TOLD_APART}"
