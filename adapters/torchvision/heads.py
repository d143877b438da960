"""Replace the pooling and the mask head of Mask R-CNN, for ablations (He et al. 2017, section 4.2 and table 2)."""

from __future__ import annotations

import torch
from torch.nn.functional import log_softmax
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, project_masks_on_boxes
from torchvision.ops import MultiScaleRoIAlign, roi_pool
from torchvision.ops._utils import convert_boxes_to_roi_format
from torchvision.ops.poolers import LevelMapper, _setup_scales

from bench.errors import UserError, nearest

ROI_POOLINGS = ("align", "pool")
MASK_HEADS = ("class_specific", "class_agnostic", "softmax")


def ablate(module: MaskRCNN, roi_pooling: str, mask_head: str) -> None:
    """Replace the pooling and the mask head of a network without weights.

    roi_pooling: ``align`` is the library's ``MultiScaleRoIAlign``, ``pool`` is :class:`MultiScaleRoIPool`; neither has
        parameters, so both read the same weights.
    mask_head: ``class_specific`` is the library's, a sigmoid for every class; ``class_agnostic`` is
        :class:`ClassAgnosticPredictor`; ``softmax`` is :class:`SoftmaxPredictor` in :class:`SoftmaxRoIHeads`.

    Raises:
        UserError: the pooling or the mask head is none of these.
    """
    for key, value, known in (("roi_pooling", roi_pooling, ROI_POOLINGS), ("mask_head", mask_head, MASK_HEADS)):
        if value not in known:
            raise UserError(f"model.options.{key}={value}: no such choice; {nearest(value, known)}")
    heads = module.roi_heads
    if roi_pooling == "pool":
        heads.box_roi_pool = _pool_like(heads.box_roi_pool)
        heads.mask_roi_pool = _pool_like(heads.mask_roi_pool)
    upsample, logits = heads.mask_predictor.conv5_mask, heads.mask_predictor.mask_fcn_logits
    widths = upsample.in_channels, upsample.out_channels, logits.out_channels
    if mask_head == "class_agnostic":
        heads.mask_predictor = ClassAgnosticPredictor(*widths)
    elif mask_head == "softmax":
        heads.mask_predictor = SoftmaxPredictor(*widths)
        # Only forward differs, and a new object would need every argument of the library's constructor again.
        heads.__class__ = SoftmaxRoIHeads


def _pool_like(align: MultiScaleRoIAlign) -> MultiScaleRoIPool:
    scale, level = align.canonical_scale, align.canonical_level
    return MultiScaleRoIPool(
        align.featmap_names, align.output_size, align.sampling_ratio, canonical_scale=scale, canonical_level=level
    )


class MultiScaleRoIPool(MultiScaleRoIAlign):
    """RoIPool (Girshick 2015) on the FPN level that ``MultiScaleRoIAlign`` chooses.

    A box is rounded to whole cells of the feature map and split into parts of whole cells, and the largest value of
    each part is taken.
    """

    scales: list[float] | None
    map_levels: LevelMapper | None

    def forward(
        self, x: dict[str, torch.Tensor], boxes: list[torch.Tensor], image_shapes: list[tuple[int, int]]
    ) -> torch.Tensor:
        features = [feature for name, feature in x.items() if name in self.featmap_names]
        if self.scales is None or self.map_levels is None:
            scales = _setup_scales(features, image_shapes, self.canonical_scale, self.canonical_level)
            self.scales, self.map_levels = scales
        rois, levels = convert_boxes_to_roi_format(boxes), self.map_levels(boxes)
        pooled = features[0].new_zeros(len(rois), features[0].shape[1], *self.output_size)
        for level, (feature, scale) in enumerate(zip(features, self.scales, strict=True)):
            chosen = levels == level
            pooled[chosen] = roi_pool(feature, rois[chosen], self.output_size, scale)
        return pooled


class ClassAgnosticPredictor(MaskRCNNPredictor):
    """A head that makes one mask a box for all classes: its single output channel stands in for that of every class."""

    def __init__(self, in_channels: int, dim_reduced: int, num_classes: int) -> None:
        super().__init__(in_channels, dim_reduced, 1)
        self.num_classes = num_classes

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features).expand(-1, self.num_classes, -1, -1)


class SoftmaxPredictor(MaskRCNNPredictor):
    """A head in which classes compete for each pixel: logits (N, classes + 1, 28, 28), channel 0 the background.

    In eval mode it gives the log-odds of the softmax, which the library's sigmoid turns into probabilities.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits = super().forward(features)
        return logits if self.training else logits.softmax(1).logit()


class SoftmaxRoIHeads(RoIHeads):
    """The library's heads with :func:`multinomial_mask_loss` for the masks; they differ in training only."""

    def forward(
        self,
        features: dict[str, torch.Tensor],
        proposals: list[torch.Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, torch.Tensor]] | None = None,
    ) -> tuple[list[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
        if not self.training or targets is None:
            return super().forward(features, proposals, image_shapes, targets)
        boxes, matches, labels, deltas = self.select_training_samples(proposals, targets)
        pooled = self.box_head(self.box_roi_pool(features, boxes, image_shapes))
        loss_classifier, loss_box = fastrcnn_loss(*self.box_predictor(pooled), labels, deltas)
        positive = [each > 0 for each in labels]
        boxes = [each[chosen] for each, chosen in zip(boxes, positive, strict=True)]
        logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, image_shapes)))
        inside = [
            project_masks_on_boxes(target["masks"], own, match[chosen], logits.shape[-1])
            for target, own, match, chosen in zip(targets, boxes, matches, positive, strict=True)
        ]
        classes = torch.cat([each[chosen] for each, chosen in zip(labels, positive, strict=True)])
        loss_mask = multinomial_mask_loss(logits, torch.cat(inside), classes)
        return [], {"loss_classifier": loss_classifier, "loss_box_reg": loss_box, "loss_mask": loss_mask}


def multinomial_mask_loss(logits: torch.Tensor, inside: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Give the cross entropy of the softmax over classes and background, the mean over all pixels of all boxes.

    logits: (N, classes + 1, M, M), channel 0 the background
    inside: float (N, M, M), the share of each pixel that lies in the mask, which is the probability of the label;
        the rest is that of the background
    labels: int64 (N,), 1 to classes

    Without boxes the loss is 0.
    """
    if len(logits) == 0:
        return logits.sum() * 0
    logarithms = log_softmax(logits, 1)
    own = logarithms[torch.arange(len(logits), device=logits.device), labels]
    return -(inside * own + (1 - inside) * logarithms[:, 0]).mean()
