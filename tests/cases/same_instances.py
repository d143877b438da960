"""Comparing an adapter's instances with its library's, where rounding may order what scores alike in another way."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment

from bench.predictor import Instances

SCORE_TOLERANCE = 1e-4
MIN_IOU = 0.99


def assert_same_instances(
    ours: Instances,
    scores: torch.Tensor,
    labels: torch.Tensor,
    masks: torch.Tensor,
    boxes: torch.Tensor | None = None,
    box_tolerance: float = 1e-2,
) -> None:
    """Each of ours must be one of the library's N instances, and no two the same one: of its label and of a score
    within 1e-4, its box within ``box_tolerance`` pixels, its mask of an IoU above 0.99 or as empty.

    An untrained network scores many things alike, and how a machine rounds decides their order; so the lists are paired
    by what is in them, not by place.

    scores: (N,). labels: (N,), numbered as ours. masks: (N, H, W), bool. boxes: (N, 4), xyxy; None: not compared.
    """
    assert len(ours) == len(scores) > 0
    torch.testing.assert_close(ours.scores, scores.sort(descending=True).values, rtol=0, atol=SCORE_TOLERANCE)
    same = (ours.labels[:, None] == labels) & ((ours.scores[:, None] - scores).abs() <= SCORE_TOLERANCE)
    if boxes is not None:
        same &= ((ours.boxes[:, None] - boxes).abs() <= box_tolerance).all(2)
    for one, another in same.nonzero().tolist():
        both, either = (ours.masks[one] & masks[another]).sum(), (ours.masks[one] | masks[another]).sum()
        same[one, another] = either == 0 or both / either > MIN_IOU
    assert same[linear_sum_assignment(same, maximize=True)].all()
