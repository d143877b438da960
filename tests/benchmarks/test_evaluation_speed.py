"""Compare the accuracy pass with the ``model`` boundary on the same images, and with the libraries' own evaluations.

Model, weights and images are the same, the ways are interleaved, and each gives the same mask AP. A CPU runs the demo
models, a GPU full-size ones (untrained, 100 detections an image), on COCO's photographs where they lie beside the
checkout. Our pass does more than the others: it resamples the images 1,000 times, removes overlaps, and gives Boundary
AP, types of errors and calibration.

On a CPU processor time is compared, with one torch thread, since other work may share the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contexts import context_of
from library_evaluation import (
    detectron2_inference_on_dataset,
    mmdet_test_loop,
    torchvision_reference_evaluate,
)

from bench.data.classes import match_labels
from bench.data.dataset import CocoDataset, load
from bench.data.images import read_images
from bench.jobs.worker.load_model import build_predictor
from bench.passes.accuracy import PASS
from bench.passes.runner import Runner
from bench.predictor import Predictor
from bench.schema.config import BenchConfig
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = ROOT / ".." / "shared" / "data" / "coco_val_cc"
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda:0" if CUDA else "cpu")
IMAGES = 50 if CUDA else 20
ROUNDS = 3 if CUDA else 2
WORKERS = 4 if CUDA else 0
"""How many processes load images for the libraries' loops; on a CPU none, since they would take the model's cores."""

MOST_OVER_MODEL = 1.10 if CUDA else 1.35
"""The most that (accuracy pass) / (``model`` boundary) may be. On a CPU 1.25 is wanted, and a loaded machine scatters
by as much as the rest."""
LEAST_FASTER = 2.0 if CUDA else 0.75
"""The least that (their evaluation) / (accuracy pass) may be. On a CPU the network takes nearly all of both."""


@dataclass
class Subject:
    """One model on one dataset, for our pass and for the library's own loop."""

    name: str
    predictor: Any
    dataset: CocoDataset
    labels: list[int | str | None]
    config: BenchConfig


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    if not CUDA:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def subject(library: str) -> Subject:
    name = f"mask_rcnn_r50_{library}" if CUDA else f"demo_mask_rcnn_{library}"
    arguments = [f"model={name}", f"device={DEVICE}", "dataset=shapes"]
    if not CUDA:
        arguments.append("detections=thresholded")
    elif PHOTOGRAPHS.exists():
        folder = [f"dataset.images={PHOTOGRAPHS / 'images'}", f"dataset.annotations={PHOTOGRAPHS / 'instances.json'}"]
        arguments[-1:] = ["dataset=coco", *folder]
    config = compose(arguments)[0].config
    weights = None if config.model.weights == "random" else str(ROOT / config.model.weights)
    if weights is None and not CUDA:
        pytest.skip(f"{name} has no trained weights yet")
    dataset = load(config.dataset).first(IMAGES)
    predictor = build_predictor(config, dataset, DEVICE, weights)
    assert isinstance(predictor, Predictor)
    config.model.weights = weights or "untrained"  # so that the pass evaluates what it finds
    return Subject(name, predictor, dataset, match_labels(dataset, predictor.classes, {}), config)


def seconds(call: Callable[[], Any]) -> float:
    """Give the time of a call: processor time on a CPU, wall time with a GPU."""
    clock = time.perf_counter if CUDA else time.process_time
    start = clock()
    call()
    if CUDA:
        torch.cuda.synchronize(DEVICE)
    return clock() - start


def fastest_of(ways: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Call each way ``ROUNDS`` times, interleaved, and give the seconds of the fastest call of each."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, call in ways.items():
            times[way].append(seconds(call))
    return {way: min(values) for way, values in times.items()}


def compare(
    subject: Subject,
    theirs: Callable[[Subject], float],
    folder: Path,
    record: Callable[[str, object], None],
) -> None:
    """Time the three ways interleaved, compare the fastest call of each with the bounds, and compare the mask APs.

    ``theirs`` gives the mask AP of the library's own evaluation.
    """
    runner = Runner(subject.predictor, DEVICE, subject.config.precision)
    batches = [runner.preprocess(read_images([image])) for image in subject.dataset.images]
    for batch in batches[:3]:
        runner.model(batch)
    mask_aps: dict[str, float] = {}

    def network() -> None:
        for batch in batches:
            runner.model(batch)

    def ours() -> None:
        context = context_of(subject.predictor, subject.dataset, subject.config, labels=subject.labels, folder=folder)
        result = PASS.measure(replace(context, device=DEVICE))
        assert result.figures is not None
        mask_aps["ours"] = result.figures["mask_ap"] or 0.0

    def library() -> None:
        mask_aps["theirs"] = theirs(subject)

    ways = {"model": network, "ours": ours, "theirs": library}
    fastest = fastest_of(ways)
    over_model, faster = fastest["ours"] / fastest["model"], fastest["theirs"] / fastest["ours"]
    for key, value in {**fastest, "over_model": over_model, "faster": faster, "images": len(batches)}.items():
        record(key, round(value, 3))
    print(f"{subject.name}: {over_model:.2f} of the model boundary's time, {faster:.2f} times as fast as the library's")
    assert mask_aps["ours"] == pytest.approx(mask_aps["theirs"], abs=0.0005)
    assert CUDA or mask_aps["ours"] > 0.1
    assert over_model <= MOST_OVER_MODEL
    assert faster >= LEAST_FASTER


def test_torchvision_reference(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")

    def theirs(subject: Subject) -> float:
        predictor = subject.predictor
        contiguous = predictor.labels.tolist()
        category_of = {label: subject.labels[own] for label, own in enumerate(contiguous) if own >= 0}
        evaluation = torchvision_reference_evaluate(predictor.module, subject.dataset, category_of, DEVICE, WORKERS)
        return max(float(evaluation.stats[0]), 0.0)

    compare(subject("torchvision"), theirs, tmp_path, record_property)


def test_mmdet_test_loop(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("mmdet", reason="mmdet is not installed")

    def theirs(subject: Subject) -> float:
        predictor = subject.predictor
        figures = mmdet_test_loop(predictor.config, predictor.module, subject.dataset, tmp_path, WORKERS)
        return max(figures["coco/segm_mAP"], 0.0)

    compare(subject("mmdet"), theirs, tmp_path, record_property)


def test_detectron2_inference_on_dataset(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("detectron2", reason="detectron2 is not installed: docs/install.md says how")

    def theirs(subject: Subject) -> float:
        figures = detectron2_inference_on_dataset(subject.predictor, subject.dataset, tmp_path, WORKERS)
        return max(figures["AP"] / 100, 0.0)

    compare(subject("detectron2"), theirs, tmp_path, record_property)
