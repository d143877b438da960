"""Where an image lies in the network's input: resize, padding, normalisation, and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Frame:
    """One image inside the network's input, sizes in pixels.

    original: (H, W) of the image as given
    content: (top, left, height, width) of the resized image inside the input
    padded: (H, W) of the input
    """

    original: tuple[int, int]
    content: tuple[int, int, int, int]
    padded: tuple[int, int]

    def boxes(self, boxes: torch.Tensor) -> torch.Tensor:
        """Give boxes (N, 4), xyxy in pixels of the input, in pixels of the original image, cut at its edges."""
        top, left, height, width = self.content
        offset = boxes.new_tensor([left, top, left, top])
        scale = boxes.new_tensor([self.original[1] / width, self.original[0] / height] * 2)
        limit = boxes.new_tensor([self.original[1], self.original[0]] * 2)
        moved = ((boxes - offset) * scale).clamp(min=0)
        return torch.minimum(moved, limit)


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of an image before the network.

    resize: ``letterbox`` (in proportion, in the middle of a square or of the file's size), ``fit`` (in proportion, in
        the top left corner), ``stretch`` (to the file's size), ``none`` (the network resizes by itself)
    size: the shorter and the longer edge that images are scaled to fit; None where the file has a size of its own
    rounding: with ``fit``, of the edges: ``nearest`` (mmdet), ``down`` (torchvision), or ``shorter`` (transformers: the
        shorter edge to the nearest, the longer one down)
    multiple: with ``fit``, height and width are padded to a multiple of it
    value_range: 1 or 255: the value of the brightest pixel before mean and deviation are applied; a file whose input is
        uint8 gets 0 to 255
    mean, std: of the channels, in the order of ``channels``
    channels: ``rgb`` or ``bgr``
    antialias: filter before the image is made smaller, as PIL does and OpenCV does not
    in_float: resize in float32; else pixels are rounded to whole values again, as OpenCV and PIL do
    pad_value: with ``letterbox``, of the padding, 0 to 255; ``fit`` pads with 0 after the normalisation
    """

    resize: str
    size: tuple[int, int] | None = None
    rounding: str = "nearest"
    multiple: int = 1
    value_range: int = 1
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: str = "rgb"
    antialias: bool = False
    in_float: bool = False
    pad_value: float = 114.0

    def words(self) -> str:
        """Say it in one line, for a result."""
        size = f" {self.size[0]}x{self.size[1]}" if self.size else ""
        mean, std = (",".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        how = f" {'with' if self.antialias else 'without'} antialias, {'in float32' if self.in_float else 'in uint8'}"
        how = "" if self.resize == "none" else how
        return f"{self.resize}{size}{how}, {self.channels.upper()}, 0 to {self.value_range}, mean {mean}, std {std}"

    def place(self, height: int, width: int, fixed: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[int, int]]:
        """Give the size of the resized image, and its top left corner in the input.

        fixed: (H, W) of the file's input; None where it takes any
        """
        if self.resize == "none":
            return (height, width), (0, 0)
        if self.resize == "stretch":
            assert fixed is not None
            return fixed, (0, 0)
        scale = min(fixed[0] / height, fixed[1] / width) if fixed is not None else math.inf
        if self.size is not None:
            shorter, longer = self.size
            scale = min(scale, shorter / min(height, width), longer / max(height, width))
        if self.resize == "fit":
            return self._rounded(height, width, scale), (0, 0)
        resized = max(1, round(height * scale)), max(1, round(width * scale))
        whole = fixed or (self.size[1], self.size[1]) if self.size else fixed
        assert whole is not None
        # Of an odd number of lines of padding, the top has the smaller half, as in Ultralytics' LetterBox.
        top, left = ((whole[axis] - resized[axis]) // 2 for axis in (0, 1))
        return resized, (top, left)

    def _rounded(self, height: int, width: int, scale: float) -> tuple[int, int]:
        edges = height * scale, width * scale
        if self.rounding == "nearest":
            return max(1, int(edges[0] + 0.5)), max(1, int(edges[1] + 0.5))
        if self.rounding == "down":
            return max(1, int(edges[0] + 1e-4)), max(1, int(edges[1] + 1e-4))
        # The longer edge from the exact shorter one, so that a whole number falls as in ``get_size_with_aspect_ratio``.
        shorter = self.size[1] * min(height, width) / max(height, width) if self.size else min(edges)
        if self.size and shorter > self.size[0]:
            shorter = self.size[0]
        longer = int(shorter * max(height, width) / min(height, width))
        return (round(shorter), longer) if height <= width else (longer, round(shorter))

    def resized(self, image: np.ndarray, fixed: tuple[int, int] | None) -> tuple[torch.Tensor, tuple[int, int]]:
        """Give an image uint8 RGB (H, W, 3) resized, (3, h, w) of 0 to 255 on the host, and its corner in the input."""
        size, corner = self.place(image.shape[0], image.shape[1], fixed)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        if self.in_float:
            pixels = pixels.float()
        if size != image.shape[:2]:
            pixels = interpolate(pixels, size=size, mode="bilinear", antialias=self.antialias, align_corners=False)
        return pixels[0], corner

    def padded(self, sizes: Sequence[tuple[int, int]], fixed: tuple[int, int] | None) -> tuple[int, int]:
        """Give height and width of the input for resized images of these sizes."""
        if fixed is not None:
            return fixed
        if self.resize == "letterbox":
            assert self.size is not None
            return self.size[1], self.size[1]
        height, width = (
            math.ceil(max(size[axis] for size in sizes) / self.multiple) * self.multiple for axis in (0, 1)
        )
        return height, width


class Normalisation:
    """Moves resized images to the device, normalises and pads them."""

    def __init__(self, how: Preprocessing, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype, self.flips = device, dtype, how.channels == "bgr"
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (how.mean, how.std))
        self.factor, self.shift = how.value_range / 255 / std, mean / std
        pad = how.pad_value if how.resize == "letterbox" else 0.0
        self.padding = pad * self.factor - self.shift if how.resize == "letterbox" else torch.zeros_like(self.shift)

    def __call__(self, images: Sequence[torch.Tensor], frames: Sequence[Frame], batch: int) -> torch.Tensor:
        """Give the input (batch, 3, H, W) on the device; images beyond the given ones are padding alone."""
        whole = self.padding.expand(batch, 3, *frames[0].padded).contiguous()
        for place, (image, frame) in enumerate(zip(images, frames, strict=True)):
            top, left, height, width = frame.content
            pixels = image.to(self.device).flip(0) if self.flips else image.to(self.device)
            whole[place, :, top : top + height, left : left + width] = pixels.float() * self.factor - self.shift
        return whole.to(self.dtype) if self.dtype.is_floating_point else whole.round_().to(self.dtype)
