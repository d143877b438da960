"""A result in which every part was measured, made of literal numbers: what a file must survive that someone damages."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.schema.config import BenchConfig, ClaimConfig, ExpectedConfig, FinetuneConfig, GateConfig, ShapesConfig
from bench.schema.parts.accuracy import (
    BOUNDARY_FIGURES,
    COCO_FIGURES,
    TIDE_ERRORS,
    AccuracyResult,
    BootstrapResult,
    Calibration,
    ImageFaults,
)
from bench.schema.parts.costs import EnergyResult, FlopsResult, MemoryResult
from bench.schema.parts.speed import CompileResult, GpuReadings, SpeedResult, SpeedRound, Timing
from bench.schema.parts.training import FinetuneResult
from bench.schema.result import ModelInfo, Result

MACHINE: dict[str, Any] = {
    "time_utc": "2026-11-22T13:00:00+00:00",
    "cpu": {
        "name": "AMD EPYC 9354",
        "logical_cores": 32,
        "physical_cores": 16,
        "usable_cores": 16,
        "quota_cores": 12.5,
    },
    "host_memory_bytes": 128_000_000_000,
    "os": "Debian GNU/Linux 12 (bookworm)",
    "python": "3.11.9",
    "versions": {"torch": "2.14.1", "torchvision": "0.29.1"},
    "maskbench": {"version": "0.1.0", "git_commit": "0123456789abcdef", "git_dirty": True},
    "torch_threads": 16,
    "float32_matmul_precision": "highest",
    "tf32_matmul_allowed": False,
    "tf32_cudnn_allowed": True,
    "cudnn_benchmark": False,
    "cudnn_deterministic": False,
    "gpu": {
        "name": "NVIDIA H200",
        "memory_bytes": 150_000_000_000,
        "driver_version": "580.65",
        "max_sm_clock_mhz": 1980,
        "power_limit_watts": 500.0,
        "default_power_limit_watts": 700.0,
        "temperature_celsius": 41,
        "clocks_set_by_user": False,
        "clocks_limited_by_power": False,
        "clocks_limited_by_heat": True,
    },
    "notes": ["the power limit was lowered"],
}


def whole_result() -> Result:
    """Make the result: six rounds of one batch of one image, and every other pass."""
    return Result(
        status="ok",
        config=_config(),
        choices={"model": "mask_rcnn_r50_torchvision", "dataset": "coco", "protocol": "default"},
        published={"mask_ap": 34.6, "dataset": "coco", "source": "the library's model zoo"},
        machine=MACHINE,
        model=ModelInfo(["person", "car"], "zoo", "bf2d0c1e" * 8, 44_401_393),
        finetune=_training(),
        compiled=CompileResult("default", ["backbone"], 12.5, 2, 0),
        speed=_speed(),
        memory=MemoryResult(
            177_605_572,
            222_000,
            812_000_000,
            1_024_000_000,
            1_640_000_000,
            "nvml_process",
            3_210_000_000,
            "process_peak",
        ),
        energy=EnergyResult(500.0, 100, 10.0),
        flops=FlopsResult(134.4e9, 1e9, 2, [133_400_000_000, 135_400_000_000], "net-coco-cuda_0-fp32-b1-12345678"),
        accuracy=_accuracy(),
        started="2026-11-22T13:00:00+00:00",
        seconds=63.2,
        notes=["the box head is small"],
        contents={"dataset": "dd" * 32, "weights": "bf2d0c1e" * 8},
        measurement_version=2,
    )


def _config() -> dict[str, Any]:
    config = BenchConfig()
    config.model.name, config.model.family = "mask_rcnn_r50_torchvision", "Mask R-CNN"
    config.model.backbone, config.model.library = "R50-FPN", "torchvision"
    config.model._target_, config.model.weights = "adapters.torchvision.MaskRcnn", "zoo"
    config.model.expected = {"coco": ExpectedConfig(34.6, 1.0)}
    config.model.options = {"min_size": 800, "roi": {"pool": "align"}}
    config.dataset.name, config.dataset.limit, config.dataset.shapes = "coco", 50, ShapesConfig()
    config.dataset.aliases = {"motorbike": "motorcycle"}
    config.finetune, config.gate = FinetuneConfig(), GateConfig(thresholds={"fps_model": "-3%"})
    config.claims = [
        ClaimConfig("it is faster", "a paper", "mask_rcnn_r50_torchvision", "solov2", "fps_model", None, 2.0)
    ]
    config.device, config.detections = "cuda:0", "thresholded"
    return dataclasses.asdict(config)


def _speed() -> SpeedResult:
    gpu = GpuReadings([1980, None], [2619, 2619], [41, 42], [310.5, None], {"power": 1}, 0, False)
    started = "2026-11-22T13:00:10+00:00"
    model_ms = [20.0, 30.0, 21.0, 29.0, 20.5, 30.5]
    host_ms = [10.0 + ms for ms in model_ms]
    return SpeedResult(
        batch_size=1,
        rounds=[SpeedRound(1, 812.5, [60.0, 50.0, 50.0], True, started, gpu) for _ in range(6)],
        model=Timing(model_ms, "cuda_event", [ms + 0.25 for ms in model_ms]),
        end_to_end=Timing(host_ms, "perf_counter"),
        preprocess=Timing([4.0] * 6, "perf_counter"),
        network=Timing([17.0] * 6, "cuda_event", [17.5] * 6),
        postprocess=Timing([3.0] * 6, "cuda_event", [3.5] * 6),
        detections_per_image=[10, 20, 6, 10, 20, 6],
        image_sizes=[[427, 640], [640, 480]] * 3,
        input_sizes=[[800, 1216], [1088, 800]] * 3,
    )


def _accuracy() -> AccuracyResult:
    return AccuracyResult(
        "hotcoco",
        "1.3.0",
        images_evaluated=50,
        images_in_dataset=50,
        detections=812,
        overlap="keep",
        predictions="predictions.json",
        figures=dict.fromkeys(COCO_FIGURES, 0.346),
        per_class={"person": 0.5, "car": 0.192, "hair drier": None},
        confidence_interval=[0.331, 0.361],
        bootstrap=BootstrapResult(0, "ee" * 32, [0.34, 0.35, 0.346, 0.348], [0.24, 0.25, 0.246, 0.248]),
        boundary_figures=dict.fromkeys(BOUNDARY_FIGURES, 0.246),
        overlap_mask_ap={"keep": 0.346, "highest_score": 0.341},
        errors=dict.fromkeys(TIDE_ERRORS, 0.02),
        calibration=Calibration(
            0.125, [0.0, 0.25, 0.5, 0.75, 1.0], [None, 0.4, 0.6, 0.9], [None, 0.3, 0.5, 0.85], [0, 5, 20, 100]
        ),
        worst_images={"missed": [ImageFaults(1, 3, 0, 0.7)], "false": [ImageFaults(2, 0, 4, None)], "masks": []},
        seconds=12.5,
    )


def _training() -> FinetuneResult:
    return FinetuneResult(
        "published weights of the library",
        iterations=80,
        epochs=2.5,
        train_images=256,
        dataset_sha256="c0ffee",
        reinitialised=["head.weight", "head.bias"],
        curve=[
            {"iteration": 20, "learning_rate": 1e-4, "total": 3.0},
            {"iteration": 40, "learning_rate": 1e-5, "total": 2.0},
        ],
        evaluations=[
            {"iteration": 40, "mask_ap": None, "mask_ap50": None},
            {"iteration": 80, "mask_ap": 0.3, "mask_ap50": 0.5},
        ],
        best_iteration=80,
        checkpoint="last.safetensors",
        images_per_second=10.5,
        seconds=1500.0,
    )
