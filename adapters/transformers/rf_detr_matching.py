"""The matching of RF-DETR's training: the library's, at as many points of the masks as the paper's code takes."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from transformers.loss import loss_rf_detr

LIBRARY: type[torch.nn.Module] = loss_rf_detr.RfDetrHungarianMatcher

COUNTS_BOXES = "height, width = out_bbox.shape[:2]" in inspect.getsource(LIBRARY.forward)
"""Whether the installed version takes the sizes of the tensor of boxes, (B * Q, 4), for those of a mask, as 5.23 does.

Its points are then B * Q * 4 / 16, whatever the masks' size. A batch of 8 images of the Nano has 2600 in place of 380,
and memory that grows with the square of the batch; a small network has too few to see a small object. The paper's code
(``rfdetr/models/matcher.py``) takes the cells of a mask / 16.
"""


class Matcher(LIBRARY):  # type: ignore[misc, valid-type]
    """``RfDetrHungarianMatcher``, whose number of points is the mask's cells by ``mask_point_sample_ratio``."""

    mask_point_sample_ratio: Any

    def forward(
        self, outputs: Mapping[str, torch.Tensor], targets: Sequence[Mapping[str, torch.Tensor]], group_detr: int
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        ratio = self.mask_point_sample_ratio
        if COUNTS_BOXES:
            height, width = outputs["pred_masks"].shape[-2:]
            points = max(height * width // ratio, 1)
            # The library divides the count of the boxes' numbers by this, rounding down, which gives the points.
            self.mask_point_sample_ratio = Fraction(outputs["pred_boxes"].numel(), points)
        try:
            matched: list[tuple[torch.Tensor, torch.Tensor]] = super().forward(outputs, targets, group_detr)
        finally:
            self.mask_point_sample_ratio = ratio
        return matched


@contextlib.contextmanager
def points_of_the_masks() -> Iterator[None]:
    """Have the library's loss match by :class:`Matcher`, which it makes anew at every call."""
    library: Any = loss_rf_detr
    library.RfDetrHungarianMatcher = Matcher
    try:
        yield
    finally:
        library.RfDetrHungarianMatcher = LIBRARY
