"""Compare training RF-DETR through the transformers adapter with ``RfDetrForInstanceSegmentation``'s own loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from coloured_scenes import scene

from bench.predictor import Settings

pytest.importorskip("transformers", reason="transformers is not installed")

from narrow_transformers import SMALL

from adapters.transformers.rf_detr_training import _label

CLASSES = ("square", "bar", "corner")
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


SCENES = [scene(72, 96, (0, 1, 2), 6), scene(72, 60, (2, 0), 6)]
IMAGES, TARGETS = [image for image, _ in SCENES], [target for _, target in SCENES]


def seeded() -> Any:
    cls, options = SMALL["rf_detr"]
    network = {**options["network"], "dropout": 0.0, "class_loss_coefficient": 5.0}
    torch.manual_seed(0)
    predictor = cls(Settings(torch.device("cpu"), classes=CLASSES), **(options | {"network": network}))
    predictor.module.train()
    return predictor


def test_losses_equal_the_library() -> None:
    """The library gets the pixels at 96 x 96, boxes as shares of the image, and every weighted loss summed."""
    predictor = seeded()
    pixels = [
        torch.nn.functional.interpolate(
            torch.from_numpy(image).permute(2, 0, 1)[None], size=(96, 96), mode="bilinear", antialias=True
        )[0]
        for image in IMAGES
    ]
    labels = []
    for target in TARGETS:
        height, width = target.masks.shape[1:]
        rows, columns = (torch.arange(96) * edge // 96 for edge in (height, width))
        x1, y1, x2, y2 = target.boxes.unbind(1)
        boxes = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
        masks = target.masks[:, rows][:, :, columns].float()
        labels.append({"class_labels": target.labels, "boxes": torch.stack(boxes, 1), "masks": masks})
    torch.manual_seed(1)
    theirs = predictor.module(
        pixel_values=torch.stack([(image / 255 - MEAN) / STD for image in pixels]), labels=labels
    ).loss
    torch.manual_seed(1)
    ours = predictor.training_step(IMAGES, TARGETS)
    assert set(ours) == {"class", "box", "mask", "dice"}
    assert all(loss.shape == () and loss.item() > 0 for loss in ours.values())
    assert sum(ours.values()).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_mask_loss_of_equal_logits_is_its_closed_form() -> None:
    """With mask logits 0 the cross entropy is log 2 at every point, in the 2 decoder layers and the encoder."""
    predictor = seeded()
    for name in ("query_features_proj", "query_features_block.mlp.fc2"):
        for parameter in predictor.module.get_submodule(name).parameters():
            torch.nn.init.zeros_(parameter)
    losses = predictor.training_step(IMAGES, TARGETS)
    assert losses["mask"].item() == pytest.approx(3 * 5.0 * math.log(2), rel=1e-5)


def test_a_box_is_centre_and_size_in_shares() -> None:
    label = _label(TARGETS[0], (96, 96), torch.device("cpu"))
    assert label["boxes"][0].tolist() == pytest.approx([15 / 96, 30 / 72, 18 / 96, 36 / 72])
    assert label["masks"].shape == (3, 96, 96)
    assert label["masks"][0].mean().item() == pytest.approx(18 * 36 / (96 * 72), rel=0.02)


def test_the_square_is_the_batchs_longest_edge() -> None:
    """96 is a multiple of 12 x 2; 60 is none, and 72 the next; smaller images train the network at a smaller input."""
    predictor = seeded()
    assert predictor.training_edges() == (96, 96)
    seen = []
    predictor.module.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["pixel_values"].shape)), with_kwargs=True
    )
    predictor.training_step(IMAGES, TARGETS)
    image, target = scene(50, 60, (0, 1), 6)
    predictor.training_step([image], [target])
    assert seen == [(2, 3, 96, 96), (1, 3, 72, 72)]


def test_steps_lower_the_sum_and_gradients_reach_backbone_and_heads() -> None:
    predictor = seeded()
    optimizer = torch.optim.AdamW(predictor.module.parameters(), lr=5e-3)
    sums = []
    for _ in range(20):
        losses = predictor.training_step(IMAGES, TARGETS)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        # The target of the class loss is the box's IoU, so it may rise while the boxes get better.
        sums.append(losses["box"].item() + losses["mask"].item() + losses["dice"].item())
    assert sum(sums[-3:]) < 0.85 * sum(sums[:3])
    unused = {name for name, parameter in predictor.module.named_parameters() if parameter.grad is None}
    assert all("mask_token" in name for name in unused), unused
    backbone = {p.data_ptr() for p in predictor.module.model.model.backbone.backbone.parameters()}
    for name, parameter in predictor.module.named_parameters():
        assert name.startswith(predictor.backbone_prefix) == (parameter.data_ptr() in backbone)


def test_bfloat16_autocast_gives_nearly_the_same_losses_in_float32() -> None:
    predictor = seeded()
    torch.manual_seed(1)
    exact = predictor.training_step(IMAGES, TARGETS)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor.training_step(IMAGES, TARGETS)
    sum(rounded.values()).backward()
    for name, loss in rounded.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.15), name
