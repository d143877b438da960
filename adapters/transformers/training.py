"""Train Mask2Former with the library's own losses, under the names that all libraries share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad
from transformers import Mask2FormerForUniversalSegmentation

from bench.predictor import Target

COMMON_NAMES = {"loss_cross_entropy": "class", "loss_mask": "mask", "loss_dice": "dice"}
"""The common names by the library's names of its losses, to which decoder layers add ``_0``, ``_1``, ..."""


def losses(
    module: Mask2FormerForUniversalSegmentation,
    pixel_values: torch.Tensor,
    pixel_mask: torch.Tensor,
    targets: Sequence[Target],
) -> dict[str, torch.Tensor]:
    """Give the losses of one batch as ``Trainable.training_step`` does; ``module`` is in training mode.

    pixel_values: the padded batch (B, 3, H, W), normalised; pixel_mask: int64 (B, H, W), 0 in the padding.
    """
    device = pixel_values.device
    output = module(pixel_values=pixel_values, pixel_mask=pixel_mask, output_auxiliary_logits=True)
    masks = [_padded_masks(target.masks.to(device), pixel_mask.shape[-2:]) for target in targets]
    labels = [target.labels.to(device) for target in targets]
    layers = [{name: logits.float() for name, logits in layer.items()} for layer in output.auxiliary_logits]
    logits = output.masks_queries_logits.float(), output.class_queries_logits.float()
    # The matching and the points of the masks need float32, and the library reads them under autocast too.
    with torch.autocast(device.type, enabled=False):
        given = module.get_loss_dict(*logits, masks, labels, layers)
    summed = {name: torch.zeros((), device=device) for name in COMMON_NAMES.values()}
    for key, loss in given.items():
        name = COMMON_NAMES[key.rstrip("_0123456789")]
        summed[name] = summed[name] + loss
    return summed


def _padded_masks(masks: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Pad masks (N, h, w) to float32 (N, H, W), since the library places points relative to the padded input."""
    return pad(masks.float(), (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1]))
