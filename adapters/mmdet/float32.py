"""Keep in float32 what mmdetection cannot compute under autocast.

Under bf16: mmcv's compiled ops take float32 and float16 only, and boxes and matching costs need more than 8 bits.
Mask2Former's authors run its deformable attention and its matching in float32 too. For fp16 mmdet and mmcv cast their
values themselves; on a CPU, whose autocast leaves some of these casts out, what goes through NMS is float32 too.

Under both: ``PointRendRoIHead._mask_point_forward_test`` scatters the logits of points into upsampled masks. A GPU's
autocast upsamples in float32 and gives the points in the lower precision, and ``scatter_`` refuses the two. RTMDet-Ins
decodes its boxes in the type of its features, and ``mmcv.ops.nms`` takes float32 only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.dense_heads.maskformer_head import MaskFormerHead
from mmdet.models.dense_heads.rtmdet_ins_head import RTMDetInsHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import CoarseMaskHead, MaskPointHead
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor

HALVES = (torch.float16, torch.bfloat16)

UNFIT_FOR_NMS = {"cuda": (torch.bfloat16,), "cpu": HALVES}
"""The types of boxes and scores that become float32 before NMS, by the kind of device: mmcv's NMS of a CPU takes
float32 only, and a GPU's autocast has given it float32 from an fp16 network."""


def keep_float32(network: torch.nn.Module) -> None:
    """Change a network so that under autocast, and only there, some of its modules work in float32 or give it.

    Under fp16 and bf16 the heads of PointRend and RTMDet-Ins give float32. Under bf16 mmcv's ops and the RoI extractors
    take and compute float32, and so do the matching and the losses of MaskFormer and Mask2Former; the heads whose boxes
    go through NMS give float32.
    """
    for module in network.modules():
        # The extractors round the boxes' coordinates to the type of the features.
        if type(module).__module__.startswith("mmcv.ops") or isinstance(module, BaseRoIExtractor):
            module.forward = _in_float32(module.forward)
        elif isinstance(module, RTMDetInsHead):
            module.register_forward_hook(lambda _module, _inputs, output: _float32(output, HALVES))
        elif isinstance(module, (BaseDenseHead, BBoxHead)):
            module.register_forward_hook(_fit_for_nms)
        elif isinstance(module, (CoarseMaskHead, MaskPointHead)):
            module.register_forward_hook(lambda _module, _inputs, output: output.float())
        if isinstance(module, MaskFormerHead):
            module.loss_by_feat = _in_float32(module.loss_by_feat)


def _fit_for_nms(module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
    """Give a head's output in types that NMS takes, as a forward hook."""
    kind = next(module.parameters()).device.type
    return _float32(output, UNFIT_FOR_NMS.get(kind, HALVES))


def _in_float32(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for device in ("cuda", "cpu"):
            if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
                with torch.autocast(device, enabled=False):
                    return call(*_float32(args), **_float32(kwargs))
        return call(*args, **kwargs)

    return wrapped


def _float32(value: Any, dtypes: tuple[torch.dtype, ...] = (torch.bfloat16,)) -> Any:
    """Turn tensors of these types in tuples, lists and dicts into float32, and leave everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype in dtypes else value
    if isinstance(value, (tuple, list)):
        return type(value)(_float32(v, dtypes) for v in value)
    if isinstance(value, dict):
        return {key: _float32(v, dtypes) for key, v in value.items()}
    return value
