"""Tests that NaN in a network's output fails the row, also where the library's own threshold drops such instances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_stateless import DEMOS, demo, scene

from bench.passes.runner import Runner
from bench.predictor import Settings, TorchPredictor

CPU = torch.device("cpu")
IMAGE = scene(0, 90, 120)


def poison(predictor: TorchPredictor) -> None:
    """Make a weight of the first convolution NaN."""
    with torch.no_grad():
        next(parameter for parameter in predictor.module.parameters() if parameter.ndim == 4).view(-1)[0] = torch.nan


def assert_fails_where_poisoned(predictor: TorchPredictor) -> None:
    runner = Runner(predictor, CPU, "fp32")
    batch = runner.preprocess([IMAGE])
    with runner.refusing_nan():
        runner.model(batch)
    poison(predictor)
    with (
        runner.refusing_nan(),
        pytest.raises(ValueError, match=rf"{type(predictor).__name__}\.module.*: its output holds NaN"),
    ):
        runner.model(batch)
    assert not predictor.module._forward_hooks


@pytest.mark.parametrize("name", [name for name in DEMOS if not name.endswith("onnx")])
def test_nan_of_a_demo(name: str) -> None:
    predictor = demo(name)
    assert isinstance(predictor, TorchPredictor)
    assert_fails_where_poisoned(predictor)


def test_nan_of_yolo() -> None:
    pytest.importorskip("ultralytics", reason="ultralytics is not installed")
    from adapters.ultralytics.predictor import UltralyticsPredictor

    settings = Settings(CPU, config="yolo11n-seg.yaml", classes=("a", "b"), score_threshold=0.0)
    assert_fails_where_poisoned(UltralyticsPredictor(settings, shorter_edge=64, longer_edge=64))


@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("way", ["by_mask_quality", "by_class_score", "by_best_class"])
def test_nan_scores_of_transformers_are_given_to_the_check(way: str, threshold: float) -> None:
    """One query of three has NaN; the comparison with the threshold dropped it, and the row was ok."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    from adapters.transformers import inference

    logits = torch.tensor([[[3.0, -1.0, -2.0], [torch.nan, 0.0, 0.0], [2.0, -1.0, -2.0]]])
    boxes = torch.full((1, 3, 4), 0.5)
    raw = inference.Raw(logits, torch.ones(1, 3, 8, 8), boxes, None, [(8, 8)], [(8, 8)])
    instances = getattr(inference, way)(raw, 0, 9, threshold)
    assert instances.scores.isnan().any()
    with pytest.raises(ValueError, match=r"Instances\.scores holds NaN"):
        instances.validate(8, 8, 3, 9, threshold)


def test_nan_scores_of_mmdet_are_given_to_the_check() -> None:
    pytest.importorskip("mmdet", reason="mmdet is not installed")
    pytest.importorskip("mmcv.ops", reason="mmcv has no compiled ops")
    from mmengine.structures import InstanceData

    from adapters.mmdet.predictor import MmdetPredictor

    predictor: Any = MmdetPredictor.__new__(MmdetPredictor)
    predictor.max_detections, predictor.score_threshold = 100, 0.3
    scores = torch.tensor([0.9, torch.nan])
    masks, boxes = torch.ones(2, 8, 8), torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 2)
    instances = predictor._instances(InstanceData(masks=masks, bboxes=boxes, scores=scores, labels=torch.zeros(2)))
    assert np.isnan(instances.scores.numpy()).tolist() == [False, True]
