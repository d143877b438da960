"""Compare the ``model`` boundary with the libraries' own ways to time a model: same weights and images, interleaved.

A CPU runs the demo models and counts the processor time of one thread, since the machine may have other work; a GPU
runs full-size ones and counts the device's time. Untrained models have 100 detections an image. Each test records the
ratio as a property (``their_time_over_ours``) for ``--junitxml``, with both sides under ``torch.inference_mode``; where
the library's own loop runs under ``torch.no_grad``, the ratio of that is another property. On a GPU each side's kernels
and copies, the time of each, and the bytes of images that it sends are properties too. docs/measuring.md says what each
library times.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from counted_operators import BytesToDevice

from bench.data.dataset import load
from bench.data.images import read_images
from bench.device.clock import Clock, MaskFunctionTimer
from bench.jobs.worker.load_model import build_predictor
from bench.passes.runner import Runner
from bench.predictor import TorchPredictor
from bench.schema.config import BenchConfig
from run_bench import compose

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
DEVICE = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
WITHIN = 0.02
BOUND = WITHIN if DEVICE.type == "cuda" else 0.05
"""The ratio that is wanted, and that at which a test fails: the cost of the libraries' Python varies by processor."""
Agree = Callable[["Sides"], None]
MODES = (torch.inference_mode, torch.no_grad)
"""Ours, and that of the loops of mmdet's and detectron2's own tools."""
PAIRS = 40
SECONDS = 30.0


class ProcessorClock(Clock):
    """A clock of this process's processor time, which leaves out what other processes take."""

    def time_on_host(self, call: Callable[[], T]) -> tuple[T, float]:
        began = time.process_time_ns()
        value = call()
        return value, (time.process_time_ns() - began) / 1e6


CLOCK = ProcessorClock(DEVICE) if DEVICE.type == "cpu" else Clock(DEVICE)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: threads that wait for one another take processor time, the more the busier the machine is."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def predictor_of(library: str) -> tuple[TorchPredictor, BenchConfig, list[np.ndarray]]:
    """Give the demo Mask R-CNN, with trained weights if it has them, or the full-size one, and its images."""
    name = f"demo_mask_rcnn_{library}" if DEVICE.type == "cpu" else f"mask_rcnn_r50_{library}"
    config = compose([f"model={name}", f"device={DEVICE}", "dataset=shapes"])[0].config
    dataset = load(config.dataset)
    weights = None if config.model.weights == "random" else str(ROOT / config.model.weights)
    predictor = build_predictor(config, dataset, DEVICE, weights)
    assert isinstance(predictor, TorchPredictor)
    return predictor, config, read_images(dataset.images[:10])


@dataclass
class Sides:
    """One way to time a model for each side, image by image; each call gives its milliseconds.

    own_loop: theirs as the library's own loop runs it, where that is not under ``torch.inference_mode``
    """

    ours: Sequence[Callable[[], float]]
    theirs: Sequence[Callable[[], float]]
    own_loop: Sequence[Callable[[], float]] = ()


@pytest.fixture
def agree(record_property: Callable[[str, object], None]) -> Agree:
    """A function that compares the two, records their ratio, and fails where it is out of bounds."""

    def compare(sides: Sides) -> None:
        ratio = agreement(sides.ours, sides.theirs)
        record_property("their_time_over_ours", round(ratio, 4))
        record_property("device", torch.cuda.get_device_name(DEVICE) if DEVICE.type == "cuda" else "cpu")
        if sides.own_loop:
            record_property("their_own_loop_over_ours", round(agreement(sides.ours, sides.own_loop), 4))
        for side, calls in (("ours", sides.ours), ("theirs", sides.theirs)):
            for name, value in (sent(calls) | on_device(calls)).items():
                record_property(f"{side}_{name}", value)
        assert ratio == pytest.approx(1, abs=BOUND)

    return compare


def sent(calls: Sequence[Callable[[], float]]) -> dict[str, float]:
    """Give the bytes of images that one call sends to the device, the mean over the calls."""
    with BytesToDevice() as counted:
        for call in calls:
            call()
    return {"image_bytes_sent": counted.images // len(calls)}


def on_device(calls: Sequence[Callable[[], float]]) -> dict[str, float]:
    """Give what one call does on the GPU by torch's profiler, the mean over the calls: counts and milliseconds.

    Nothing where the profiler sees no kernel, as on a CPU or without CUPTI. What torchvision's own resize does is in
    its figures.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for call in calls:
            call()
    seen = [event for event in profiled.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    # torch.cuda.synchronize, which our clock calls, has another name.
    waits = [event for event in profiled.events() if event.name == "cudaStreamSynchronize"]
    copies = [event for event in seen if event.name.startswith("Memcpy HtoD")]
    if not seen:
        return {}
    figures = {
        "kernels_and_copies": len(seen),
        "gpu_ms": sum(event.time_range.elapsed_us() for event in seen) / 1e3,
        "copies_to_device_ms": sum(event.time_range.elapsed_us() for event in copies) / 1e3,
        "synchronisations": len(waits),
    }
    return {name: round(value / len(calls), 3) for name, value in figures.items()}


def agreement(ours: Sequence[Callable[[], float]], theirs: Sequence[Callable[[], float]]) -> float:
    """Give their time over ours: the median over pairs of calls on one image; the first of a pair alternates.

    Shared caches scatter the ratio by more than 2 %, so pairs are added until it is within the bounds or the time is
    over; a real difference does not go away with more pairs.
    """
    for call in (*ours[:2], *theirs[:2]):
        call()
    ratios: list[float] = []
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for one, other in zip(ours, theirs, strict=True):
            if len(ratios) % 2:
                own, their = one(), other()
            else:
                their, own = other(), one()
            ratios.append(their / own)
        if len(ratios) >= PAIRS and abs(statistics.median(ratios) - 1) <= WITHIN:
            break
    return statistics.median(ratios)


def timed(call: Callable[[], Any]) -> float:
    return CLOCK.time(call)[1]


def test_torchvision_model_of_images_minus_its_resize(agree: Agree) -> None:
    """torchvision's references time ``model(images)``; its resize is left out, since ours is in ``preprocess``."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    predictor, config, images = predictor_of("torchvision")
    runner = Runner(predictor, DEVICE, config.precision)
    resize = ("torchvision.models.detection.transform:GeneralizedRCNNTransform.resize",)

    def library(pixels: torch.Tensor) -> float:
        with torch.inference_mode(), MaskFunctionTimer(resize, CLOCK) as inside:
            return timed(lambda: predictor.module([pixels.to(DEVICE)])) - inside.spent_ms

    ours = [functools.partial(timed, functools.partial(runner.model, runner.preprocess([i]))) for i in images]
    pixels = [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images]
    agree(Sides(ours, [functools.partial(library, image) for image in pixels]))


def test_mmdet_inference_benchmark(agree: Agree) -> None:
    """``mmdet.utils.benchmark.InferenceBenchmark`` times ``test_step`` on a collated image."""
    pytest.importorskip("mmdet", reason="mmdet is not installed")
    from mmcv.transforms import Compose
    from mmdet.apis import init_detector
    from mmdet.utils import get_test_pipeline_cfg

    predictor, config, images = predictor_of("mmdet")
    runner = Runner(predictor, DEVICE, config.precision)
    detector = init_detector(predictor.config, None, palette="random", device=str(DEVICE))  # type: ignore[attr-defined]
    detector.load_state_dict(predictor.module.state_dict())
    steps = get_test_pipeline_cfg(predictor.config.copy())  # type: ignore[attr-defined]
    steps[0].type = "LoadImageFromNDArray"
    pipeline = Compose(steps)

    def library(data: dict[str, Any], mode: Callable[[], Any]) -> float:
        with mode():
            return timed(lambda: detector.test_step(data))

    packed = [pipeline({"img": np.ascontiguousarray(image[..., ::-1]), "img_id": 0}) for image in images]
    data = [{key: [p[key]] for key in ("inputs", "data_samples")} for p in packed]
    ours = [functools.partial(timed, functools.partial(runner.model, runner.preprocess([i]))) for i in images]
    theirs, own_loop = ([functools.partial(library, d, mode) for d in data] for mode in MODES)
    agree(Sides(ours, theirs, own_loop))


def test_detectron2_pure_compute(agree: Agree) -> None:
    """``detectron2.evaluation.inference_on_dataset`` counts ``model(inputs)`` and a synchronisation as "pure compute".

    The inputs are made as ``DefaultPredictor`` makes them.
    """
    pytest.importorskip("detectron2", reason="detectron2 is not installed: docs/install.md says how")
    predictor, config, images = predictor_of("detectron2")
    runner = Runner(predictor, DEVICE, config.precision)
    detector = predictor.module
    assert detector is not None

    def inputs(image: np.ndarray) -> list[dict[str, Any]]:
        bgr = image[:, :, ::-1]
        resized = predictor.resize.get_transform(bgr).apply_image(bgr)  # type: ignore[attr-defined]
        pixels = torch.as_tensor(np.ascontiguousarray(resized.transpose(2, 0, 1)))
        return [{"image": pixels, "height": image.shape[0], "width": image.shape[1]}]

    def library(batch: list[dict[str, Any]], mode: Callable[[], Any]) -> float:
        with mode():
            return timed(lambda: detector(batch))

    ours = [functools.partial(timed, functools.partial(runner.model, runner.preprocess([i]))) for i in images]
    theirs, own_loop = ([functools.partial(library, inputs(image), mode) for image in images] for mode in MODES)
    agree(Sides(ours, theirs, own_loop))
