"""Any instance-segmentation config of mmdetection 3.x, the original or the maintained fork (same import name).

Where mmdet makes the full-size masks inside its own ``predict``, that part is put off to ``postprocess``:

- heads with boxes (Mask R-CNN, PointRend, cascades, YOLACT, CondInst): the mask head's ``predict_by_feat``;
- SOLO and SOLOv2: the two interpolations that follow matrix NMS inside ``predict_by_feat``;
- Mask2Former: the interpolation to the input's size and ``MaskFormerFusionHead.predict``;
- RTMDet-Ins: not split; ``mask_functions`` names the function, which also holds its NMS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch.overrides import TorchFunctionMode

from adapters.mmdet_config import ready_config
from bench.predictor import Instances, Predictor, Settings, load_weights

Batch = dict[str, list[Any]]
Call = tuple[tuple[Any, ...], dict[str, Any]]
MakeMasks = Callable[[], list[Any]]


class MmdetPredictor(Predictor):
    """Options: ``cfg_options`` are changes to the config, nested or dotted as in ``Config.merge_from_dict``; ``scale``
    is the test pipeline's (width, height), within which an image is resized.

    ``forward`` gives a call that makes the masks and returns mmdet's ``InstanceData``, one per image.

    Raises:
        UserError: the config is unknown or not for instance segmentation, or the checkpoint does not fit.
    """

    module: Any

    def __init__(
        self, settings: Settings, scale: Sequence[int] | None = None, cfg_options: Mapping[str, Any] | None = None
    ) -> None:
        init_default_scope("mmdet")
        ready = ready_config(settings, scale, cfg_options or {})
        self.config, self.classes, self.max_candidates = ready.config, ready.classes, ready.max_candidates
        self.score_threshold = settings.score_threshold or 0.0
        self.max_detections = settings.max_detections
        self.pipeline = Compose(ready.pipeline)

        self.module = revert_sync_batchnorm(MODELS.build(self.config.model))
        if settings.checkpoint is None:
            MMLogger.get_current_instance().setLevel("WARNING")  # it prints a paragraph for every parameter
            self.module.init_weights()
        else:
            load_weights(self.module, settings.checkpoint)
        self.module.to(settings.device).eval()
        if "RTMDetIns" in type(getattr(self.module, "bbox_head", None)).__name__:
            self.mask_functions = ("mmdet.models.dense_heads.rtmdet_ins_head:RTMDetInsHead._bbox_mask_post_process",)

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        # The pipelines expect BGR, as mmcv reads files.
        packed = [self.pipeline({"img": np.ascontiguousarray(image[..., ::-1]), "img_id": 0}) for image in images]
        return {key: [p[key] for p in packed] for key in ("inputs", "data_samples")}

    def input_size(self, batch: Batch) -> tuple[int, int]:
        divisor = self.module.data_preprocessor.pad_size_divisor
        height, width = (max(image.shape[axis] for image in batch["inputs"]) for axis in (1, 2))
        return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor

    def forward(self, batch: Batch) -> MakeMasks:
        data = self.module.data_preprocessor(batch, False)
        inputs, samples = data["inputs"], data["data_samples"]
        if hasattr(self.module, "panoptic_fusion_head"):
            return self._forward_mask2former(inputs, samples)
        head = getattr(self.module, "mask_head", None)
        if head is not None and hasattr(head, "num_grids"):
            return self._forward_solo(inputs, samples)
        if self.module.with_roi_head:
            head = self.module.roi_head.mask_head
        if head is None:
            found = [s.pred_instances for s in self.module.predict(inputs, samples, rescale=True)]
            return lambda: found
        return self._forward_with_boxes(head[-1] if isinstance(head, torch.nn.ModuleList) else head, inputs, samples)

    def _forward_with_boxes(self, head: Any, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
        with _put_off(head) as put_off:
            found = [s.pred_instances for s in self.module.predict(inputs, samples, rescale=True)]
        if not put_off:  # no image has a box, and mmdet has made the empty masks
            return lambda: found
        args, kwargs = put_off[0]

        def make_masks() -> list[Any]:
            # mmdet rescales the boxes in place: a copy lets the same raw output be finished twice.
            copies = [f.clone() for f in found]
            if "results_list" in kwargs:
                return head.predict_by_feat(*args, **{**kwargs, "results_list": copies})
            return head.predict_by_feat(args[0], copies, *args[2:], **kwargs)

        return make_masks

    def _forward_solo(self, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
        head = self.module.mask_head
        outs = head(self.module.extract_feat(inputs))
        metas = [s.metainfo for s in samples]
        if self.max_candidates is not None:
            _keep_best(outs[2 if type(head).__name__.startswith("Decoupled") else 1], self.max_candidates)
        with _HeldInterpolation() as held:
            found = head.predict_by_feat(*outs, batch_img_metas=metas)

        def make_masks() -> list[Any]:
            calls = iter(held.calls)
            for instances, meta in zip(found, metas, strict=True):
                height, width = meta["img_shape"][:2]
                if len(instances.scores):
                    (args, first), (_, second) = next(calls), next(calls)
                    at_input = F.interpolate(*args, **first)[:, :, :height, :width]
                    masks = F.interpolate(at_input, **second).squeeze(0) > head.test_cfg.mask_thr
                    instances.masks, instances.bboxes = masks, _boxes_of(masks)
            return found

        return make_masks

    def _forward_mask2former(self, inputs: torch.Tensor, samples: list[Any]) -> MakeMasks:
        scores, masks = self.module.panoptic_head(self.module.extract_feat(inputs), samples)

        def make_masks() -> list[Any]:
            # MaskFormerHead.predict, from its second line on
            size = samples[0].metainfo["batch_input_shape"]
            at_input = F.interpolate(masks[-1], size=tuple(size), mode="bilinear", align_corners=False)
            results = self.module.panoptic_fusion_head.predict(scores[-1], at_input, samples, rescale=True)
            return [r["ins_results"] for r in results]

        return make_masks

    def postprocess(self, raw: MakeMasks) -> list[Instances]:
        return [self._instances(found) for found in raw()]

    def _instances(self, found: Any) -> Instances:
        masks, boxes, scores, labels = found.masks, found.bboxes, found.scores, found.labels
        if len(scores) > 1 and bool((scores[1:] > scores[:-1]).any()):
            order = scores.argsort(descending=True)
            masks, boxes, scores, labels = masks[order], boxes[order], scores[order], labels[order]
        count = min(len(scores), self.max_detections)
        if self.score_threshold > 0:
            count = min(count, int((scores >= self.score_threshold).sum()))
        return Instances(masks[:count].bool(), boxes[:count, :4].float(), scores[:count].float(), labels[:count].long())


@contextmanager
def _put_off(head: Any) -> Iterator[list[Call]]:
    """Inside, ``head.predict_by_feat`` keeps its arguments in the list given and returns the boxes without masks."""
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
    """Inside, ``F.interpolate`` keeps its arguments in ``calls`` and returns its input as it is."""

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


def _boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """Boxes of bool masks (N, H, W): float32 (N, 4) xyxy, right and bottom exclusive; zeros for an empty mask."""
    columns, rows = masks.any(dim=1), masks.any(dim=2)
    first = [line.byte().argmax(dim=1) for line in (columns, rows)]
    last = [line.shape[1] - line.flip(1).byte().argmax(dim=1) for line in (columns, rows)]
    return torch.stack(first + last, dim=1).float() * columns.any(dim=1, keepdim=True)
