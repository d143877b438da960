"""Train detectron2's R-CNN models with the library's own losses, under the names that all libraries share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.layers import CNNBlockBase
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import BitMasks, Boxes
from detectron2.structures import Instances as Detectron2Instances
from detectron2.utils.events import EventStorage

from bench.predictor import Target

LOSS_NAMES = {
    "loss_rpn_cls": "rpn_objectness",
    "loss_rpn_loc": "rpn_box",
    "loss_cls": "class",
    "loss_box_reg": "box",
    "loss_mask": "mask",
    "loss_mask_point": "point",
}


def losses(
    module: GeneralizedRCNN, images: Sequence[torch.Tensor], targets: Sequence[Target]
) -> dict[str, torch.Tensor]:
    """Give the losses of one batch as ``Trainable.training_step`` does; ``module`` is in training mode.

    Images are uint8 (3, h, w) in the model's channel order. Where RPN's output is NaN or infinite, the library raises
    an error before it gives any loss. RPN's two losses are NaN then, and the training loop stops at them.
    """
    batch = [{"image": image, "instances": _instances(t)} for image, t in zip(images, targets, strict=True)]
    # At iteration 0 a config with VIS_PERIOD would draw pictures.
    with EventStorage(1):
        try:
            return named_losses(module(batch))
        except FloatingPointError:
            nan = torch.full((), float("nan"), device=module.device)
            return {"rpn_objectness": nan, "rpn_box": nan}


def named_losses(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give detectron2's losses under the common names, summed over the heads of a cascade.

    A loss without a common name (``loss_l2`` of Implicit PointRend) keeps its own, without ``loss_``.
    """
    named: dict[str, torch.Tensor] = {}
    for key, value in given.items():
        base = key.partition("_stage")[0]
        name = LOSS_NAMES.get(base, base.removeprefix("loss_"))
        named[name] = named[name] + value if name in named else value
    return named


def backbone_prefix(module: GeneralizedRCNN) -> str:
    """Give the beginning of the names of the pretrained parameters.

    The pretrained part is ``bottom_up`` of FPN, ``net`` of ViTDet's pyramid, or without a pyramid (C4, DC5) the
    whole backbone.
    """
    for part in ("bottom_up", "net"):
        if isinstance(getattr(module.backbone, part, None), torch.nn.Module):
            return f"backbone.{part}."
    return "backbone."


def calm_residuals(module: torch.nn.Module) -> None:
    """Start every residual branch at zero (Goyal et al. 2017, section 5.1), as for training from scratch.

    detectron2 leaves this out because it expects a pretrained backbone. In a random backbone with frozen statistics
    the activations double with every block, and RPN proposes only empty boxes: there would be nothing to time.
    """
    for block in module.modules():
        if isinstance(block, CNNBlockBase):
            norm: Any = getattr(getattr(block, "conv3", getattr(block, "conv2", None)), "norm", None)
            if getattr(norm, "weight", None) is not None:
                torch.nn.init.zeros_(norm.weight)


def _instances(target: Target) -> Detectron2Instances:
    """Convert a target as ``detection_utils.annotations_to_instances`` does with ``mask_format="bitmask"``.

    All mask heads take this form, and PointRend's takes no other.
    """
    height, width = target.masks.shape[-2:]
    return Detectron2Instances(
        (height, width),
        gt_boxes=Boxes(target.boxes),
        gt_classes=target.labels,
        gt_masks=BitMasks(target.masks),
    )
