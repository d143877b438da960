"""Keep in float32 what mmdetection cannot compute under bf16 autocast.

mmcv's compiled ops take float32 and float16 only, and boxes and matching costs need more than 8 bits. Mask2Former's
authors run its deformable attention and its matching in float32 too. For fp16 mmdet does this itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.dense_heads.maskformer_head import MaskFormerHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor


def keep_float32_under_bf16(network: torch.nn.Module) -> None:
    """Change a network so that under bf16 autocast, and only there, some of its modules work in float32.

    mmcv's ops and the RoI extractors take and compute float32, and so do the matching and the losses of MaskFormer and
    Mask2Former. The heads whose boxes go through NMS give float32.
    """
    for module in network.modules():
        # The extractors round the boxes' coordinates to the type of the features.
        if type(module).__module__.startswith("mmcv.ops") or isinstance(module, BaseRoIExtractor):
            module.forward = _in_float32(module.forward)
        elif isinstance(module, (BaseDenseHead, BBoxHead)):
            module.register_forward_hook(lambda _module, _inputs, output: _float32(output))
        if isinstance(module, MaskFormerHead):
            module.loss_by_feat = _in_float32(module.loss_by_feat)


def _in_float32(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for device in ("cuda", "cpu"):
            if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
                with torch.autocast(device, enabled=False):
                    return call(*_float32(args), **_float32(kwargs))
        return call(*args, **kwargs)

    return wrapped


def _float32(value: Any) -> Any:
    """Turn bf16 tensors in tuples, lists and dicts into float32, and leave everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, (tuple, list)):
        return type(value)(_float32(v) for v in value)
    if isinstance(value, dict):
        return {key: _float32(v) for key, v in value.items()}
    return value
