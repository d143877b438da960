"""Test that padding every input to one shape changes the shape, as a batch of other sizes does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.dataset import load
from bench.data.images import read_images
from bench.jobs.worker.load_model import build_predictor
from bench.passes.compiled import batches_by_shape
from bench.predictor import Predictor, predict
from bench.schema.config import BenchConfig
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
MODELS = {
    "demo_mask_rcnn_torchvision": "torchvision",
    "demo_mask_rcnn_mmdet": "mmdet",
    "demo_solov2_mmdet": "mmdet",
    "demo_point_rend_mmdet": "mmdet",
    "demo_mask2former_mmdet": "mmdet",
    "demo_mask2former_transformers": "transformers",
    "demo_mask_rcnn_detectron2": "detectron2",
}


def predictor_of(config: BenchConfig, pad_to: bool) -> Predictor:
    config = dataclasses.replace(config, protocol=dataclasses.replace(config.protocol, pad_to=pad_to))
    weights = str(ROOT / config.model.weights)
    predictor = build_predictor(config, load(config.dataset), torch.device("cpu"), weights)
    assert isinstance(predictor, Predictor)
    return predictor


@pytest.mark.parametrize("model", MODELS)
def test_padding_is_that_of_the_librarys_own_batches(model: str) -> None:
    """Libraries pad the images of a batch to the largest height and width in it."""
    pytest.importorskip(MODELS[model], reason=f"{MODELS[model]} is not installed")
    command = [f"model={model}", "study=demo", "device=cpu", "input_size=128x192", "detections=thresholded"]
    config = compose(command)[0].config
    plain, padded = predictor_of(config, pad_to=False), predictor_of(config, pad_to=True)
    images = load(config.dataset).images
    assert list(batches_by_shape(padded, images, 1)) == [(192, 192)]
    assert (192, 192) not in batches_by_shape(plain, images, 1)
    for image in read_images(images[:2]):
        wide, tall = (np.asarray(Image.fromarray(image).resize(size)) for size in ((192, 128), (128, 192)))
        expected, actual = predict(plain, [image, wide, tall])[0], predict(padded, [image])[0]
        assert (expected.scores > 0.5).any()
        assert actual.masks.shape[1:] == image.shape[:2]
        torch.testing.assert_close(actual.scores, expected.scores, atol=1e-4, rtol=0)
        torch.testing.assert_close(actual.boxes, expected.boxes, atol=0.05, rtol=0)
        assert (actual.masks != expected.masks).float().mean() < 1e-4
