"""Make instances of what is found: full-size masks, boxes of the original image, our labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from adapters.onnx import masks
from adapters.onnx.frame import Frame
from bench.errors import UserError
from bench.predictor import Instances

BOX_MASKS = (14, 28, 56)
"""Edges of the masks that networks of the Mask R-CNN family give for each box."""

MOST_STRIDE = 16
"""Masks of the whole input are smaller than it by this at most."""


@dataclass(frozen=True)
class Limits:
    """What is kept of what a network finds.

    score_threshold: least score; None is the layout's own
    nms_iou: boxes of one class that overlap more than this are one object, where the file leaves NMS to us
    labels: int64, our label of each label of the file, -1 for none; on the device
    where: the file, for messages
    masks: what masks are of that are no logits: ``boxes`` or ``input``; None tells it by their size
    looks_for_nan: whether outputs are searched for values that mean nothing, see :class:`bench.predictor.Predictor`
    """

    score_threshold: float | None
    max_detections: int
    nms_iou: float
    labels: torch.Tensor
    where: str
    masks: str | None = None
    looks_for_nan: bool = True


def refuse_nan(limits: Limits, **found: torch.Tensor) -> None:
    """Refuse values that are not a number, which every comparison would drop in silence; do nothing where none are
    looked for.

    found: by what they are, for the message

    Raises:
        UserError: one of them holds NaN.
    """
    if not limits.looks_for_nan:
        return
    # One answer for all of them: each that the host reads would wait for the device.
    answers = torch.stack([values.isnan().any() for values in found.values()]).tolist()
    for name, is_nan in zip(found, answers, strict=True):
        if is_nan:
            raise UserError(
                f"{limits.where}: the {name} that it gave hold NaN, so its figures would mean nothing; in fp16 values "
                f"beyond 65504 become so: export it in fp32, or compare it with the model that it was exported from"
            )


def with_masks(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    limits: Limits,
    finish: Callable[[torch.Tensor, Frame], torch.Tensor],
    frame: Frame,
) -> Instances:
    """Give instances whose boxes are still in pixels of the input."""
    refuse_nan(limits, boxes=boxes)
    moved = frame.boxes(boxes)
    return own_labels(moved, scores, labels, finish(moved, frame), limits)


def own_labels(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, found: torch.Tensor, limits: Limits
) -> Instances:
    """Give instances with our labels, without those of labels that have no class.

    Raises:
        UserError: a label is below 0 or beyond the classes.
    """
    low, high = torch.stack([*labels.aminmax()]).tolist() if len(labels) else (0, 0)
    if low < 0:
        raise UserError(
            f"{limits.where}: it gave label {low}, and labels begin at 0; export it so that it gives its detections "
            f"alone, or, where labels below 0 fill up, in the layout mmdeploy"
        )
    if high >= len(limits.labels):
        raise UserError(
            f"{limits.where}: it gave label {high}, and {len(limits.labels)} labels are known; give "
            f"model.classes=[...] with all names of its classes, in the order of its labels"
        )
    own = limits.labels[labels.long()]
    if bool((own < 0).any()):
        kept = torch.nonzero(own >= 0)[:, 0]
        boxes, scores, own, found = boxes[kept], scores[kept], own[kept], found[kept]
    return Instances(found, boxes, scores, own)


def of_prototypes(
    coefficients: torch.Tensor, prototypes: torch.Tensor, boxes: torch.Tensor, frame: Frame
) -> torch.Tensor:
    """Masks of YOLO: sums of prototypes, scaled to the image and cut at the box (as ``process_mask_native``)."""
    count, height, width = prototypes.shape
    logits = (coefficients @ prototypes.float().reshape(count, -1)).reshape(-1, height, width)
    return masks.inside_boxes(masks.scaled(logits, frame) > 0, boxes)


def of_logits(logits: torch.Tensor, boxes: torch.Tensor, frame: Frame) -> torch.Tensor:
    return masks.scaled(logits, frame) > 0


def of_boxes_or_whole(
    probabilities: torch.Tensor,
    paste: Callable[[torch.Tensor, torch.Tensor, tuple[int, int]], torch.Tensor],
    limits: Limits,
    boxes: torch.Tensor,
    frame: Frame,
) -> torch.Tensor:
    """Paste masks of boxes, or scale those of the whole input; both hold probabilities."""
    if not len(probabilities):
        return probabilities.new_zeros(0, *frame.original, dtype=torch.bool)
    if limits.looks_for_nan:
        _refuse_no_probabilities(probabilities, limits)
    height, width = probabilities.shape[1:]
    if (limits.masks or _masks_are_of(height, width, frame.padded, limits)) == "input":
        return masks.scaled(probabilities, frame) > 0.5
    return paste(probabilities, boxes, frame.original)


def _refuse_no_probabilities(values: torch.Tensor, limits: Limits) -> None:
    least, most = torch.stack([*values.aminmax()]).tolist()  # NaN where there is one
    if math.isnan(least):
        refuse_nan(limits, masks=values)
    if least < 0 or most > 1:
        raise UserError(
            f"{limits.where}: its masks hold {least:.3g} to {most:.3g}, must be probabilities; export the file with "
            f"the sigmoid of its masks"
        )


def _masks_are_of(height: int, width: int, padded: tuple[int, int], limits: Limits) -> str:
    """Tell by their size whether masks are of boxes or of the whole input.

    Raises:
        UserError: they may be of both.
    """
    if (height, width) == padded:
        return "input"
    strides = padded[0] / height, padded[1] / width
    of_input = strides[0] == strides[1] and strides[0] in range(2, MOST_STRIDE + 1)
    if height == width and height in BOX_MASKS and not of_input:
        return "boxes"
    raise UserError(
        f"{limits.where}: its masks are {height}x{width} and its input is {padded[0]}x{padded[1]}, so they may lie in "
        f"their boxes or be of the whole input; give model.options.masks=boxes or model.options.masks=input"
    )
