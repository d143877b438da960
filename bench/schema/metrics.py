"""The table of figures: each stands here once; tables, charts, exports, gates and the list of columns in docs/ read it.

This module needs the standard library alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.schema.facts import code_licence, gpu_busy, untrained, weights_licence
from bench.schema.latency import images_per_second, percentile
from bench.schema.marks import OF_SPEED, mark_names
from bench.schema.result import PASSES, Result

MB = 1e6
"""Bytes in one megabyte, in every table."""

GPU_SIZES_GB = (4, 8, 12, 16, 24, 40, 80)
"""Memory of the GPUs that people have, in what their makers call GB: 2^30 bytes."""

Place = Literal["table", "markdown", "latex", "terminal", "page", "trend", "chart", "condition"]
"""Where a figure is shown.

table: the whole table, as CSV, JSON and HTML, with its definitions
markdown, latex, terminal: the tables of these forms
page: the columns of the page's table that are shown at first
trend: the page of trends
chart: the charts that CI draws
condition: with ``latex``, the column is left out where all rows have the same value
"""

_TABLE: tuple[Place, ...] = ("table", "markdown")
_PAPER: tuple[Place, ...] = (*_TABLE, "latex")
_FIRST: tuple[Place, ...] = (*_PAPER, "page")
_MAIN: tuple[Place, ...] = (*_FIRST, "terminal", "chart")


@dataclass(frozen=True)
class Figure:
    """One figure, or a text that a result says.

    name: its name in tables and ``gate.thresholds``
    title: the head of its column
    definition: the sentence of ``docs/columns.md``
    figure: reads it from a result, in its unit; None where it was not measured, for an AP also with random weights
    part: the part of the result that it comes from
    unit, decimals: of its values; decimals are None for text
    better: which direction is better; None for neither
    shown: the places that show it
    short, latex: the head of its column in a terminal and in LaTeX, where that is not the title
    interval: the method of its 95 % interval (:func:`bench.evaluation.intervals.interval`); "" where it has none
    end: for the end of another figure's interval: that figure's name, and 0 for the lower or 1 for the upper end;
        ``figure`` then gives None
    example: the example of a gate's threshold, without its sign; "" where a gate has no threshold for it
    timing: for a speed: the field of ``SpeedResult`` with its samples
    summary: for a speed: computes it from the batch size and the latencies of one round in milliseconds
    of_every_batch: for a speed: whether one batch alone has a value of it, so that two sides whose rounds were
        interleaved can be compared batch by batch
    resampled: for an AP: whether the bootstrap has replicates of it, under its name, by which differences are tested
    noise_if_untrained: whether it is of the time that masks take to become RLE: with random weights masks are noise, so
        that every report shows it in grey and never as the best (:func:`noise`, :data:`NOISE`)
    counted: whether it is a count in a timed part, which nothing that disturbs a timing changes
    limited: for an AP: whether ``protocol.max_detections`` limits the detections that it counts, so that its titles
        name another limit than COCO's
    """

    name: str
    title: str
    definition: str
    figure: Callable[[Result], Any]
    part: str = ""
    unit: str = ""
    better: Literal["high", "low"] | None = None
    decimals: int | None = None
    shown: tuple[Place, ...] = _TABLE
    short: str = ""
    latex: str = ""
    interval: Literal["", "fps", "median", "bootstrap"] = ""
    end: tuple[str, int] | None = None
    example: str = ""
    timing: str = ""
    summary: Callable[[int, Sequence[float]], float | None] | None = None
    of_every_batch: bool = False
    resampled: bool = False
    limited: bool = False
    noise_if_untrained: bool = False
    counted: bool = False

    @property
    def of_time(self) -> bool:
        """Tell whether it means less in a row that was timed badly, so that such a row is never the best in it."""
        return self.part in OF_SPEED and not self.counted

    @property
    def over_rounds(self) -> bool:
        """Tell whether it is measured anew in every round, and is therefore tested over rounds."""
        return self.summary is not None


def _fps(boundary: str, title: str, definition: str, **rest: Any) -> Figure:
    common: dict[str, Any] = {"unit": "images/s", "better": "high", "decimals": 2, "of_every_batch": True}
    return _speed(f"fps_{boundary}", title, definition, boundary, images_per_second, **common, **rest)


def _latency(q: int, boundary: str = "model", **rest: Any) -> Figure:
    name = f"latency_ms_p{q}" + ("" if boundary == "model" else f"_{boundary}")
    title = f"p{q}" + ("" if boundary == "model" else f" {boundary.replace('_', ' ')}")
    which = "median" if q == 50 else f"{q}th percentile of the"
    return _milliseconds(name, title, f"{which} time of one batch at {_BOUNDARIES[boundary]}", boundary, q, **rest)


def _stage(name: str, title: str, what: str, **rest: Any) -> Figure:
    text = f"{what}, from calls of their own in which each stage is timed apart; median over batches"
    return _milliseconds(f"{name}_ms", title, text, name, 50, **rest)


def _milliseconds(name: str, title: str, definition: str, timing: str, q: float, **rest: Any) -> Figure:
    def summary(_: int, latency_ms: Sequence[float]) -> float | None:
        return percentile(latency_ms, q)

    return _speed(name, title, definition, timing, summary, unit="ms", better="low", decimals=1, **rest)


def _speed(
    name: str,
    title: str,
    definition: str,
    timing: str,
    summary: Callable[[int, Sequence[float]], float | None],
    **rest: Any,
) -> Figure:
    def figure(result: Result) -> float | None:
        speed = result.speed
        timed = getattr(speed, timing) if speed else None
        return None if speed is None or timed is None else summary(speed.batch_size, timed.latency_ms)

    return Figure(name, title, definition, figure, "speed", example="3%", timing=timing, summary=summary, **rest)


def _memory(name: str, title: str, definition: str, field: str, **rest: Any) -> Figure:
    def figure(result: Result) -> float | None:
        value = getattr(result.memory, field, None)
        return None if value is None else value / MB

    text = f"{definition} (MB = 10^6 bytes)"
    return Figure(name, title, text, figure, "memory", "MB", "low", decimals=0, example="2%", **rest)


def _ap(name: str, title: str, definition: str, figures: str = "figures", **rest: Any) -> Figure:
    def figure(result: Result) -> float | None:
        accuracy = result.accuracy
        value = (getattr(accuracy, figures) or {}).get(name) if accuracy and not untrained(result) else None
        return None if value is None else 100 * value

    common: dict[str, Any] = {"unit": "points", "better": "high", "decimals": 1, "example": "0.2", "limited": True}
    return Figure(name, title, definition, figure, "accuracy", **common, **rest)


def _end(of: str, title: str, end: int, what: str, **rest: Any) -> Figure:
    text = f"{'upper' if end else 'lower'} end of the {what}"
    return Figure(f"{of}_{'high' if end else 'low'}", title, text, _not_here, end=(of, end), **rest)


def _scaled(part: str, field: str, scale: float) -> Callable[[Result], float | None]:
    def figure(result: Result) -> float | None:
        value = getattr(getattr(result, part), field, None)
        return None if value is None else value / scale

    return figure


def _not_here(result: Result) -> None:
    """Give None: the table computes this figure itself (an interval's end, the path that a report shows)."""


def _fits_in(result: Result) -> int | None:
    needed = result.memory.process_device_bytes if result.memory else None
    if needed is None:
        return None
    return next((size for size in GPU_SIZES_GB if needed <= 0.95 * size * 2**30), None)


def _of_runtime(result: Result, field: str, scale: float) -> float | None:
    ran = result.model.runtime if result.model else None
    return float(getattr(ran, field)) / scale if ran else None


def _gpu_busy(result: Result) -> float | None:
    share = gpu_busy(result.busy) if result.busy else None
    return None if share is None else 100 * share


def _per_image(result: Result, field: str) -> float | None:
    busy = result.busy
    return None if busy is None else float(getattr(busy, field)) / busy.images


def _energy(result: Result) -> float | None:
    energy = result.energy
    return energy.energy_joules / energy.images if energy and energy.images else None


def _detections(result: Result) -> float | None:
    counts = result.speed.detections_per_image if result.speed else []
    return math.fsum(counts) / len(counts) if counts else None


_BOUNDARIES = {
    "model": "the model boundary (host-to-device copy to full-size masks on the device)",
    "network": "the network boundary (host-to-device copy, normalise, pad, network, NMS)",
    "end_to_end": "the end-to-end boundary (image file to masks as RLE on the host)",
}
_AP = "COCO mask AP (segm), of at most 100 detections of an image and class unless said, points (fraction x 100)"
_GREY = "grey with random weights, whose masks are noise"
_COPIED = "host-to-device copy, normalise, pad, network, NMS"

# fmt: off
_FIGURES = (
    Figure("status", "Status", "ok, failed, out_of_memory, timeout, crashed or skipped", lambda result: result.status,
        shown=(*_TABLE, "terminal"), short="Status"),
    Figure("reason", "Reason", "why the job did not end well", lambda result: result.reason, shown=("table",)),
    Figure("marks", "Marks", "what the row must not be read without: host-bound, neighbours, disturbed, throttled, few "
        "samples, fewer images, recompiled, contradiction, random weights, other input size",
        lambda result: mark_names(result) or None, shown=("table",)),
    Figure("trained_from", "Trained from", "what a training before the measurement (finetune=) started from: scratch, "
        "published weights, or a file's name; empty without a training",
        lambda result: result.finetune.start if result.finetune else None),
    _ap("mask_ap", "Mask AP", f"{_AP}, mean over IoU 0.50:0.95; of an LVIS set by LVIS's rules; empty for random "
        "weights, and where there is no object to find", shown=(*_MAIN, "trend"), short="Mask\nAP", latex="AP",
        interval="bootstrap", resampled=True),
    *(
        _end("mask_ap", title, end, "confidence interval of mask AP (bootstrap over images)",
            unit="points", decimals=1, shown=("table",))
        for end, title in ((0, "AP low"), (1, "AP high"))
    ),
    _ap("mask_ap50", "AP50", f"{_AP}, at IoU 0.50", shown=(*_FIRST, "chart"), latex="AP$_{50}$"),
    _ap("mask_ap75", "AP75", f"{_AP}, at IoU 0.75", shown=(*_FIRST, "chart"), latex="AP$_{75}$"),
    _ap("mask_ap_small", "AP small", f"{_AP}, objects under 32 x 32 pixels of mask area", shown=(*_PAPER, "chart"),
        latex="AP$_S$"),
    _ap("mask_ap_medium", "AP medium", f"{_AP}, objects of 32 x 32 to 96 x 96 pixels", shown=(*_PAPER, "chart"),
        latex="AP$_M$"),
    _ap("mask_ap_large", "AP large", f"{_AP}, objects over 96 x 96 pixels", shown=(*_PAPER, "chart"),
        latex="AP$_L$"),
    *(
        _ap(f"mask_ap_{name}", f"AP {name}", f"LVIS's mask AP of its {name} categories, those {which} training "
            "images, points; empty for other sets", shown=_PAPER, latex=f"AP$_{name[0]}$")
        for name, which in (("rare", "in 1 to 10"), ("common", "in 11 to 100"), ("frequent", "in more than 100"))
    ),
    _ap("boundary_ap", "Boundary AP", "AP with IoU of the mask boundaries instead of the masks, points",
        "boundary_figures", shown=_MAIN, short="Bound.\nAP", latex="AP$_\\mathrm{boundary}$", resampled=True),
    Figure("published_mask_ap", "Published AP",
        "mask AP that the library publishes for its own weights on its own dataset; not measured here",
        lambda result: result.published.get("mask_ap"), unit="points", decimals=1, shown=_FIRST),
    _fps("model", "FPS model", f"images over summed time at the model boundary: {_COPIED}, full-size masks on the "
        "device", shown=(*_MAIN, "trend"), short="FPS\nmodel", interval="fps"),
    _end("fps_model", "FPS low", 0, "95 % confidence interval of FPS model", unit="images/s", decimals=2),
    _end("fps_model", "FPS high", 1, "95 % confidence interval of FPS model, from the scatter of the batches or of the "
        "rounds, whichever is wider", unit="images/s", decimals=2),
    _fps("network", "FPS network", f"images over summed time at the network boundary: {_COPIED}", shown=()),
    _fps("end_to_end", "FPS end-to-end", "images over summed time from the image file to masks as RLE on the host: "
        f"decode, resize, model, RLE; {_GREY}", shown=_MAIN, short="FPS end\nto end", noise_if_untrained=True),
    _latency(50, shown=(*_MAIN, "trend"), short="p50\nms", interval="median"),
    _latency(95, shown=(*_MAIN, "trend"), short="p95\nms"),
    _latency(99, shown=(*_TABLE, "chart")),
    *(_latency(q, "network", shown=()) for q in (50, 95, 99)),
    *(_latency(q, "end_to_end", shown=(), noise_if_untrained=True) for q in (50, 95, 99)),
    _stage("decode", "Decode", "reading and decoding the image files"),
    _stage("preprocess", "Preprocess", "resize and collate on the host"),
    _stage("network", "Network", _COPIED),
    _stage("postprocess", "Postprocess", "full-size masks on the device"),
    _stage("encode", "Encode", f"masks to RLE on the host ({_GREY})", noise_if_untrained=True),
    Figure("gpu_busy_percent", "GPU busy", "share of the model boundary's time in which at least one kernel or copy "
        "ran on the GPU (torch's profiler, in calls of their own); under 80 % the row is host-bound", _gpu_busy, "busy",
        "%", "high", 0, (*_FIRST, "terminal", "chart"), "GPU\nbusy %", example="10%"),
    Figure("gpu_ms", "GPU time", "the GPU's own time for one image at the model boundary: what it would take if "
        "launching kernels were free", lambda result: _per_image(result, "busy_ms"), "busy", "ms/image", "low", 2,
        (*_FIRST, "chart"), example="3%"),
    Figure("kernels_per_image", "Kernels", "kernels that the GPU runs for one image at the model boundary",
        lambda result: _per_image(result, "kernels"), "busy", "per image", "low", 0, _TABLE, example="5%",
        counted=True),
    _memory("peak_allocated_mb", "Peak allocated", "most device memory that tensors held at once",
        "peak_allocated_bytes", shown=(*_MAIN, "trend"), short="Peak\nalloc. MB"),
    _memory("peak_reserved_mb", "Peak reserved", "most device memory that torch's allocator held",
        "peak_reserved_bytes", shown=(*_TABLE, "trend", "chart")),
    _memory("process_device_mb", "Device, process", "device memory of the whole process, context included",
        "process_device_bytes", shown=(*_TABLE, "chart")),
    Figure("fits_in_gb", "Fits in", f"smallest GPU of {', '.join(map(str, GPU_SIZES_GB))} GB that holds the process, "
        "context included, where 5 % of the GPU are the driver's", _fits_in, "memory", "GB", "low", 0),
    _memory("host_rss_mb", "Host RSS", "peak resident memory of the process on the host", "host_rss_bytes",
        shown=(*_MAIN, "trend"), short="Host\nRSS MB"),
    Figure("parameters_m", "Parameters", "parameters of the network, millions", _scaled("model", "parameters", 1e6),
        "model", "M", "low", 2, _FIRST, example="1%"),
    Figure("file_mb", "File", "size of the file that a runtime has loaded (MB = 10^6 bytes); empty for torch",
        lambda result: _of_runtime(result, "file_bytes", MB), unit="MB", better="low", decimals=1),
    Figure("build_s", "Build", "time in which a runtime loaded and optimised the network; empty for torch",
        lambda result: _of_runtime(result, "build_seconds", 1), unit="s", better="low", decimals=1),
    Figure("gflops", "GFLOPs", "floating-point operations for one image, mean over real images, 10^9; a multiply-add "
        "counts as two; counted in float32, once for rows that differ only in precision, compiler, batch "
        "size or device", _scaled("flops", "mean", 1e9), "flops", "", "low", 1, _FIRST),
    Figure("energy_j_per_image", "Energy", "energy of the device for one image", _energy, "energy", "J/image", "low", 2,
        (*_FIRST, "trend", "chart"), example="5%"),
    Figure("detections_per_image", "Detections", "mean instances an image while the model boundary was timed; more "
        "instances take longer", _detections, "speed", "per image", None, 1, _FIRST, counted=True),
    Figure("images", "Images", "images evaluated for AP",
        lambda result: getattr(result.accuracy, "images_evaluated", None), "accuracy", "images", None, 0,
        (*_PAPER, "condition")),
    Figure("licence", "Licence", "licence of the code of the library that the model was run with (SPDX); empty where "
        "it is not known. It says nothing of a file of weights", code_licence),
    Figure("weights_licence", "Licence of weights", "licence of the weights (SPDX), where they are those that the "
        "library publishes, or a demo model's own; empty where it is not known, and for your own weights",
        weights_licence),
    Figure("result", "Result", "path of the row's result.json, relative to the report", _not_here, shown=("table",)),
)
# fmt: on

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _FIGURES}
"""Every figure by its name, in the order of every table."""

NOISE = (
    "not to be compared: with random weights the masks are noise, whose RLE is many times longer and slower to make "
    "than that of real masks"
)
"""Why a figure with ``noise_if_untrained`` is shown in grey."""


def noise(name: str, result: Result) -> bool:
    """Tell whether this figure of a result says nothing of the model, since its masks are noise (:data:`NOISE`)."""
    return name in FIGURES and FIGURES[name].noise_if_untrained and untrained(result)


_GATED = ("speed", "memory", "model", *(name for name in PASSES if name not in ("speed", "memory")))

METRICS: dict[str, Figure] = {
    figure.name: figure for part in _GATED for figure in _FIGURES if figure.part == part and figure.example
}
"""The figures for which a gate may have a threshold, in the order of its tables. ``network_ms`` and
``latency_ms_p50_network`` are one figure under two names; tables use the first."""


def shown_in(*places: Place) -> tuple[str, ...]:
    """Give the names of the figures that are shown in all of these places, in the order of every table."""
    return tuple(name for name, figure in FIGURES.items() if all(place in figure.shown for place in places))
