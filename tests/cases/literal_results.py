"""Give results made of literal numbers, in the dataclasses of ``bench.schema.result``."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

from bench.data.dataset import digest, load
from bench.errors import UserError
from bench.schema.config import BenchConfig, DatasetConfig
from bench.schema.parts.accuracy import (
    BOUNDARY_FIGURES,
    COCO_FIGURES,
    TIDE_ERRORS,
    AccuracyResult,
    BootstrapResult,
    Calibration,
    ImageFaults,
)
from bench.schema.parts.busy import BusyResult, DeviceWork, Gap
from bench.schema.parts.costs import FlopsResult, MemoryResult
from bench.schema.parts.speed import HostReadings, SpeedResult, SpeedRound, Timing
from bench.schema.parts.training import FinetuneResult
from bench.schema.result import ModelInfo, Result

MACHINE = {
    "time_utc": "2026-11-22T13:00:00+00:00",
    "cpu": {"name": "AMD EPYC 9354", "logical_cores": 32, "usable_cores": 16, "quota_cores": None},
    "host_memory_bytes": 128_000_000_000,
    "os": "Debian GNU/Linux 12 (bookworm)",
    "python": "3.11.9",
    "versions": {"torch": "2.14.1", "torchvision": "0.29.1", "mmdet": "3.5.1"},
    "maskbench": {"version": "0.1.0", "git_commit": "0123456789abcdef", "git_dirty": True},
    "torch_threads": 16,
    "tf32_matmul_allowed": False,
    "tf32_cudnn_allowed": True,
    "gpu": {
        "name": "NVIDIA H200",
        "memory_bytes": 150_000_000_000,
        "driver_version": "580.65",
        "power_limit_watts": 500.0,
        "default_power_limit_watts": 700.0,
        "temperature_celsius": 41,
    },
    "notes": [],
}

DATASET = {"name": "coco", "images": None, "annotations": None, "limit": None}

MEMORY: dict[str, Any] = {
    "peak_allocated_bytes": 812_000_000,
    "peak_reserved_bytes": 1_024_000_000,
    "host_rss_bytes": 3_210_000_000,
    "process_device_bytes": 1_640_000_000,
    "device_source": "nvml_process",
    "host_rss_source": "resettable_peak",
}


def build_result(
    family: str = "Mask R-CNN",
    backbone: str = "R50-FPN",
    library: str = "torchvision",
    *,
    status: str = "ok",
    reason: str | None = None,
    weights: str = "zoo",
    model_ms: Sequence[float] | None = (20.0, 30.0, 50.0),
    stages_ms: tuple[float, float, float] = (4.0, 25.0, 3.0),
    ends_ms: tuple[float, float] | None = None,
    mask_ap: float | None = 0.372,
    memory: dict[str, Any] | None = None,
    published: float | None = 37.2,
    detections: Sequence[int] = (10, 20, 6),
    clock: str = "cuda_event",
    **config: Any,
) -> Result:
    """Give a result with these numbers; ``config`` overrides top-level keys of the configuration.

    stages_ms: of preprocess, network and postprocess
    ends_ms: of decode and encode; without it the result is one of before they were timed
    Its protocol asks for no more batches than it has, so that it has no mark.
    """
    settings = dataclasses.asdict(BenchConfig())
    settings["protocol"]["min_samples"] = min(settings["protocol"]["min_samples"], len(model_ms or ()))
    settings.update(device="cuda:0", **config)
    settings["model"].update(
        name=f"{family}_{library}".lower(), family=family, backbone=backbone, library=library, weights=weights
    )
    settings["dataset"] = {**DATASET, **config.get("dataset", {})}
    result = Result(status=status, reason=reason, config=settings, machine=MACHINE, started="2026-11-22T13:00:00+00:00")
    result.contents = _contents(settings["dataset"])
    result.published = {"mask_ap": published, "dataset": "coco_val2017", "source": "the library's model zoo"}
    if status in ("skipped", "crashed"):
        return result
    result.seconds = 63.2
    result.model = ModelInfo(classes=["person", "car"], weights=weights, parameters=44_401_393)
    result.flops = FlopsResult(134.4e9, 1e9, 5)
    if model_ms is not None:
        result.speed = _speed(model_ms, stages_ms, detections, clock, settings["batch_size"])
    if result.speed and ends_ms is not None:
        decode, encode = (Timing([ms] * len(result.speed.model.latency_ms), "perf_counter") for ms in ends_ms)
        result.speed.decode, result.speed.encode = decode, encode
    result.memory = MemoryResult(parameters_bytes=177_605_572, buffers_bytes=222_000, **(memory or MEMORY))
    if status == "ok":
        result.accuracy = _accuracy(mask_ap)
    return result


def _contents(dataset: dict[str, Any]) -> dict[str, str]:
    """Give the digest of the data set, where there is one in these places."""
    if not dataset["images"]:
        return {}
    with contextlib.suppress(UserError):
        return {"dataset": digest(load(DatasetConfig(**dataset)))}
    return {}


def with_replicates(
    result: Result,
    mask_ap: Sequence[float],
    boundary_ap: Sequence[float] | None = None,
    seed: int = 0,
    images: str = "a",
) -> Result:
    """Add these bootstrap replicates to the result, and a Boundary AP of their mean."""
    assert result.accuracy is not None
    boundary = None if boundary_ap is None else list(boundary_ap)
    result.accuracy.bootstrap = BootstrapResult(seed, images, list(mask_ap), boundary)
    if boundary:
        result.accuracy.boundary_figures = dict.fromkeys(BOUNDARY_FIGURES, sum(boundary) / len(boundary))
    return result


def with_details(result: Result) -> Result:
    """Add to the result every figure that the accuracy pass can have."""
    accuracy = result.accuracy
    assert accuracy is not None
    accuracy.boundary_figures = dict(zip(BOUNDARY_FIGURES, (0.30, 0.55, 0.28, 0.15, 0.32, 0.40), strict=True))
    keep = (accuracy.figures or {}).get("mask_ap") or 0.372
    accuracy.overlap_mask_ap = {"keep": keep, "highest_score": keep - 0.007}
    accuracy.errors = dict(zip(TIDE_ERRORS, (0.021, 0.064, 0.009, 0.002, 0.041, 0.083), strict=True))
    edges = [0.0, 0.25, 0.5, 0.75, 1.0]
    accuracy.calibration = Calibration(0.125, edges, [None, 0.4, 0.6, 0.9], [None, 0.3, 0.5, 0.85], [0, 5, 20, 100])
    return result


def with_busy(result: Result, percent: float) -> Result:
    """Add to the result that the GPU computed for this share of ten batches of 30 ms."""
    result.busy = BusyResult(
        batches=10,
        images=10 * result.config["batch_size"],
        plain_ms=300.0,
        profiled_ms=412.0,
        busy_ms=3.0 * percent,
        kernels=14_230,
        copies=310,
        most=[
            DeviceWork("sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nchw", 1.2 * percent, 530),
            DeviceWork("at::native::elementwise_kernel", 0.6 * percent, 6120),
            DeviceWork("cudnn::batchnorm::bn_fw_inf_1C11_kernel_NCHW", 0.3 * percent, 520),
            DeviceWork("Memcpy DtoH (Device -> Pageable)", 0.2 * percent, 210),
            DeviceWork("vision::ops::nms_kernel_impl", 0.1 * percent, 60),
        ],
        gaps=[
            Gap(4.213, "torchvision/models/detection/rpn.py:241 filter_proposals, in nonzero"),
            Gap(3.1, "torchvision/models/detection/roi_heads.py:430 paste_masks_in_image"),
            Gap(1.25, "torchvision/ops/boxes.py:50 batched_nms"),
            Gap(0.9, "my_model.py:12 forward"),
            Gap(0.4),
        ],
    )
    return result


def with_few_samples(result: Result) -> Result:
    """Let the protocol of the result ask for more batches than it has."""
    result.config["protocol"]["min_samples"] = 30
    return result


def with_disturbed_batches(result: Result) -> Result:
    """Add to the result that others used the cores during two of three of its batches."""
    assert result.speed is not None
    for part in result.speed.rounds:
        part.host = HostReadings([35.0, 40.0], [0.0, 0.0], math.ceil(2 * part.samples / 3))
    return result


def with_worst_images(result: Result, image_ids: Sequence[Any]) -> Result:
    """Add to the result that an object was missed in each of these images."""
    assert result.accuracy is not None
    result.accuracy.worst_images = {"missed": [ImageFaults(image_id, 1, 1, 0.75) for image_id in image_ids]}
    return result


def build_training() -> FinetuneResult:
    """Give a training with four logged points of two losses, and three evaluations."""
    curve = [
        {"iteration": 20 * n, "learning_rate": 1e-4 if n < 4 else 1e-5, "total": 3.0 / n, "loss_box": 1.0 / n}
        | {"loss_mask": 2.0 / n}
        for n in (1, 2, 3, 4)
    ]
    evaluations: list[dict[str, float | None]] = [
        {"iteration": 20, "mask_ap": None, "mask_ap50": None},
        {"iteration": 40, "mask_ap": 0.30, "mask_ap50": 0.5},
        {"iteration": 80, "mask_ap": 0.25, "mask_ap50": 0.4},
    ]
    training = FinetuneResult("published weights of the library", 80, 2.5, 256, "c0ffee")
    training.reinitialised, training.curve, training.evaluations = ["head.weight", "head.bias"], curve, evaluations
    training.best_iteration, training.checkpoint, training.seconds = 40, "best.safetensors", 1500.0
    return training


def _speed(
    model_ms: Sequence[float], stages_ms: tuple[float, float, float], detections: Sequence[int], clock: str, batch: int
) -> SpeedResult:
    samples = list(model_ms)
    count = len(samples)
    return SpeedResult(
        batch_size=batch,
        rounds=[SpeedRound(len(samples), 812.5, [60.0, 50.0, 50.0, 50.0], True)],
        model=Timing(samples, clock),
        end_to_end=Timing([ms + 10.0 for ms in samples], "perf_counter"),
        preprocess=Timing([stages_ms[0]] * count, "perf_counter"),
        network=Timing([stages_ms[1]] * count, clock),
        postprocess=Timing([stages_ms[2]] * count, clock),
        detections_per_image=_repeated(detections, count),
        image_sizes=_repeated([[427, 640], [640, 480], [480, 640]], count),
        input_sizes=_repeated([[800, 1216], [1088, 800], [800, 1088]], count),
    )


def _repeated(values: Sequence[Any], count: int) -> list[Any]:
    return list(itertools.islice(itertools.cycle(values), count))


def _accuracy(mask_ap: float | None) -> AccuracyResult:
    result = AccuracyResult("hotcoco", "1.3.0", 59, 59, 812, "keep", "predictions.json", seconds=12.5)
    if mask_ap is None:
        result.figures_absent = "random weights"
        return result
    factors = (1, 1.5, 1.06, 0.5, 1.08, 1.4, 0.8, 1.2, 1.25, 0.8, 1.3, 1.6)
    result.figures = {name: min(mask_ap * factor, 1.0) for name, factor in zip(COCO_FIGURES, factors, strict=True)}
    result.per_class = {"person": mask_ap * 1.1, "car": mask_ap * 0.9, "hair drier": None}
    result.confidence_interval = [mask_ap - 0.015, mask_ap + 0.015]
    return result
