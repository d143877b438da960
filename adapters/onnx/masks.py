"""Full-size boolean masks from what a network gives: pixels of the original image, on the device."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate
from torchvision.models.detection.roi_heads import paste_masks_in_image

from adapters.onnx.frame import Frame


def scaled(values: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Scale values (N, h, w) of the whole input to the original image (N, H, W), bilinearly, without the padding.

    The padding is cut off in the resolution of the values, as in Ultralytics' ``scale_masks``.
    """
    if not len(values):
        return values.new_zeros(0, *frame.original)
    rows, columns = values.shape[-2] / frame.padded[0], values.shape[-1] / frame.padded[1]
    top, left, height, width = frame.content
    first = max(0, round(top * rows - 0.1)), max(0, round(left * columns - 0.1))
    last = round((top + height) * rows + 0.1), round((left + width) * columns + 0.1)
    inside = values[:, first[0] : max(last[0], first[0] + 1), first[1] : max(last[1], first[1] + 1)]
    return interpolate(inside[None].float(), size=frame.original, mode="bilinear", align_corners=False)[0]


def scaled_by_the_input(values: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Scale as :func:`scaled` does, but first to the size of the input, as Mask2Former's own inference does."""
    upsampled = interpolate(values[None].float(), size=frame.padded, mode="bilinear", align_corners=False)[0]
    return scaled(upsampled, frame)


def inside_boxes(masks: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Cut bool masks (N, H, W) at boxes (N, 4), xyxy in pixels: a pixel counts where its index is in [x1, x2)."""
    height, width = masks.shape[-2:]
    rows = torch.arange(height, device=masks.device)[None, :, None]
    columns = torch.arange(width, device=masks.device)[None, None, :]
    x1, y1, x2, y2 = (edge[:, None, None] for edge in boxes.unbind(1))
    return masks & (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)


def pasted(masks: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Paste mask probabilities (N, M, M) of boxes (N, 4) into images (N, H, W), as torchvision does; bool from 0.5.

    boxes: xyxy in pixels of the original image
    """
    return paste_masks_in_image(masks[:, None].float(), boxes, size)[:, 0] > 0.5


def sampled(masks: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Paste as :func:`pasted`, but sampled at the centre of every pixel, as mmdet and detectron2 do; bool from 0.5.

    One mask is made at a time: the samples of all would take four times the memory of float masks.
    """
    whole = torch.zeros(len(masks), *size, dtype=torch.bool, device=masks.device)
    rows = torch.arange(size[0], device=masks.device) + 0.5
    columns = torch.arange(size[1], device=masks.device) + 0.5
    for place, (mask, (x1, y1, x2, y2)) in enumerate(zip(masks, boxes, strict=True)):
        y = (rows - y1) / (y2 - y1) * 2 - 1
        x = (columns - x1) / (x2 - x1) * 2 - 1
        grid = torch.stack([x.expand(size), y[:, None].expand(size)], -1)
        values = torch.nn.functional.grid_sample(mask[None, None].float(), grid[None], align_corners=False)
        whole[place] = values[0, 0] >= 0.5
    return whole
