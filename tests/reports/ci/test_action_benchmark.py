"""Compare the JSON for github-action-benchmark with literal numbers and with its own schema (``src/extract.ts``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from literal_results import build_result
from scipy.stats import t

from bench.schema.metrics import METRICS
from bench.schema.row import Row
from reports.ci.action_benchmark import CHARTED, write_action_benchmark


def _read(rows: list[Row], folder: Path) -> dict[str, dict[str, Any]]:
    paths = write_action_benchmark(rows, folder)
    assert [path.name for path in paths] == ["bigger_is_better.json", "smaller_is_better.json"]
    return {path.stem: {entry["name"]: entry for entry in json.loads(path.read_text())} for path in paths}


def test_literal(tmp_path: Path) -> None:
    files = _read([Row(Path("job0/result.json"), build_result("SOLOv2", library="mmdet"))], tmp_path)
    bigger, smaller = files["bigger_is_better"], files["smaller_is_better"]
    assert list(bigger) == [
        f"solov2_mmdet: {name}"
        for name in (
            *("fps_model", "fps_end_to_end", "mask_ap", "mask_ap50", "mask_ap75"),
            *("mask_ap_small", "mask_ap_medium", "mask_ap_large"),
        )
    ]
    assert list(smaller) == [
        f"solov2_mmdet: {name}"
        for name in (
            *("latency_ms_p50", "latency_ms_p95", "latency_ms_p99"),
            *("peak_allocated_mb", "peak_reserved_mb", "process_device_mb", "host_rss_mb"),
        )
    ]
    ap = bigger["solov2_mmdet: mask_ap"]
    assert (ap["unit"], ap["range"], ap["value"]) == ("points", "± 1.5", pytest.approx(37.2))
    # Three batches in 20 + 30 + 50 ms.
    assert bigger["solov2_mmdet: fps_model"]["value"] == pytest.approx(30.0)
    assert bigger["solov2_mmdet: fps_model"]["unit"] == "images/s"
    assert "range" not in bigger["solov2_mmdet: fps_end_to_end"]
    assert smaller["solov2_mmdet: peak_allocated_mb"]["value"] == 812.0
    assert smaller["solov2_mmdet: latency_ms_p50"]["value"] == 30.0
    assert ap["extra"].splitlines()[0] == "coco, cuda:0, fp32, batch 1"
    assert "NVIDIA H200" in ap["extra"]


def test_range_is_half_of_the_stated_interval(tmp_path: Path) -> None:
    samples = [19.0, 20.0, 21.0] * 20
    files = _read([Row(Path("job0/result.json"), build_result(model_ms=samples))], tmp_path)
    reach = t.ppf(0.975, 59) * np.std(samples, ddof=1) / np.sqrt(60)
    half = (1e3 / (20 - reach) - 1e3 / (20 + reach)) / 2
    assert files["bigger_is_better"]["mask r-cnn_torchvision: fps_model"]["range"] == f"± {half:.2g}"
    # Of six samples the interval of the median reaches from the lowest to the highest.
    six = _read([Row(Path("job0/result.json"), build_result(model_ms=[18.0, 19.0, 20.0, 21.0, 22.0, 23.0]))], tmp_path)
    assert six["smaller_is_better"]["mask r-cnn_torchvision: latency_ms_p50"]["range"] == "± 2.5"


def test_names_tell_rows_apart_and_what_failed_has_none(tmp_path: Path) -> None:
    rows = [
        Row(Path("job0/result.json"), build_result()),
        Row(Path("job1/result.json"), build_result(precision="fp16")),
        Row(Path("job2/result.json"), build_result("SOLO", status="crashed")),
        Row(Path("job3/result.json"), build_result("Mask2Former", weights="random", mask_ap=None)),
    ]
    names = _read(rows, tmp_path)["bigger_is_better"]
    assert "mask r-cnn_torchvision · fp16: fps_model" in names
    assert not [name for name in names if name.startswith("solo")]
    assert "mask2former_torchvision: fps_model" in names
    assert "mask2former_torchvision: mask_ap" not in names


def test_the_action_takes_it(tmp_path: Path) -> None:
    """The schema is ``z.array(z.object({name, value, range?, unit, extra?}))``: no other keys, numbers are finite."""
    for entries in _read([Row(Path("job0/result.json"), build_result())], tmp_path).values():
        for entry in entries.values():
            assert set(entry) - {"range", "extra"} == {"name", "unit", "value"}
            assert isinstance(entry["value"], float)
            assert np.isfinite(entry["value"])
            assert all(isinstance(entry[key], str) for key in entry if key != "value")


def test_every_charted_metric_is_known() -> None:
    assert set(CHARTED) <= set(METRICS)
