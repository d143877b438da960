"""Test that one input size means the same in every library, for wide, tall and long images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.dataset import Category, CocoDataset
from bench.errors import UserError
from bench.jobs.worker.load_model import build_predictor
from bench.predictor import Predictor
from run_bench import compose

MODELS = {
    "demo_mask_rcnn_torchvision": "torchvision",
    "demo_mask_rcnn_mmdet": "mmdet",
    "demo_solov2_mmdet": "mmdet",
    "demo_mask2former_transformers": "transformers",
    "demo_mask_rcnn_detectron2": "detectron2",
    "demo_point_rend_detectron2": "detectron2",
}
SIZES = {(480, 640): (96, 128), (640, 480): (128, 96), (200, 1000): (32, 160)}
"""Height and width of an image, and what 96x160 makes of it: 96/480 = 0.2 of it, 160/1000 = 0.16 of the long one."""


@pytest.mark.parametrize("model", MODELS)
def test_the_same_input_in_every_library(model: str) -> None:
    pytest.importorskip(MODELS[model], reason=f"{MODELS[model]} is not installed")
    [job] = compose([f"model={model}", "model.weights=random", "input_size=96x160"])
    dataset = CocoDataset("d", Path("none"), (), 0, (Category(1, "thing"),), [], "")
    predictor = build_predictor(job.config, dataset, torch.device("cpu"), None)
    assert isinstance(predictor, Predictor)
    for size, expected in SIZES.items():
        batch = predictor.preprocess([np.zeros((*size, 3), np.uint8)])
        assert predictor.input_size(batch) == expected
    assert predictor.training_edges() == (96, 160)


def test_mmdet_pipelines_with_one_size() -> None:
    """RTMDet's fixed padded size follows the input size; YOLACT stretches images, so it takes only a square."""
    pytest.importorskip("mmdet", reason="mmdet is not installed")
    from adapters.mmdet.config import ready_config
    from bench.predictor import Settings

    def pipeline(config: str, scale: tuple[int, int]) -> dict[str, dict[str, object]]:
        steps = ready_config(Settings(torch.device("cpu"), config=config), scale, {}).pipeline
        return {step["type"]: step for step in steps}

    rtmdet = pipeline("rtmdet-ins_tiny_8xb32-300e_coco", (500, 400))
    assert (rtmdet["Resize"]["scale"], rtmdet["Pad"]["size"]) == ((500, 400), (512, 512))
    assert pipeline("yolact_r50_1xb8-55e_coco", (512, 512))["Resize"]["scale"] == (512, 512)
    with pytest.raises(UserError, match=r"stretches every image to one size.* not 400x500; give 500x500"):
        pipeline("yolact_r50_1xb8-55e_coco", (500, 400))
