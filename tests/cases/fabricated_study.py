"""The results of a study of any size, fabricated in seconds: a report and a status of many rows are measured on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from whole_result import whole_result

from bench.schema.parts.speed import SpeedRound, Timing
from bench.schema.result import Result

ROUNDS = 3

_SETTINGS = tuple(
    itertools.product(("fp32", "tf32", "fp16", "bf16"), (1, 2, 4, 8, 16), ("480x640", "640x853", "800x1333"))
)
"""Precision, batch size and input size of each model's rows, in their order."""


def write_study(
    folder: Path, rows: int, *, models: int = 250, batches: int = 60, replicates: int = 1000, failed: int = 97
) -> Path:
    """Write a run of so many rows, each with every part that a job can measure, without predictions; give ``folder``.

    models: how many models there are; a model's rows differ in their setting, so rows of one setting are comparable
    batches: timed in each row, in :data:`ROUNDS` rounds; a multiple of them
    replicates: of the bootstrap in each row, as many as a real row has
    failed: every so manieth row has crashed and has measured nothing; 0 for none
    """
    rng = np.random.default_rng(0)
    for number in range(rows):
        result = _result(number, models, batches, replicates, rng)
        if failed and number % failed == failed - 1:
            result = Result("crashed", result.config, "the worker was killed by SIGSEGV", choices=result.choices)
        place = folder / "jobs" / f"job-{number:05}" / "result.json"
        place.parent.mkdir(parents=True)
        place.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return folder


def _result(number: int, models: int, batches: int, replicates: int, rng: np.random.Generator) -> Result:
    result, model = whole_result(), number % models
    precision, batch_size, input_size = _SETTINGS[number // models % len(_SETTINGS)]
    assert result.model is not None
    result.config["model"] |= {"name": f"family{model}", "family": f"Family {model}", "backbone": f"R{18 + model % 90}"}
    result.config["model"]["library"] = ("torchvision", "mmdet", "transformers")[model % 3]
    result.config |= {"precision": precision, "batch_size": batch_size, "input_size": input_size, "finetune": None}
    result.config |= {"claims": [], "gate": None}
    result.config["protocol"]["seed"] = number // models // len(_SETTINGS)
    result.finetune = result.compiled = None
    _time(result, batch_size, batches, 5 + 0.2 * model, rng)
    _rate(result, 0.1 + 0.4 * model / models, replicates, rng)
    return result


def _time(result: Result, batch_size: int, batches: int, model_ms: float, rng: np.random.Generator) -> None:
    speed = result.speed
    assert speed is not None

    def samples(ms: float) -> list[float]:
        return rng.lognormal(np.log(ms), 0.05, batches).tolist()

    def timing(ms: float, clock: str = "cuda_event") -> Timing:
        return Timing(samples(ms), clock, samples(ms) if clock == "cuda_event" else None)

    each = batches // ROUNDS
    speed.batch_size = batch_size
    speed.rounds = [SpeedRound(each, 800.0, samples(60)[:3], True, part.started, part.gpu) for part in speed.rounds[:3]]
    speed.rounds = [speed.rounds[0]] * ROUNDS
    speed.model, speed.network, speed.postprocess = timing(model_ms), timing(0.8 * model_ms), timing(0.2 * model_ms)
    speed.end_to_end, speed.preprocess = timing(model_ms + 10, "perf_counter"), timing(4, "perf_counter")
    speed.decode, speed.encode = timing(3, "perf_counter"), timing(3, "perf_counter")
    speed.detections_per_image = rng.integers(1, 100, batches * batch_size).tolist()
    speed.image_sizes = rng.integers(400, 640, (batches * batch_size, 2)).tolist()
    speed.input_sizes = rng.integers(800, 1333, (batches, 2)).tolist()


def _rate(result: Result, mask_ap: float, replicates: int, rng: np.random.Generator) -> None:
    accuracy = result.accuracy
    assert accuracy is not None
    assert accuracy.figures is not None
    assert accuracy.bootstrap is not None
    mask_ap += rng.normal(0, 0.002)
    # Images that are hard for one model are hard for all: a part of the scatter is common to all rows.
    common = np.random.default_rng(1).normal(0, 0.006, replicates)
    values = mask_ap + common + rng.normal(0, 0.003, replicates)
    accuracy.figures["mask_ap"] = mask_ap
    accuracy.overlap_mask_ap = {"keep": mask_ap, "highest_score": mask_ap - 0.005}
    accuracy.per_class = {"person": 1.2 * mask_ap, "car": 0.8 * mask_ap, "hair drier": None}
    accuracy.confidence_interval = [mask_ap - 0.015, mask_ap + 0.015]
    accuracy.bootstrap.mask_ap, accuracy.bootstrap.boundary_ap = values.tolist(), (values - 0.05).tolist()
    assert accuracy.boundary_figures is not None
    accuracy.boundary_figures["boundary_ap"] = mask_ap - 0.05


def folders(study: Path) -> Iterator[Path]:
    """Give the folders of a study's jobs in their order."""
    yield from sorted((study / "jobs").iterdir())
