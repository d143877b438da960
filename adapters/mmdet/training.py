"""Train mmdetection's models: targets in its form, nothing frozen, and losses under the names all libraries share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures.mask import BitmapMasks

from bench.errors import UserError
from bench.predictor import Target

COMMON_NAMES = {
    "loss_rpn_cls": "rpn_objectness",
    "loss_rpn_bbox": "rpn_box",
    "loss_cls": "class",
    "loss_bbox": "box",
}
"""The common names of those losses whose name in mmdet is not the common one after ``loss_``."""


def training_edges(pipeline: Sequence[Any]) -> tuple[int, int]:
    """Give the shorter and the longer edge of the resize in a test pipeline, in pixels.

    Raises:
        UserError: the pipeline resizes to no fixed scale.
    """
    for step in pipeline:
        scale = step.get("scale")
        if "Resize" in step["type"] and isinstance(scale, (tuple, list)) and len(scale) == 2:
            return int(min(scale)), int(max(scale))
    raise UserError(
        "model.options.scale: training needs it, because the config's test pipeline has no Resize to a fixed scale; "
        "give (width, height)"
    )


def training_pipeline(pipeline: Sequence[Any]) -> Compose:
    """Give the steps of a test pipeline after reading and resizing: padding to a fixed size (RTMDet), packing."""
    return Compose([step for step in pipeline if "Load" not in step["type"] and "Resize" not in step["type"]])


def training_batch(pipeline: Compose, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, list[Any]]:
    """Put images, uint8 RGB (h, w, 3), and their targets into mmdet's own form: ``inputs`` and ``data_samples``."""
    packed = [pipeline(_sample(image, target)) for image, target in zip(images, targets, strict=True)]
    return {key: [p[key] for p in packed] for key in ("inputs", "data_samples")}


def _sample(image: np.ndarray, target: Target) -> dict[str, Any]:
    height, width = image.shape[:2]
    return {
        # The pipelines expect BGR, as mmcv reads files.
        "img": np.ascontiguousarray(image[..., ::-1]),
        "img_id": 0,
        "img_shape": (height, width),
        "ori_shape": (height, width),
        "scale_factor": (1.0, 1.0),
        "gt_bboxes": target.boxes,
        "gt_bboxes_labels": target.labels,
        "gt_ignore_flags": np.zeros(len(target), dtype=bool),
        "gt_masks": BitmapMasks(target.masks.numpy().astype(np.uint8), height, width),
    }


def leave_nothing_frozen(network: Any) -> None:
    """Undo what configs set for training from pretrained weights with mmdet's augmentation.

    That is frozen layers and BatchNorm, and padding of every batch to one large size; inference uses none of it.
    """
    network.requires_grad_(True)
    for module in network.modules():
        if hasattr(module, "frozen_stages"):
            module.frozen_stages = -1
        if hasattr(module, "norm_eval"):
            module.norm_eval = False
    network.data_preprocessor.batch_augments = None
    # Losses compare the masks with predictions for the padded batch; RTMDet's config does not pad masks.
    network.data_preprocessor.pad_mask = True


def refuse_stuff(network: Any) -> None:
    """Refuse a network with a head for COCO-stuff, whose training needs maps that instance annotations lack.

    Raises:
        UserError: the network has such a head (HTC, SCNet).
    """
    if getattr(getattr(network, "roi_head", None), "semantic_head", None) is not None:
        raise UserError(
            f"model.config: {type(network).__name__} has a semantic_head, which trains on COCO-stuff maps and not on "
            f"instances; set options.cfg_options.model.roi_head.semantic_head to null, or take a config without it"
        )


def named_losses(losses: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Give mmdet's losses as scalars under the common names; their sum is that of ``BaseModel.parse_losses``.

    Pyramid levels (a list), decoder layers (``d0.loss_cls``) and heads of a cascade (``s0.loss_cls``) are summed. A
    value whose name does not contain ``loss`` (``acc``) is left out.
    """
    named: dict[str, torch.Tensor] = {}
    for key, value in losses.items():
        if "loss" not in key:
            continue
        name = key.rsplit(".", 1)[-1]
        name = COMMON_NAMES.get(name, name.removeprefix("loss_"))
        levels = [value] if isinstance(value, torch.Tensor) else value
        total = torch.stack([level.mean() for level in levels]).sum()
        named[name] = named[name] + total if name in named else total
    return named
