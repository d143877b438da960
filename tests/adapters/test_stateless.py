"""Tests what ``stateless_preprocess`` promises, for every adapter that says so.

``preprocess`` of several batches runs out of order, in other threads, while the model works on other batches; a batch
runs twice; and the masks of earlier batches are looked at last.
"""

from __future__ import annotations

import importlib
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.jobs.worker.load_model import build_predictor
from bench.predictor import Instances, Predictor
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
DEMOS = {path.stem: path.stem.rpartition("_")[2] for path in sorted((ROOT / "configs" / "model").glob("demo_*.yaml"))}
ONE_IMAGE = ("demo_mask_rcnn_onnx",)
"""Their files take batches of one image."""
CLASSES = ("circle", "square", "triangle", "star", "ring", "bar")


class _NoData:
    """Stands for the dataset, of which a predictor with a checkpoint takes nothing."""

    class_names = CLASSES


def demo(name: str) -> Predictor:
    """Give a demo model with its own weights, so that its instances mean something."""
    library = DEMOS[name]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    config = compose([f"model={name}", "study=none", "dataset=shapes", "device=cpu"])[0].config
    weights = ROOT / "weights" / Path(config.model.weights).name
    notes: list[str] = []
    no_data: Any = _NoData()
    predictor = build_predictor(config, no_data, CPU, str(weights) if weights.exists() else None, notes.append)
    assert isinstance(predictor, Predictor)
    assert notes == []
    return predictor


def scene(seed: int, height: int, width: int) -> np.ndarray:
    """Give an image with some bright rectangles, uint8 RGB (H, W, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
    for _ in range(4):
        top, left = rng.integers(0, height - 40), rng.integers(0, width - 40)
        pixels[top : top + 40, left : left + 40] = rng.integers(120, 255, 3, dtype=np.uint8)
    return pixels


BATCHES = [[scene(0, 180, 240)], [scene(1, 240, 180), scene(2, 200, 200)], [scene(3, 240, 180)]]


@pytest.mark.parametrize("name", DEMOS)
@torch.inference_mode()
def test_batches_may_be_prepared_out_of_order_in_other_threads(name: str) -> None:
    predictor = demo(name)
    assert predictor.stateless_preprocess
    batches = [images[:1] for images in BATCHES] if name in ONE_IMAGE else BATCHES
    expected = [predictor.postprocess(predictor.forward(predictor.preprocess(images))) for images in batches]
    expected = [[copied(instances) for instances in outputs] for outputs in expected]
    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(predictor.preprocess, images) for images in reversed(batches)]
        first = predictor.preprocess(batches[0])
        predictor.forward(first)  # while the other thread prepares
        prepared = [future.result() for future in reversed(waiting)]
    outputs = [predictor.postprocess(predictor.forward(batch)) for batch in prepared]
    again = [predictor.postprocess(predictor.forward(batch)) for batch in prepared]
    for given in (outputs, again):
        for ours, theirs in zip(given, expected, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert_equal(one, other)
    assert sum(len(instances) for outputs in expected for instances in outputs) > 0


def copied(instances: Instances) -> Instances:
    return Instances(*(getattr(instances, field).clone() for field in ("masks", "boxes", "scores", "labels")))


def assert_equal(one: Instances, other: Instances) -> None:
    for field in ("masks", "boxes", "scores", "labels"):
        assert torch.equal(getattr(one, field), getattr(other, field)), field


def test_every_adapter_of_a_library_says_so() -> None:
    said = {}
    for path in sorted((ROOT / "adapters").glob("*/predictor.py")):
        library = path.parent.name
        if importlib.util.find_spec(library) is None:
            continue
        module = importlib.import_module(f"adapters.{library}.predictor")
        classes = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
        said |= {cls.__name__: cls.stateless_preprocess for cls in classes if issubclass(cls, Predictor)}
    assert said
    assert all(said.values()), said
