"""Train RF-DETR with the library's own losses, under the names that all libraries share."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate
from transformers import PreTrainedModel

from bench.predictor import Target

COMMON_NAMES = {
    "loss_ce": "class",
    "loss_bbox": "box",
    "loss_giou": "box",
    "loss_mask_ce": "mask",
    "loss_mask_dice": "dice",
}
"""The common names by the library's, to which decoder layers add ``_0``, ``_1``, ..., and the encoder ``_enc``."""

WEIGHTS = {
    "loss_ce": "class_loss_coefficient",
    "loss_bbox": "bbox_loss_coefficient",
    "loss_giou": "giou_loss_coefficient",
    "loss_mask_ce": "mask_class_loss_coefficient",
    "loss_mask_dice": "mask_dice_loss_coefficient",
}
"""The key of the configuration that weighs each loss."""

LONGEST_EDGE = 10_000
"""Of the training images, in pixels: no bound for any but a panorama."""

LAYER = re.compile(r"_(\d+|enc)$")


def losses(
    module: PreTrainedModel, pixel_values: torch.Tensor, targets: Sequence[Target], columns: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Give the losses of one batch as ``Trainable.training_step`` does; ``module`` is in training mode.

    pixel_values: the normalised batch (B, 3, S, S), each image stretched to the square
    targets: of the images as they were before that
    columns: int64 (classes,), the class logit of each label; None where logit N is label N
    """
    # An older transformers, which has no RF-DETR, runs the other families.
    from adapters.transformers.rf_detr_matching import points_of_the_masks

    device, square = pixel_values.device, pixel_values.shape[-2:]
    labels = [_label(target, square, device, columns) for target in targets]
    with _in_float32(module, device), points_of_the_masks():
        given = module(pixel_values=pixel_values, labels=labels).loss_dict
    summed = {name: torch.zeros((), device=device) for name in COMMON_NAMES.values()}
    for key, loss in given.items():
        name = LAYER.sub("", key)
        # The library also counts the objects found, which is no loss, and weighs other layers' losses only if asked to.
        if name in WEIGHTS and (name == key or module.config.auxiliary_loss):
            common = COMMON_NAMES[name]
            summed[common] = summed[common] + getattr(module.config, WEIGHTS[name]) * loss
    return summed


def _label(
    target: Target, square: Sequence[int], device: torch.device, columns: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Give a target in the library's form: logits, boxes as centre and size in shares of the image, square masks."""
    height, width = target.masks.shape[-2:]
    corners = target.boxes.to(device) / torch.tensor([width, height, width, height], device=device)
    low, high = corners.split(2, -1)
    masks = target.masks[:, None].float().to(device)
    labels = target.labels.to(device)
    return {
        "class_labels": labels if columns is None else columns[labels],
        "boxes": torch.cat([(low + high) / 2, high - low], -1),
        "masks": interpolate(masks, size=tuple(square), mode="nearest")[:, 0],
    }


@contextlib.contextmanager
def _in_float32(module: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """Have the network compute its losses in float32 under autocast too, as matching and logarithms need it."""
    library = module.loss_function

    def whole(*given: Any, **named: Any) -> Any:
        with torch.autocast(device.type, enabled=False):
            return library(*(_floats(value) for value in given), **named)

    module.loss_function = whole
    try:
        yield
    finally:
        module.loss_function = library


def _floats(value: Any) -> Any:
    """Give tensors of floating point, also those of a list, in float32; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
        return [_floats(each) for each in value]
    return value
