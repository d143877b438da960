"""The columns of the comparison: one line each with its definition, unit, better direction and how it is derived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.evaluation.intervals import fps_interval
from bench.schema.metrics import METRICS
from bench.schema.row import Row

INTERVALS = {"mask_ap": ("mask_ap_low", "mask_ap_high"), "fps_model": ("fps_model_low", "fps_model_high")}
"""The columns that hold the ends of a column's 95 % interval."""

GPU_SIZES_GB = (4, 8, 12, 16, 24, 40, 80)
"""Memory of the GPUs that people have, in what their makers call GB: 2^30 bytes."""


@dataclass(frozen=True)
class Column:
    """``better`` is None where no direction is good as such; ``decimals`` is None for text."""

    title: str
    description: str
    value: Callable[[Row], Any]
    unit: str = ""
    better: Literal["high", "low"] | None = None
    decimals: int | None = None


def dataset_name(row: Row) -> str:
    name, limit = row.setting("dataset", "name", default=""), row.setting("dataset", "limit")
    return f"{name} (first {limit})" if limit else str(name)


def dataset_files(row: Row) -> tuple[str, str]:
    """Image folder and annotations as absolute paths, "" where the row names none."""
    names = (row.setting("dataset", key) for key in ("images", "annotations"))
    images, annotations = (str(Path(name).expanduser().resolve()) if name else "" for name in names)
    return images, annotations


def _setting(*keys: str) -> Callable[[Row], Any]:
    return lambda row: row.setting(*keys)


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _figure(name: str) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        accuracy = row.result.accuracy
        # The AP of an untrained network is noise, and beside trained ones it would read as a fact.
        if accuracy is None or accuracy.figures is None or row.random_weights:
            return None
        return _points(accuracy.figures.get(name))

    return value


def _accuracy(derive: Callable[[Any], float | None]) -> Callable[[Row], float | None]:
    return lambda row: None if row.result.accuracy is None or row.random_weights else derive(row.result.accuracy)


def _interval(index: int) -> Callable[[Row], float | None]:
    return _accuracy(lambda a: _points(a.confidence_interval[index]) if a.confidence_interval else None)


def _metric(name: str) -> Callable[[Row], float | None]:
    """What the gate reads of a result under the same name; not for AP, which here is empty for random weights."""
    figure = METRICS[name].figure
    return lambda row: figure(row.result)


def _fps_end(index: int) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        ends = fps_interval(row.result.speed) if row.result.speed else None
        return ends[index] if ends else None

    return value


def _gflops(row: Row) -> float | None:
    flops = row.result.model.flops_mean if row.result.model else None
    return None if flops is None else flops / 1e9


def _fits_in(row: Row) -> int | None:
    memory = row.result.memory
    needed = memory.process_device_bytes if memory else None
    if needed is None:
        return None
    return next((size for size in GPU_SIZES_GB if needed <= 0.95 * size * 2**30), None)


def _detections(row: Row) -> float | None:
    speed = row.result.speed
    return float(np.mean(speed.detections_per_image)) if speed and speed.detections_per_image else None


_AP = "COCO mask AP (segm), at most 100 detections an image, points (fraction x 100)"
_LATENCY = "time of one batch at the model boundary (host-to-device copy to full-size masks on the device)"
_STAGE = "from calls of their own in which each stage is timed apart; median over batches"

COLUMNS: dict[str, Column] = {
    "model": Column("Model", "family of the model, as papers write it", _setting("model", "family")),
    "backbone": Column("Backbone", "feature extractor of the model", _setting("model", "backbone")),
    "library": Column("Library", "library that the model was run with", _setting("model", "library")),
    "weights": Column(
        "Weights",
        "random (untrained, seeded), zoo (published by the library) or the file given",
        lambda row: row.weights,
    ),
    "dataset": Column("Dataset", "images that the row was measured on", dataset_name),
    "device": Column("Device", "device that the network ran on", _setting("device")),
    "precision": Column(
        "Precision",
        "fp32, tf32 (fp32 with TF32 allowed), or fp16 or bf16 through torch.autocast",
        _setting("precision"),
    ),
    "compile": Column(
        "Compile",
        "mode of torch.compile for backbone and neck; none is eager",
        _setting("compile"),
    ),
    "batch_size": Column("Batch", "images in one batch", _setting("batch_size"), "images", decimals=0),
    "input_size": Column(
        "Input",
        "shorter and longer edge in pixels that images are scaled to fit; empty is the model's own size",
        _setting("input_size"),
    ),
    "status": Column("Status", "ok, failed, out_of_memory, timeout, crashed or skipped", lambda row: row.result.status),
    "reason": Column("Reason", "why the job did not end well", lambda row: row.result.reason),
    "mask_ap": Column(
        "Mask AP", f"{_AP}, mean over IoU 0.50:0.95; empty for random weights", _figure("mask_ap"), "points", "high", 1
    ),
    "mask_ap_low": Column(
        "AP low",
        "lower end of the confidence interval of mask AP (bootstrap over images)",
        _interval(0),
        "points",
        decimals=1,
    ),
    "mask_ap_high": Column(
        "AP high",
        "upper end of the confidence interval of mask AP (bootstrap over images)",
        _interval(1),
        "points",
        decimals=1,
    ),
    "mask_ap50": Column("AP50", f"{_AP}, at IoU 0.50", _figure("mask_ap50"), "points", "high", 1),
    "mask_ap75": Column("AP75", f"{_AP}, at IoU 0.75", _figure("mask_ap75"), "points", "high", 1),
    "mask_ap_small": Column(
        "AP small", f"{_AP}, objects under 32 x 32 pixels of mask area", _figure("mask_ap_small"), "points", "high", 1
    ),
    "mask_ap_medium": Column(
        "AP medium", f"{_AP}, objects of 32 x 32 to 96 x 96 pixels", _figure("mask_ap_medium"), "points", "high", 1
    ),
    "mask_ap_large": Column(
        "AP large", f"{_AP}, objects over 96 x 96 pixels", _figure("mask_ap_large"), "points", "high", 1
    ),
    "boundary_ap": Column(
        "Boundary AP",
        "AP with IoU of the mask boundaries instead of the masks, points",
        _accuracy(lambda a: _points((a.boundary_figures or {}).get("boundary_ap"))),
        "points",
        "high",
        1,
    ),
    "published_mask_ap": Column(
        "Published AP",
        "mask AP that the library publishes for its own weights on its own dataset; not measured here",
        lambda row: row.result.published.get("mask_ap"),
        "points",
        decimals=1,
    ),
    "fps_model": Column(
        "FPS model",
        "images over summed time at the model boundary: host-to-device copy, normalise, pad, network, "
        "NMS, full-size masks on the device",
        _metric("fps_model"),
        "images/s",
        "high",
        2,
    ),
    "fps_model_low": Column(
        "FPS low", "lower end of the 95 % confidence interval of FPS model", _fps_end(0), "images/s", decimals=2
    ),
    "fps_model_high": Column(
        "FPS high",
        "upper end of the 95 % confidence interval of FPS model, from the scatter of the batches or of the rounds, "
        "whichever is wider",
        _fps_end(1),
        "images/s",
        decimals=2,
    ),
    "fps_end_to_end": Column(
        "FPS end-to-end",
        "images over summed time from the image file to masks as RLE on the host: decode, resize, model, RLE",
        _metric("fps_end_to_end"),
        "images/s",
        "high",
        2,
    ),
    "latency_ms_p50": Column("p50", f"median {_LATENCY}", _metric("latency_ms_p50"), "ms", "low", 1),
    "latency_ms_p95": Column("p95", f"95th percentile of the {_LATENCY}", _metric("latency_ms_p95"), "ms", "low", 1),
    "latency_ms_p99": Column("p99", f"99th percentile of the {_LATENCY}", _metric("latency_ms_p99"), "ms", "low", 1),
    "preprocess_ms": Column(
        "Preprocess", f"resize and collate on the host, {_STAGE}", _metric("preprocess_ms"), "ms", "low", 1
    ),
    "network_ms": Column(
        "Network",
        f"host-to-device copy, normalise, pad, network, NMS, {_STAGE}",
        _metric("network_ms"),
        "ms",
        "low",
        1,
    ),
    "postprocess_ms": Column(
        "Postprocess", f"full-size masks on the device, {_STAGE}", _metric("postprocess_ms"), "ms", "low", 1
    ),
    "peak_allocated_mb": Column(
        "Peak allocated",
        "most device memory that tensors held at once (MB = 10^6 bytes)",
        _metric("peak_allocated_mb"),
        "MB",
        "low",
        0,
    ),
    "peak_reserved_mb": Column(
        "Peak reserved",
        "most device memory that torch's allocator held (MB = 10^6 bytes)",
        _metric("peak_reserved_mb"),
        "MB",
        "low",
        0,
    ),
    "process_device_mb": Column(
        "Device, process",
        "device memory of the whole process, context included (MB = 10^6 bytes)",
        _metric("process_device_mb"),
        "MB",
        "low",
        0,
    ),
    "fits_in_gb": Column(
        "Fits in",
        f"smallest GPU of {', '.join(str(size) for size in GPU_SIZES_GB)} GB that holds the process, context "
        "included, where 5 % of the GPU are the driver's",
        _fits_in,
        "GB",
        "low",
        0,
    ),
    "host_rss_mb": Column(
        "Host RSS",
        "peak resident memory of the process on the host (MB = 10^6 bytes)",
        _metric("host_rss_mb"),
        "MB",
        "low",
        0,
    ),
    "parameters_m": Column("Parameters", "parameters of the network, millions", _metric("parameters_m"), "M", "low", 2),
    "gflops": Column(
        "GFLOPs",
        "floating-point operations for one image, mean over real images, 10^9; a multiply-add counts as two",
        _gflops,
        "",
        "low",
        1,
    ),
    "energy_j_per_image": Column(
        "Energy", "energy of the device for one image", _metric("energy_j_per_image"), "J/image", "low", 2
    ),
    "detections_per_image": Column(
        "Detections",
        "mean instances an image while the model boundary was timed; more instances take longer",
        _detections,
        "per image",
        decimals=1,
    ),
    "images": Column(
        "Images",
        "images evaluated for AP",
        lambda row: getattr(row.result.accuracy, "images_evaluated", None),
        "images",
        decimals=0,
    ),
    "result": Column("Result", "path of the row's result.json, relative to the report", lambda row: row.shown),
}
"""Every column in its order. Text columns have no ``decimals``."""


def decimals_of(column: str, value: float) -> int:
    """How many decimals a figure is printed with: the column's, and two digits at least, so that a quick model does
    not read as 0.0 ms, up to four decimals."""
    decimals = COLUMNS[column].decimals or 0
    while 0 < abs(value) < 10 ** (1 - decimals) and decimals < 4:
        decimals += 1
    return decimals
