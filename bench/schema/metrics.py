"""The figures that a gate may hold a model to: where each is in a result, which way is better, how it is tested.

The names are those of the comparison's columns. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.schema.latency import images_per_second, percentile
from bench.schema.result import Result

MB = 1e6
"""Bytes in one megabyte, in every table."""

Figure = Callable[[Result], "float | None"]


@dataclass(frozen=True)
class Metric:
    """One figure.

    unit: of the figure; better: which way; example: of a threshold, without its sign
    figure: of a whole result, None where it was not measured
    timing, summary: of a speed: the field of ``SpeedResult`` with its samples, and what the batches of one round come
        to (batch size, milliseconds)
    of_every_batch: of a speed: whether a batch says something of it by itself, so that two sides that timed the same
        ones in turns can be compared batch by batch
    resampled: of an AP: whether the bootstrap has replicates of it, under its name
    part: of the result that it comes from
    """

    name: str
    unit: str
    better: Literal["high", "low"]
    example: str
    part: Literal["speed", "memory", "energy", "accuracy", "model"]
    figure: Figure
    timing: str = ""
    summary: Callable[[int, Sequence[float]], float | None] | None = None
    of_every_batch: bool = False
    resampled: bool = False

    @property
    def over_rounds(self) -> bool:
        """Whether it is measured anew in every round, and so tested over rounds."""
        return self.summary is not None


def _fps(boundary: str) -> Metric:
    return _speed(f"fps_{boundary}", "images/s", "high", boundary, images_per_second, of_every_batch=True)


def _latency(name: str, timing: str, q: float) -> Metric:
    return _speed(name, "ms", "low", timing, lambda _, latency_ms: percentile(latency_ms, q))


def _speed(
    name: str,
    unit: str,
    better: Literal["high", "low"],
    timing: str,
    summary: Callable[[int, Sequence[float]], float | None],
    *,
    of_every_batch: bool = False,
) -> Metric:
    def figure(result: Result) -> float | None:
        speed = result.speed
        return None if speed is None else summary(speed.batch_size, getattr(speed, timing).latency_ms)

    return Metric(name, unit, better, "3%", "speed", figure, timing, summary, of_every_batch)


def _memory(name: str, field: str) -> Metric:
    def figure(result: Result) -> float | None:
        value = getattr(result.memory, field, None)
        return None if value is None else value / MB

    return Metric(name, "MB", "low", "2%", "memory", figure)


def _parameters(result: Result) -> float | None:
    return None if result.model is None or result.model.parameters is None else result.model.parameters / 1e6


def _energy(result: Result) -> float | None:
    energy = result.energy
    return energy.energy_joules / energy.images if energy and energy.images else None


def _accuracy(name: str, figures: str = "figures", *, resampled: bool = False) -> Metric:
    def figure(result: Result) -> float | None:
        accuracy = result.accuracy
        value = (getattr(accuracy, figures) or {}).get(name) if accuracy else None
        return None if value is None else 100 * value

    return Metric(name, "points", "high", "0.2", "accuracy", figure, resampled=resampled)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _fps("model"),
        _fps("network"),
        _fps("end_to_end"),
        _latency("latency_ms_p50", "model", 50),
        _latency("latency_ms_p95", "model", 95),
        _latency("latency_ms_p99", "model", 99),
        *(
            _latency(f"latency_ms_p{q}_{boundary}", boundary, q)
            for boundary in ("network", "end_to_end")
            for q in (50, 95, 99)
        ),
        _latency("preprocess_ms", "preprocess", 50),
        _latency("network_ms", "network", 50),
        _latency("postprocess_ms", "postprocess", 50),
        _memory("peak_allocated_mb", "peak_allocated_bytes"),
        _memory("peak_reserved_mb", "peak_reserved_bytes"),
        _memory("process_device_mb", "process_device_bytes"),
        _memory("host_rss_mb", "host_rss_bytes"),
        Metric("parameters_m", "M", "low", "1%", "model", _parameters),
        Metric("energy_j_per_image", "J/image", "low", "5%", "energy", _energy),
        _accuracy("mask_ap", resampled=True),
        _accuracy("mask_ap50"),
        _accuracy("mask_ap75"),
        _accuracy("mask_ap_small"),
        _accuracy("mask_ap_medium"),
        _accuracy("mask_ap_large"),
        _accuracy("boundary_ap", "boundary_figures", resampled=True),
    )
}
"""By name, in the order of every table of a gate. ``network_ms`` is ``latency_ms_p50_network`` by the name it has in
the tables."""
