"""Test the table: derived figures, empty cells, order of columns, marks of the best, unreadable files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.schema.latency import images_per_second, percentile
from reports.table.columns import COLUMNS
from reports.table.comparison import load, write_csv, write_json
from reports.text.conditions import conditions, row_notes

DESIGN_COLUMNS = """model, backbone, library, weights, dataset, device, precision, compile, batch_size, input_size,
status, reason, mask_ap, mask_ap_low, mask_ap_high, mask_ap50, mask_ap75, mask_ap_small, mask_ap_medium,
mask_ap_large, boundary_ap, published_mask_ap, fps_model, fps_model_low, fps_model_high, fps_end_to_end,
latency_ms_p50, latency_ms_p95, latency_ms_p99, preprocess_ms, network_ms, postprocess_ms, peak_allocated_mb,
peak_reserved_mb, process_device_mb, fits_in_gb, host_rss_mb, parameters_m, gflops, energy_j_per_image,
detections_per_image, images, result"""


def test_fps_is_images_over_summed_time():
    assert images_per_second(1, [20.0, 30.0, 50.0]) == pytest.approx(30.0)
    assert images_per_second(4, [100.0, 300.0]) == pytest.approx(20.0)
    assert images_per_second(1, []) is None


def test_percentiles_interpolate_linearly():
    assert percentile([20.0, 50.0, 30.0], 50) == pytest.approx(30.0)
    assert percentile([20.0, 30.0, 50.0], 95) == pytest.approx(48.0)
    assert percentile([20.0, 30.0, 50.0], 99) == pytest.approx(49.6)
    assert percentile([7.0], 95) == 7.0
    assert percentile([], 50) is None


CELLS_OF_A_ROW = {
    "model": "Mask R-CNN",
    "backbone": "R50-FPN",
    "library": "torchvision",
    "weights": "zoo",
    "dataset": "coco",
    "device": "cuda:0",
    "precision": "fp32",
    "compile": "none",
    "batch_size": 1,
    "input_size": None,
    "status": "ok",
    "reason": None,
    "mask_ap": 37.212345678901,
    "mask_ap_low": 35.712345678901,
    "mask_ap_high": 38.712345678901,
    "mask_ap50": 55.8185185183515,
    "boundary_ap": None,
    "published_mask_ap": 37.2,
    "fps_model": 30.0,
    # Of three samples, 20, 30 and 50 ms: 33.3 ms more or less 4.3027 x 15.275 / sqrt(3), which reaches 0.
    "fps_model_low": None,
    "fps_model_high": None,
    "fps_end_to_end": 23.076923076923077,
    "latency_ms_p50": 30.0,
    "latency_ms_p95": 48.0,
    "latency_ms_p99": 49.6,
    "preprocess_ms": 4.0,
    "network_ms": 25.0,
    "postprocess_ms": 3.0,
    "peak_allocated_mb": 812.0,
    "peak_reserved_mb": 1024.0,
    "process_device_mb": 1640.0,
    "fits_in_gb": 4,
    "host_rss_mb": 3210.0,
    "parameters_m": 44.401393,
    "gflops": 134.4,
    "energy_j_per_image": None,
    "detections_per_image": 12.0,
    "images": 59,
    "result": "run/jobs/job0/result.json",
}
"""By column, for a literal result with a mask AP of 0.37212345678901."""


def test_every_figure_of_a_row(tmp_path, make_result, write_run):
    result = make_result(mask_ap=0.37212345678901)
    comparison = load([write_run(tmp_path / "run", [result])], tmp_path)
    for name, value in CELLS_OF_A_ROW.items():
        assert comparison.cell(0, name) == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), (
            name
        )


def test_csv_has_the_columns_of_the_design_and_empties(tmp_path, make_result, write_run):
    results = [
        make_result(weights="random", mask_ap=None, memory={"host_rss_bytes": 3_000_000_000}),
        make_result("SOLO", status="crashed", reason="killed by\nSIGKILL"),
    ]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    write_csv(comparison, tmp_path / "comparison.csv")
    with open(tmp_path / "comparison.csv", newline="") as file:
        header, random, crashed = csv.reader(file)
    promised = [name.strip() for name in DESIGN_COLUMNS.replace("\n", " ").split(",")]
    assert [name for name in header if name in promised] == promised
    random, crashed = dict(zip(header, random, strict=True)), dict(zip(header, crashed, strict=True))
    for name in ("mask_ap", "mask_ap50", "mask_ap_low", "peak_allocated_mb", "process_device_mb", "energy_j_per_image"):
        assert random[name] == "", name
    assert random["host_rss_mb"] == "3000.0"
    assert (random["batch_size"], random["images"]) == ("1", "59")
    assert (crashed["status"], crashed["reason"]) == ("crashed", "killed by SIGKILL")
    measured = [name for name, column in COLUMNS.items() if column.decimals is not None]
    assert {name for name in measured if crashed[name]} == {"batch_size", "max_detections", "published_mask_ap"}


def test_figures_of_random_weights_never_show_as_ap(tmp_path, make_result, write_run):
    comparison = load([write_run(tmp_path, [make_result(weights="random", mask_ap=0.002)])], tmp_path)
    assert comparison.cell(0, "mask_ap") is None
    assert comparison.cell(0, "mask_ap_high") is None


def test_json_keeps_all_digits_and_says_null(tmp_path, make_result, write_run):
    comparison = load([write_run(tmp_path, [make_result(mask_ap=1 / 3)])], tmp_path)
    write_json(comparison, tmp_path / "comparison.json")
    (record,) = json.loads((tmp_path / "comparison.json").read_text())
    assert record["mask_ap"] == 100.0 * (1 / 3)
    assert record["boundary_ap"] is None
    assert record["batch_size"] == 1
    assert list(record) == list(COLUMNS)


def test_the_dataset_says_its_limit(tmp_path, make_result, write_run):
    comparison = load([write_run(tmp_path, [make_result(dataset={"limit": 2})])], tmp_path)
    assert comparison.cell(0, "dataset") == "coco (first 2)"


def test_best_only_among_comparable_ok_rows(tmp_path, make_result, write_run):
    results = [
        make_result("A", mask_ap=0.40, model_ms=[100.0]),
        make_result("B", mask_ap=0.30, model_ms=[50.0]),
        make_result("C", mask_ap=0.10, model_ms=[10.0], precision="fp16"),
        make_result("D", status="failed", reason="x", model_ms=[1.0]),
    ]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    rows = {comparison.cell(row, "model"): row for row in range(4)}
    assert (rows["A"], "mask_ap") in comparison.best
    assert (rows["B"], "fps_model") in comparison.best
    assert (rows["B"], "latency_ms_p95") in comparison.best
    # C has nothing to be compared with, D did not end well, and equal memory of A and B is no distinction.
    assert not {column for row, column in comparison.best if row in (rows["C"], rows["D"])}
    assert not {row for row, column in comparison.best if column == "peak_allocated_mb"}
    assert not {row for row, column in comparison.best if column in ("published_mask_ap", "detections_per_image")}


def test_rows_of_other_machines_are_not_compared(tmp_path, make_result, write_run):
    results = [make_result("A", model_ms=[100.0]), make_result("B", model_ms=[50.0])]
    results[1].machine = {**results[1].machine, "gpu": {"name": "Tesla T4"}}
    assert not load([write_run(tmp_path, results)], tmp_path).best


def test_a_warmer_gpu_is_the_same_machine(tmp_path, make_result, write_run):
    results = [make_result("A", model_ms=[100.0]), make_result("B", model_ms=[50.0])]
    gpu = {**results[1].machine["gpu"], "temperature_celsius": 77}
    results[1].machine = {**results[1].machine, "gpu": gpu, "time_utc": "2026-11-22T14:00:00+00:00"}
    assert load([write_run(tmp_path, results)], tmp_path).best


def test_bad_files_warn_and_are_left_out(tmp_path, make_result, write_run, capsys):
    run = write_run(tmp_path, [make_result()] * 4)
    (run / "jobs/job0/result.json").write_text('{"schema_version": 1, "status": "o')
    (run / "jobs/job1/result.json").write_text('{"schema_version": 99}')
    wrong = json.loads((run / "jobs/job2/result.json").read_text())
    wrong["speed"]["model"]["latency_ms"] = "fast"
    (run / "jobs/job2/result.json").write_text(json.dumps(wrong))
    comparison = load([run], tmp_path)
    assert [job.shown for job in comparison.rows] == ["jobs/job3/result.json"]
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3
    assert all(line.startswith("warning: ") and "result.json" in line for line in warnings)


def test_no_results_is_the_users_mistake(tmp_path, capsys):
    with pytest.raises(UserError, match=r"no readable result\.json"):
        load([tmp_path], tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        load([tmp_path / "absent"], tmp_path)


def test_several_runs_merge_and_a_file_counts_once(tmp_path, make_result, write_run):
    first = write_run(tmp_path / "first", [make_result("A"), make_result("B")])
    write_run(tmp_path / "second", [make_result("C")])
    comparison = load([tmp_path, first, first / "jobs/job0/result.json"], tmp_path / "report")
    assert sorted(comparison.cell(row, "model") for row in range(3)) == ["A", "B", "C"]
    assert "../second/jobs/job0/result.json" in set(comparison.frame["result"])


def test_labels_tell_rows_apart_by_what_differs(tmp_path, make_result, write_run):
    results = [
        make_result("SOLO"),
        make_result(),
        make_result(precision="fp16"),
        make_result(precision="fp16", batch_size=8),
    ]
    labels = set(load([write_run(tmp_path, results)], tmp_path).labels)
    assert labels == {
        "SOLO R50-FPN · torchvision",
        "Mask R-CNN R50-FPN · torchvision · fp32",
        "Mask R-CNN R50-FPN · torchvision · fp16 · batch 1",
        "Mask R-CNN R50-FPN · torchvision · fp16 · batch 8",
    }


def test_rows_of_other_input_sizes_are_told_apart_and_not_compared(tmp_path, make_result, write_run):
    results = [
        make_result("A", model_ms=[100.0]),
        make_result("B", model_ms=[50.0], input_size="640x1066"),
        make_result("B", model_ms=[80.0], input_size="800x1333"),
        make_result("C", model_ms=[90.0], input_size="800x1333"),
    ]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    named = dict(zip(comparison.labels, range(4), strict=True))
    assert set(named) == {
        "A R50-FPN · torchvision",
        "B R50-FPN · torchvision · input 640x1066",
        "B R50-FPN · torchvision · input 800x1333",
        "C R50-FPN · torchvision",
    }
    marked = {row for row, column in comparison.best if column == "fps_model"}
    assert marked == {named["B R50-FPN · torchvision · input 800x1333"]}
    assert comparison.differing(["input_size", "batch_size"]) == ["input_size"]
    [setting] = [text for name, text in conditions(comparison) if name == "Setting"]
    assert "batch size 1, images scaled to fit 640x1066 (shorter and longer edge) [B" in setting


def test_an_input_size_against_the_model_s_own_is_a_difference(tmp_path, make_result, write_run):
    results = [make_result(), make_result(input_size="800x1333")]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    assert comparison.differing(["input_size"]) == ["input_size"]
    assert set(comparison.labels) == {
        "Mask R-CNN R50-FPN · torchvision",
        "Mask R-CNN R50-FPN · torchvision · input 800x1333",
    }


def test_what_a_row_s_worker_noted_is_told_once_with_its_rows(tmp_path, make_result, write_run):
    results = [make_result("A"), make_result("B")]
    assert row_notes(load([write_run(tmp_path, results)], tmp_path)) == []
    results[0].notes += ["the GPU was in use before this job began: 7.3 GB taken", "the second"]
    results[1].notes += ["the second"]
    assert row_notes(load([write_run(tmp_path, results)], tmp_path)) == [
        ("the GPU was in use before this job began: 7.3 GB taken", "A R50-FPN · torchvision"),
        ("the second", "all rows"),
    ]


def test_repeated_jobs_have_labels_of_their_own(tmp_path, make_result, write_run):
    write_run(tmp_path / "one", [make_result()])
    write_run(tmp_path / "two", [make_result()])
    labels = load([tmp_path], tmp_path).labels
    assert len(set(labels)) == 2


def test_reports_never_import_torch():
    modules = "reports, reports.writing, reports.page.comparison_page, reports.charts.accuracy, reports.masks.panels"
    modules += ", reports.text.terminal, reports.text.latex"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[3]).returncode == 0


def test_importing_reports_is_cheap():
    code = "import sys, reports; sys.exit(bool({'pandas', 'matplotlib', 'jinja2', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[3]).returncode == 0
