"""Makes results of literal numbers for the gate: rounds of batches, memory, AP with its replicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.schema.config import BenchConfig
from bench.schema.parts.accuracy import AccuracyResult, BootstrapResult
from bench.schema.parts.costs import EnergyResult, MemoryResult
from bench.schema.parts.speed import SpeedResult, SpeedRound, Timing
from bench.schema.result import ModelInfo, Result
from bench.schema.row import Row

MACHINE: dict[str, Any] = {
    "cpu": {"name": "AMD EPYC 9354", "usable_cores": 16},
    "torch_threads": 16,
    "gpu": {"name": "NVIDIA H200", "driver_version": "580.65", "power_limit_watts": 700.0, "clocks_set_by_user": False},
}

QUIET = [100.0, 100.2, 99.9, 100.1, 99.8, 100.3, 100.05, 99.95, 100.15, 99.85, 100.25, 99.75]
"""Milliseconds of twelve rounds, 0.5 % apart at most."""


def speed(rounds: Sequence[Sequence[float]], end_to_end: Sequence[Sequence[float]] | None = None) -> SpeedResult:
    """Make a speed of rounds of batches in milliseconds; all timings share them unless ``end_to_end`` is given."""
    samples = [ms for part in rounds for ms in part]
    service = [ms for part in end_to_end for ms in part] if end_to_end else samples
    return SpeedResult(
        batch_size=1,
        rounds=[SpeedRound(len(part), 99.0, [], True) for part in rounds],
        model=Timing(samples, "cuda_event"),
        end_to_end=Timing(service, "perf_counter"),
        preprocess=Timing(samples, "perf_counter"),
        network=Timing(samples, "cuda_event"),
        postprocess=Timing(samples, "cuda_event"),
        detections_per_image=[7] * len(samples),
        image_sizes=[[480, 640]] * len(samples),
        input_sizes=[],
    )


def result(
    rounds_ms: Sequence[float] = QUIET,
    *,
    mask_ap: float = 0.372,
    replicates: Sequence[float] | None = None,
    reserved: int = 1_000_000_000,
    joules: float = 500.0,
    interleaved: str | None = None,
    weights: str = "aa" * 32,
    status: str = "ok",
    reason: str | None = None,
    name: str = "solov2_r50_mmdet",
    machine: dict[str, Any] | None = None,
    **config: Any,
) -> Result:
    """Make a result whose rounds have two batches each, which take ``rounds_ms`` milliseconds each."""
    settings = dataclasses.asdict(BenchConfig())
    settings.update(device="cuda:0", detections="thresholded", **config)
    settings["model"].update(name=name, weights="zoo")
    settings["dataset"] = {"name": "coco", "limit": None, **config.get("dataset", {})}
    measured = Result(
        status=status,
        reason=reason,
        config=settings,
        machine=machine or MACHINE,
        model=ModelInfo(["person"], "zoo", weights, 44_000_000),
        speed=speed([[ms, ms] for ms in rounds_ms]),
        memory=MemoryResult(1, 1, peak_allocated_bytes=800_000_000, peak_reserved_bytes=reserved),
        energy=EnergyResult(joules, 100, 10.0),
        accuracy=_accuracy(mask_ap, replicates),
        contents={"dataset": "dd" * 32},
        interleaved=interleaved,
    )
    assert measured.speed is not None
    measured.speed.batch_size = settings["batch_size"]
    if status != "ok":
        measured.speed = measured.memory = measured.energy = measured.accuracy = None
    return measured


def _accuracy(mask_ap: float, replicates: Sequence[float] | None) -> AccuracyResult:
    """Make an accuracy with a mask AP, a fraction, and its bootstrap replicates; by default 200 around it."""
    accuracy = AccuracyResult("hotcoco", "1.3.0", 59, 59, 812, "keep", "predictions.json")
    accuracy.figures = {"mask_ap": mask_ap, "mask_ap50": mask_ap + 0.2}
    accuracy.boundary_figures = {"boundary_ap": mask_ap - 0.1}
    if replicates is None:
        replicates = (mask_ap + np.random.default_rng(0).normal(0, 0.01, 200)).tolist()
    accuracy.bootstrap = BootstrapResult(0, "images", list(replicates))
    return accuracy


def row(measured: Result, job: str = "solov2-coco-1234abcd") -> Row:
    return Row(Path(job) / "result.json", measured)
