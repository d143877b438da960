"""Split mmdetection's ``predict`` in two: the network up to NMS, and the full-size masks.

The second part holds:

- heads with boxes (Mask R-CNN, PointRend, cascades, YOLACT, CondInst): the mask head's ``predict_by_feat``;
- SOLO and SOLOv2: the two interpolations that follow matrix NMS inside ``predict_by_feat``;
- Mask2Former: the interpolation to the input's size and ``MaskFormerFusionHead.predict``;
- RTMDet-Ins: nothing, since NMS and masks are one function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from bench.predictor import boxes_around

MakeMasks = Callable[[], list[Any]]
"""A function that makes the full-size masks and gives mmdet's ``InstanceData``, one per image, at every call."""

Call = tuple[tuple[Any, ...], dict[str, Any]]


def forward_without_masks(
    detector: Any, inputs: torch.Tensor, samples: list[Any], max_candidates: int | None
) -> MakeMasks:
    """Run the network and NMS on what ``data_preprocessor`` gave: inputs (B, 3, H, W) and their ``DetDataSample``s.

    max_candidates: the most candidates an image that SOLO makes masks for; None for mmdet's own way, no limit
    """
    if hasattr(detector, "panoptic_fusion_head"):
        return _mask2former(detector, inputs, samples)
    head = getattr(detector, "mask_head", None)
    if hasattr(head, "num_grids"):
        return _solo(detector, inputs, samples, max_candidates)
    if hasattr(detector, "roi_head"):
        head = detector.roi_head.mask_head
    if head is None:
        predicted = _predict(detector, inputs, samples)
        return lambda: predicted
    return _with_boxes(head[-1] if isinstance(head, torch.nn.ModuleList) else head, detector, inputs, samples)


def _predict(detector: Any, inputs: torch.Tensor, samples: list[Any]) -> list[Any]:
    return [s.pred_instances for s in detector.predict(inputs, samples, rescale=True)]


def _with_boxes(head: Any, detector: Any, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
    with _put_off(head) as put_off:
        predicted = _predict(detector, inputs, samples)
    if not put_off:  # no image has a box, and mmdet has made the empty masks
        return lambda: predicted
    args, kwargs = put_off[0]

    def make_masks() -> list[Any]:
        # predict_by_feat rescales the boxes in place
        copies = [f.new(**{**dict(f.items()), "bboxes": f.bboxes.clone()}) for f in predicted]
        if "results_list" in kwargs:
            return head.predict_by_feat(*args, **{**kwargs, "results_list": copies})
        return head.predict_by_feat(args[0], copies, *args[2:], **kwargs)

    return make_masks


def _solo(detector: Any, inputs: torch.Tensor, samples: list[Any], max_candidates: int | None) -> MakeMasks:
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


@contextmanager
def _put_off(head: Any) -> Iterator[list[Call]]:
    """Let ``head.predict_by_feat`` return the boxes without masks, and yield the list that its arguments go to."""
    calls: list[Call] = []

    def keep(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return kwargs["results_list"] if "results_list" in kwargs else args[1]

    head.predict_by_feat = keep
    try:
        yield calls
    finally:
        del head.predict_by_feat


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
