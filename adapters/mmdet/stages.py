"""Split mmdetection's ``predict`` in two: the network up to NMS, and the full-size masks.

The second part holds:

- heads with boxes (Mask R-CNN, Mask Scoring R-CNN, PointRend, Cascade Mask R-CNN, HTC, QueryInst, YOLACT, CondInst):
  the mask head's ``predict_by_feat``;
- SOLO and SOLOv2: the two interpolations that follow matrix NMS inside ``predict_by_feat``;
- Mask2Former: the interpolation to the input's size and ``MaskFormerFusionHead.predict``;
- RTMDet-Ins: what ``RTMDetInsHead._bbox_mask_post_process`` does after the dynamic convolutions, which follow NMS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from mmdet.models.roi_heads import SparseRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from torch.overrides import TorchFunctionMode

from adapters.mmdet.paste import pasted
from bench.errors import UserError
from bench.predictor import boxes_around

MakeMasks = Callable[[], list[Any]]
"""A function that makes the full-size masks and gives mmdet's ``InstanceData``, one per image, at every call."""

Split = Callable[[torch.Tensor, list[Any]], MakeMasks]

Call = tuple[tuple[Any, ...], dict[str, Any]]


def split_of(detector: Any, max_candidates: int | None) -> Split:
    """Give the function that runs the network and NMS of a detector, and leaves the masks for later.

    It takes what ``data_preprocessor`` gave: inputs (B, 3, H, W) and their ``DetDataSample``s.

    max_candidates: the most candidates an image that SOLO makes masks for; None for mmdet's own way, no limit

    Raises:
        UserError: the detector makes its masks in a way that is none of the above.
    """
    if hasattr(detector, "panoptic_fusion_head"):
        return partial(_mask2former, detector)
    if hasattr(getattr(detector, "bbox_head", None), "_mask_predict_by_feat_single"):
        return partial(_rtmdet, detector)
    head = getattr(getattr(detector, "roi_head", detector), "mask_head", None)
    if hasattr(head, "num_grids"):
        return partial(_solo, detector, max_candidates)
    if head is None:
        raise UserError(
            f"model.config: {type(detector).__name__} has no mask head that maskbench knows, so the time of its masks "
            f"could not be told from that of its network; give a config of another detector"
        )
    return partial(_with_boxes, head[-1] if isinstance(head, torch.nn.ModuleList) else head, detector)


def _predict(detector: Any, inputs: torch.Tensor, samples: list[Any]) -> list[Any]:
    return [s.pred_instances for s in detector.predict(inputs, samples, rescale=True)]


def _with_boxes(head: Any, detector: Any, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
    put_off: list[Call] = []

    def keep(*args: Any, **kwargs: Any) -> Any:
        put_off.append((args, kwargs))
        return kwargs["results_list"] if "results_list" in kwargs else args[1]

    with _replaced(head, "predict_by_feat", keep):
        predicted = _predict(detector, inputs, samples)
    if not put_off:  # no image has a box, and mmdet has made the empty masks
        return lambda: predicted
    args, kwargs = put_off[0]

    def paste(copies: list[Any]) -> list[Any]:
        if "results_list" in kwargs:
            return head.predict_by_feat(*args, **{**kwargs, "results_list": copies})
        return head.predict_by_feat(args[0], copies, *args[2:], **kwargs)

    def make_masks() -> list[Any]:
        # predict_by_feat rescales the boxes in place
        copies = [f.new(**{**dict(f.items()), "bboxes": f.bboxes.clone()}) for f in predicted]
        return pasted(paste, copies, samples) if _leaves_boxes_outside(head, detector) else paste(copies)

    return make_masks


def _leaves_boxes_outside(head: Any, detector: Any) -> bool:
    """Tell of a detector whether its boxes are not clipped to the image, where the head cannot paste those outside."""
    return isinstance(head, FCNMaskHead) and isinstance(getattr(detector, "roi_head", None), SparseRoIHead)


def _solo(detector: Any, max_candidates: int | None, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
    head = detector.mask_head
    outs = head(detector.extract_feat(inputs))
    metas = [s.metainfo for s in samples]
    if max_candidates is not None:
        _keep_best(outs[2 if type(head).__name__.startswith("Decoupled") else 1], max_candidates)
    with _HeldInterpolation() as held:
        predicted = head.predict_by_feat(*outs, batch_img_metas=metas)

    def make_masks() -> list[Any]:
        calls = iter(held.calls)
        for instances, meta in zip(predicted, metas, strict=True):
            height, width = meta["img_shape"][:2]
            if len(instances.scores):
                (args, first), (_, second) = next(calls), next(calls)
                at_input = F.interpolate(*args, **first)[:, :, :height, :width]
                masks = F.interpolate(at_input, **second).squeeze(0) > head.test_cfg.mask_thr
                instances.masks, instances.bboxes = masks, boxes_around(masks)
        return predicted

    return make_masks


def _mask2former(detector: Any, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
    scores, masks = (layers[-1] for layers in detector.panoptic_head(detector.extract_feat(inputs), samples))

    def make_masks() -> list[Any]:
        # what MaskFormerHead.predict does after its forward
        size = tuple(samples[0].metainfo["batch_input_shape"])
        at_input = F.interpolate(masks, size=size, mode="bilinear", align_corners=False)
        results = detector.panoptic_fusion_head.predict(scores, at_input, samples, rescale=True)
        return [r["ins_results"] for r in results]

    return make_masks


def _rtmdet(detector: Any, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
    head = detector.bbox_head
    apply_kernels = head._mask_predict_by_feat_single
    at_stride: list[torch.Tensor] = []

    def keep(*args: Any, **kwargs: Any) -> torch.Tensor:
        at_stride.append(apply_kernels(*args, **kwargs))
        return at_stride[-1][:, :1, :1]  # the library enlarges one pixel, and make_masks the whole

    with _replaced(head, "_mask_predict_by_feat_single", keep):
        predicted = _predict(detector, inputs, samples)

    def make_masks() -> list[Any]:
        logits = iter(at_stride)
        for instances, sample in zip(predicted, samples, strict=True):
            if len(instances.scores):
                instances.masks = _rtmdet_masks(head, next(logits), sample.metainfo)
        return predicted

    return make_masks


def _rtmdet_masks(head: Any, at_stride: torch.Tensor, meta: dict[str, Any]) -> torch.Tensor:
    """Give the masks (N, H, W) of an image's original size for the logits (N, h, w) of its padded input."""
    height, width = meta["ori_shape"][:2]
    at_input = F.interpolate(at_stride[None], scale_factor=head.prior_generator.strides[0][0], mode="bilinear")
    # mmdet multiplies by the inverse: 640 / 1.28 and 640 * (1 / 1.28) are not rounded up to the same.
    size = [math.ceil(at_input.shape[axis] * (1 / meta["scale_factor"][place])) for axis, place in ((-2, 1), (-1, 0))]
    full = F.interpolate(at_input, size=size, mode="bilinear", align_corners=False)[0, :, :height, :width]
    return full.sigmoid() > head.test_cfg.mask_thr_binary


@contextmanager
def _replaced(owner: Any, method: str, other: Callable[..., Any]) -> Iterator[None]:
    """Let ``owner`` call another function in place of this method of its class."""
    setattr(owner, method, other)
    try:
        yield
    finally:
        delattr(owner, method)


class _HeldInterpolation(TorchFunctionMode):
    """A context in which ``F.interpolate`` adds its arguments to ``calls`` and returns its input as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.interpolate:
            self.calls.append((args, kwargs or {}))
            return args[0]
        return func(*args, **(kwargs or {}))


def _keep_best(level_scores: list[torch.Tensor], count: int) -> None:
    """Set all but the ``count`` best class scores of each image to -inf; levels are (B, classes, grid, grid)."""
    for image in range(len(level_scores[0])):
        scores = torch.cat([level[image].flatten() for level in level_scores])
        if len(scores) > count:
            least = scores.topk(count).values[-1]
            for level in level_scores:
                level[image].masked_fill_(level[image] < least, -torch.inf)
