"""The adapter gives what the library itself gives, and keeps the promises of its interface."""

import numpy as np
import torch
from mask_rcnn_v2 import MaskRCNNv2

from bench.predictor import Settings, predict, validate_batch

SIZES = [(120, 160), (150, 100)]


def test_same_instances_as_the_library() -> None:
    torch.manual_seed(0)
    settings = Settings(torch.device("cpu"), classes=("cat", "dog"), score_threshold=0.0, max_detections=20)
    predictor = MaskRCNNv2(settings, min_size=96, max_size=128)
    images = [np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    given = predict(predictor, images)
    validate_batch(predictor, given, SIZES, settings.max_detections)
    with torch.inference_mode():
        expected = predictor.module([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images])
    for ours, theirs in zip(given, expected, strict=True):
        assert len(ours) == 20
        assert torch.equal(ours.labels, theirs["labels"] - 1)
        # The library normalises before it resizes: the same but for rounding.
        torch.testing.assert_close(ours.scores, theirs["scores"], rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.boxes, theirs["boxes"], rtol=0, atol=1e-2)
        assert (ours.masks != (theirs["masks"][:, 0] > 0.5)).float().mean() < 1e-4
