"""Compare training through the transformers adapter with ``model(..., mask_labels, class_labels).loss``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coloured_scenes import scene
from omegaconf import OmegaConf

from bench.predictor import Settings, predict

pytest.importorskip("transformers", reason="transformers is not installed")

from adapters.transformers.predictor import Mask2FormerPredictor

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("square", "bar", "corner")
DEMO: dict[str, Any] = OmegaConf.to_container(
    OmegaConf.load(ROOT / "configs" / "model" / "demo_mask2former_transformers.yaml").options
)
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


SCENES = [scene(96, 160, (0, 1, 2), 10), scene(110, 90, (2, 0), 10)]
IMAGES, TARGETS = [image for image, _ in SCENES], [target for _, target in SCENES]


def seeded() -> Mask2FormerPredictor:
    torch.manual_seed(0)
    predictor = Mask2FormerPredictor(Settings(torch.device("cpu"), classes=CLASSES), **DEMO)
    predictor.module.train()
    return predictor


def test_losses_equal_the_library() -> None:
    """Images and masks are padded to 128 x 160 by hand; drop path and points have the same seed."""
    predictor = seeded()
    pixel_values, pixel_mask = torch.zeros(2, 3, 128, 160), torch.zeros(2, 128, 160, dtype=torch.int64)
    mask_labels = [torch.zeros(len(target), 128, 160) for target in TARGETS]
    for index, (image, target) in enumerate(SCENES):
        height, width = image.shape[:2]
        pixels = torch.from_numpy(image).permute(2, 0, 1) / 255
        pixel_values[index, :, :height, :width] = (pixels - MEAN) / STD
        pixel_mask[index, :height, :width] = 1
        mask_labels[index][:, :height, :width] = target.masks.float()
    class_labels = [target.labels for target in TARGETS]
    torch.manual_seed(1)
    theirs = predictor.module(
        pixel_values=pixel_values, pixel_mask=pixel_mask, mask_labels=mask_labels, class_labels=class_labels
    ).loss
    torch.manual_seed(1)
    ours = predictor.training_step(IMAGES, TARGETS)
    assert set(ours) == {"class", "mask", "dice"}
    assert all(loss.shape == () and loss.item() > 0 for loss in ours.values())
    assert sum(ours.values()).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_class_loss_of_equal_logits_is_its_closed_form() -> None:
    """With all class logits equal, the cross entropy is log(classes + 1) in each of the decoder's 4 predictions."""
    predictor = seeded()
    torch.nn.init.zeros_(predictor.module.class_predictor.weight)
    torch.nn.init.zeros_(predictor.module.class_predictor.bias)
    losses = predictor.training_step(IMAGES, TARGETS)
    assert losses["class"].item() == pytest.approx(4 * 2.0 * np.log(4), rel=1e-5)


def test_gradients_reach_every_parameter_that_is_used() -> None:
    predictor = seeded()
    sum(predictor.training_step(IMAGES, TARGETS).values()).backward()
    prefix = predictor.backbone_prefix
    backbone = {p.data_ptr() for p in predictor.module.model.pixel_level_module.encoder.parameters()}
    for name, parameter in predictor.module.named_parameters():
        assert name.startswith(prefix) == (parameter.data_ptr() in backbone)
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_ten_steps_lower_the_sum_and_the_model_still_predicts() -> None:
    predictor = seeded()
    optimizer = torch.optim.AdamW(predictor.module.parameters(), lr=1e-3)
    sums = []
    for _ in range(10):
        loss = sum(predictor.training_step(IMAGES[:1], TARGETS[:1]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums.append(loss.item())
    assert sum(sums[-3:]) < 0.8 * sum(sums[:3])
    predictor.module.eval()
    (instances,) = predict(predictor, IMAGES[:1])
    instances.validate(*IMAGES[0].shape[:2], num_classes=3, max_detections=100)


def test_bfloat16_autocast_gives_nearly_the_same_losses() -> None:
    predictor = seeded()
    torch.manual_seed(1)
    exact = predictor.training_step(IMAGES, TARGETS)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor.training_step(IMAGES, TARGETS)
    sum(rounded.values()).backward()
    for name, loss in rounded.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.1), name


def test_training_edges_are_those_of_the_test_resize() -> None:
    assert seeded().training_edges() == (288, 384)
