"""Full-size masks by the library's functions, and where the letterboxed image lies in the network's input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.functional import interpolate
from ultralytics.utils import ops

PIXELS_AT_ONCE = 16_000_000
"""How many pixels are scaled at once, in float32, as in ``ops.process_mask_native``."""


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the network's input. All sizes are (height, width) in pixels.

    original: before the resize; scaled: after it; padded: of the network's input
    """

    original: tuple[int, int]
    scaled: tuple[int, int]
    padded: tuple[int, int]

    @property
    def ratio_pad(self) -> tuple[tuple[float, float], tuple[int, int]]:
        """Scale factors (y, x), and the padding at the left and at the top in pixels (``LetterBox``)."""
        (height, width), (h, w), (padded_h, padded_w) = self.original, self.scaled, self.padded
        left, top = (round((whole - part) / 2 - 0.1) for whole, part in ((padded_w, w), (padded_h, h)))
        return (h / height, w / width), (left, top)

    @property
    def is_tight(self) -> bool:
        """Whether the image fills the input in one direction, as the library's own functions take for granted."""
        gain = min(self.padded[0] / self.original[0], self.padded[1] / self.original[1])
        return self.scaled == (max(round(self.original[0] * gain), 1), max(round(self.original[1] * gain), 1))


class Boxes(NamedTuple):
    """xyxy boxes (N, 4) in pixels of the network's input, and the same of the original image, cut at its edges."""

    on_input: torch.Tensor
    on_original: torch.Tensor


def scaled_boxes(boxes: torch.Tensor, frame: Frame) -> Boxes:
    """Give the boxes of the network's input, xyxy (N, 4), on the original image too."""
    return Boxes(boxes, ops.scale_boxes(frame.padded, boxes.clone(), frame.original, frame.ratio_pad))


def native(protos: torch.Tensor, coefficients: torch.Tensor, boxes: Boxes, frame: Frame) -> torch.Tensor:
    """Scale logits to the original image, threshold them, then crop: ``predict(retina_masks=True)``.

    protos: (32, H / 4, W / 4); coefficients: (N, 32). The result is bool (N, height, width). The same holds for the
    other two functions.
    """
    if frame.is_tight:
        masks: torch.Tensor = ops.process_mask_native(protos, coefficients, boxes.on_original, frame.original)
        return masks.view(torch.bool)
    logits = (coefficients @ protos.float().flatten(1)).view(-1, *protos.shape[1:])

    def positive(part: torch.Tensor) -> torch.Tensor:
        # A quarter of the padding may be no whole pixel, hence the input's resolution.
        at_input = interpolate(part[None], scale_factor=4, mode="bilinear")
        return ops.scale_masks(at_input, frame.original, frame.ratio_pad)[0] > 0

    cropped: torch.Tensor = ops.crop_mask(_in_parts(positive, logits, frame).view(torch.uint8), boxes.on_original)
    return cropped.view(torch.bool)


def at_input(protos: torch.Tensor, coefficients: torch.Tensor, boxes: Boxes, frame: Frame) -> torch.Tensor:
    """Threshold and crop at the network's input (``predict(retina_masks=False)``), then scale, and cut at one half.

    Such masks are as coarse as the input: the library's own are left at its size.
    """
    masks = ops.process_mask(protos, coefficients, boxes.on_input, frame.padded, upsample=True)
    return _in_parts(lambda part: _scaled(part, frame) > 0.5, masks, frame)


def as_val_writes(protos: torch.Tensor, coefficients: torch.Tensor, boxes: Boxes, frame: Frame) -> torch.Tensor:
    """Do the same, and keep what is 1 after scaling: ``predictions.json`` of ``val`` (``SegmentationValidator``).

    The conversion to bytes there rounds down, so every mask of a scaled image loses a rim.
    """
    masks = ops.process_mask_native(protos, coefficients, boxes.on_input, frame.padded)
    return _in_parts(lambda part: _scaled(part, frame) >= 1, masks, frame)


WAYS: dict[str, Callable[[torch.Tensor, torch.Tensor, Boxes, Frame], torch.Tensor]] = {
    "native": native,
    "input": at_input,
    "json": as_val_writes,
}
"""The values of the option ``masks``."""


def _scaled(masks: torch.Tensor, frame: Frame) -> torch.Tensor:
    scaled: torch.Tensor = ops.scale_masks(masks[None].float(), frame.original, frame.ratio_pad)
    return scaled[0]


def _in_parts(scale: Callable[[torch.Tensor], torch.Tensor], masks: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Scale (N, h, w) to bool (N, height, width) in parts, so that no float32 of that size is ever whole."""
    height, width = frame.original
    result = torch.empty(len(masks), height, width, dtype=torch.bool, device=masks.device)
    step = max(1, PIXELS_AT_ONCE // (height * width + frame.padded[0] * frame.padded[1]))
    for start in range(0, len(masks), step):
        result[start : start + step] = scale(masks[start : start + step])
    return result
