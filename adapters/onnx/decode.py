"""Find the instances in the outputs of a network, by layout. What a full-size mask needs is left for later.

Each function takes the tensors of one image by their roles and gives a :data:`Finish`, which makes the instances with
full-size masks: the first belongs to the network's time, as NMS does, the second to that of the masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torchvision.ops import batched_nms

from adapters.onnx import finish, masks
from adapters.onnx.finish import Limits
from adapters.onnx.frame import Frame
from bench.errors import UserError
from bench.predictor import Instances, boxes_around

COCO_OUTPUTS = 91
COCO_IDS = tuple(n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""The category ids of COCO's 80 classes, which are the labels of networks that were trained with gaps between them."""

MOST_CANDIDATES = 30_000
"""Candidates that NMS of YOLO looks at, by falling score; the number is Ultralytics'."""


Finish = Callable[[Frame], Instances]
Detect = Callable[[Mapping[str, torch.Tensor], Frame, Limits], Finish]


def yolo(outputs: Mapping[str, torch.Tensor], frame: Frame, limits: Limits) -> Finish:
    """YOLOv8 and YOLO11: centre, width and height of a box, a probability for each class, M mask coefficients.

    As in Ultralytics' validation, each class of a box over the threshold (0.001) is a candidate, and NMS is by class.
    """
    predictions, prototypes = outputs["predictions"].float(), outputs["prototypes"]
    classes = len(predictions) - 4 - len(prototypes)
    probabilities = predictions[4 : 4 + classes]
    finish.refuse_nan(limits, scores=probabilities, coefficients=predictions[4 + classes :], prototypes=prototypes)
    threshold = 0.001 if limits.score_threshold is None else limits.score_threshold
    label, anchor = torch.nonzero(probabilities > threshold, as_tuple=True)
    scores = probabilities[label, anchor]
    scores, order = scores.sort(descending=True, stable=True)
    scores, order = scores[:MOST_CANDIDATES], order[:MOST_CANDIDATES]
    label, anchor = label[order], anchor[order]
    boxes = _corners(predictions[:4, anchor].T)
    kept = batched_nms(boxes, scores, label, limits.nms_iou)[: limits.max_detections]
    coefficients = predictions[4 + classes :, anchor[kept]].T
    masked = partial(finish.of_prototypes, coefficients, prototypes)
    return partial(finish.with_masks, boxes[kept], scores[kept], label[kept], limits, masked)


def yolo_end_to_end(outputs: Mapping[str, torch.Tensor], frame: Frame, limits: Limits) -> Finish:
    """YOLO26: corners of a box, score, label and M mask coefficients of detections that need no NMS."""
    detections, prototypes = outputs["detections"].float(), outputs["prototypes"]
    boxes, scores, label, coefficients = detections.split([4, 1, 1, len(prototypes)], 1)
    finish.refuse_nan(limits, scores=scores, labels=label, coefficients=coefficients, prototypes=prototypes)
    kept = _best(scores[:, 0], limits, 0.001)
    whole = label[kept, 0].round()
    if len(kept) and bool((whole - label[kept, 0]).abs().max() > 1e-3):
        raise UserError(f"{limits.where}: the sixth of its values holds no labels, so its outputs are another layout's")
    masked = partial(finish.of_prototypes, coefficients[kept], prototypes)
    return partial(finish.with_masks, boxes[kept], scores[kept, 0], whole.long(), limits, masked)


def rfdetr(outputs: Mapping[str, torch.Tensor], frame: Frame, limits: Limits) -> Finish:
    """RF-DETR: boxes as shares of the input, a logit for each class, a mask of logits for each query, as in its
    ``PostProcess``: the best pairs of query and class. Logits of no class take no pair's place."""
    scores = outputs["logits"].float().sigmoid()
    finish.refuse_nan(limits, scores=scores, masks=outputs["masks"])
    if scores.shape[1] == len(limits.labels):  # another number is refused where a label beyond them is found
        scores = scores.masked_fill(limits.labels < 0, -1)
    best, index = scores.flatten().topk(min(limits.max_detections, scores.numel()))
    query, label = index // scores.shape[1], index % scores.shape[1]
    kept = best > (limits.score_threshold or 0.0)
    best, query, label = best[kept], query[kept], label[kept]
    return _of_shares(outputs, query, best, label, frame, limits)


def detr(outputs: Mapping[str, torch.Tensor], frame: Frame, limits: Limits) -> Finish:
    """DETR: as RF-DETR, but the last logit is "no object", scores are a softmax, and each query has its best class, as
    in its ``PostProcess``."""
    probabilities = outputs["logits"].float().softmax(-1)[:, :-1]
    finish.refuse_nan(limits, scores=probabilities, masks=outputs["masks"])
    scores, labels = probabilities.max(-1)
    query = _best(scores, limits, 0.0)
    return _of_shares(outputs, query, scores[query], labels[query], frame, limits)


def _of_shares(
    outputs: Mapping[str, torch.Tensor],
    query: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    frame: Frame,
    limits: Limits,
) -> Finish:
    """Finish instances of these queries, whose boxes are shares of the input."""
    height, width = frame.padded
    boxes = _corners(outputs["boxes"].float()[query]) * scores.new_tensor([width, height, width, height])
    masked = partial(finish.of_logits, outputs["masks"][query])
    return partial(finish.with_masks, boxes, scores, labels, limits, masked)


def torchvision(outputs: Mapping[str, torch.Tensor], frame: Frame, limits: Limits) -> Finish:
    """Mask R-CNN of torchvision after its NMS; masks are of boxes (28 x 28), or already pasted into the input."""
    finish.refuse_nan(limits, scores=outputs["scores"])
    kept = _best(outputs["scores"], limits, 0.0)
    boxes, probabilities = outputs["boxes"][kept].float(), outputs["masks"][kept, 0]
    masked = partial(finish.of_boxes_or_whole, probabilities, masks.pasted, limits)
    return partial(finish.with_masks, boxes, outputs["scores"][kept].float(), outputs["labels"][kept], limits, masked)


def mmdeploy(outputs: Mapping[str, torch.Tensor], frame: Frame, limits: Limits) -> Finish:
    """Detections of mmdeploy after their NMS; masks are of boxes (28 x 28), or of the whole input. Labels below 0 fill
    up."""
    filled = torch.nonzero(outputs["labels"] >= 0)[:, 0]
    boxes, labels, probabilities = (outputs[role][filled] for role in ("boxes", "labels", "masks"))
    finish.refuse_nan(limits, scores=boxes[:, 4])
    kept = _best(boxes[:, 4], limits, 0.0)
    masked = partial(finish.of_boxes_or_whole, probabilities[kept], masks.sampled, limits)
    return partial(finish.with_masks, boxes[kept, :4].float(), boxes[kept, 4].float(), labels[kept], limits, masked)


def queries(outputs: Mapping[str, torch.Tensor], frame: Frame, limits: Limits) -> Finish:
    """Mask2Former: a score is the class probability times the mean mask probability inside the full-size mask, as in
    the paper's ``instance_inference``."""
    finish.refuse_nan(limits, logits=outputs["logits"], masks=outputs["masks"])
    return partial(_of_queries, outputs["logits"].float(), outputs["masks"], limits)


def _of_queries(logits: torch.Tensor, mask_logits: torch.Tensor, limits: Limits, frame: Frame) -> Instances:
    probabilities = logits.softmax(-1)[:, :-1]
    best, index = probabilities.flatten().topk(min(limits.max_detections, probabilities.numel()))
    query, label = index // probabilities.shape[1], index % probabilities.shape[1]
    full = masks.scaled_by_the_input(mask_logits, frame)
    binary = full > 0
    weight = binary.float()
    inside = full.sigmoid().mul_(weight).sum((1, 2)) / (weight.sum((1, 2)) + 1e-6)
    scores, order = (best * inside[query]).sort(descending=True, stable=True)
    kept = order[scores > limits.score_threshold] if limits.score_threshold else order
    query, label = query[kept], label[kept]
    return finish.own_labels(boxes_around(binary)[query], scores[: len(kept)], label, binary[query], limits)


def _corners(boxes: torch.Tensor) -> torch.Tensor:
    """Turn boxes (N, 4) of centre, width and height into xyxy."""
    half = boxes[:, 2:] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1)


def _best(scores: torch.Tensor, limits: Limits, own: float) -> torch.Tensor:
    """Give the places of the scores over the threshold, at most ``max_detections``, by falling score."""
    threshold = own if limits.score_threshold is None else limits.score_threshold
    ordered, order = scores.float().sort(descending=True, stable=True)
    return order[ordered > threshold][: limits.max_detections]
