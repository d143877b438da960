"""Training detectron2's R-CNN models: the library's own losses under the names that every library shares."""

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
    """The losses of one batch as ``Trainable.training_step`` gives them; ``module`` is in training mode.

    Images are uint8 (3, h, w) in the model's channel order. Where RPN's output is NaN or infinite, the library raises
    before it hands out any loss: RPN's two losses are NaN then, for the training loop to stop at as at any other.
    """
    batch = [{"image": image, "instances": _instances(t)} for image, t in zip(images, targets, strict=True)]
    # From 1 on: at iteration 0 a config with VIS_PERIOD would draw pictures.
    with EventStorage(1):
        try:
            return named_losses(module(batch))
        except FloatingPointError:
            nan = torch.full((), float("nan"), device=module.device)
            return {"rpn_objectness": nan, "rpn_box": nan}


def named_losses(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """detectron2's losses under the common names, the stages of a cascade summed.

    One without a common name (the regulariser of Implicit PointRend, ``loss_l2``) keeps its own, less ``loss_``.
    """
    named: dict[str, torch.Tensor] = {}
    for key, value in given.items():
        base = key.partition("_stage")[0]
        name = LOSS_NAMES.get(base, base.removeprefix("loss_"))
        named[name] = named[name] + value if name in named else value
    return named


def backbone_prefix(module: GeneralizedRCNN) -> str:
    """What the names of the pretrained part begin with: below FPN its ``bottom_up``, below ViTDet's pyramid its
    ``net``, without a pyramid (C4, DC5) the whole backbone."""
    for part in ("bottom_up", "net"):
        if isinstance(getattr(module.backbone, part, None), torch.nn.Module):
            return f"backbone.{part}."
    return "backbone."


def calm_residuals(module: torch.nn.Module) -> None:
    """Start every residual branch at zero (Goyal et al. 2017, section 5.1), as for training from scratch.

    detectron2 leaves this out because it expects a pretrained backbone. With its frozen statistics the activations of
    a random one grow twofold a block, and RPN then proposes only empty boxes: there would be nothing to time.
    """
    for block in module.modules():
        if isinstance(block, CNNBlockBase):
            norm: Any = getattr(getattr(block, "conv3", getattr(block, "conv2", None)), "norm", None)
            if getattr(norm, "weight", None) is not None:
                torch.nn.init.zeros_(norm.weight)


def _instances(target: Target) -> Detectron2Instances:
    """As ``detection_utils.annotations_to_instances`` makes them with ``mask_format="bitmask"``; every mask head takes
    that form, PointRend's no other."""
    height, width = target.masks.shape[-2:]
    return Detectron2Instances(
        (height, width),
        gt_boxes=Boxes(target.boxes),
        gt_classes=target.labels,
        gt_masks=BitMasks(target.masks),
    )
