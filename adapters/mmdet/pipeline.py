"""Take the test pipeline of an mmdetection config: for an array in place of a file, and for another input size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmdet.utils import get_test_pipeline_cfg

from bench.errors import UserError

STRIDE = 32
"""The stride of the coarsest features; other sides than its multiples give feature maps that do not fit together."""


def inference_steps(config: Any, scale: Sequence[int] | None) -> list[Any]:
    """Give mmdet's test transforms, changed to take an array as ``mmdet.apis.inference_detector`` does."""
    first, *rest = get_test_pipeline_cfg(config)
    steps = [dict(first, type="LoadImageFromNDArray"), *(s for s in rest if "Annotations" not in s["type"])]
    if scale is not None:
        _set_scale(steps, (int(scale[0]), int(scale[1])))
    return steps


def stretches(steps: Sequence[Any]) -> bool:
    """Tell whether a test pipeline stretches every image to one size, as YOLACT's does."""
    return any(step["type"] == "Resize" and not step.get("keep_ratio", False) for step in steps)


def _set_scale(steps: list[Any], scale: tuple[int, int]) -> None:
    """Resize to ``scale`` (width, height), and pad to a square of it where the pipeline pads to one size (RTMDet).

    Raises:
        UserError: the pipeline does not resize, or it stretches every image to one size (YOLACT) and ``scale`` is no
            square, so that wide and tall images would not be scaled alike.
    """
    resizes = [step for step in steps if step["type"] == "Resize"]
    if not resizes:
        raise UserError(
            "model.config: its test pipeline has no Resize, so it takes neither input_size nor model.options.scale"
        )
    for step in resizes:
        if stretches([step]) and scale[0] != scale[1]:
            raise UserError(
                f"model.config: stretches every image to one size, so it takes only a square one and not "
                f"{min(scale)}x{max(scale)}; give {max(scale)}x{max(scale)}"
            )
        step["scale"] = scale
    side = math.ceil(max(scale) / STRIDE) * STRIDE
    for step in steps:
        if step["type"] == "Pad" and step.get("size") is not None:
            step["size"] = (side, side)
