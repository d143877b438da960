"""The inputs of the networks: the resize on the host, the padded and normalised batch on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import torch
from torch.nn.functional import interpolate
from transformers.image_transforms import get_size_with_aspect_ratio

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


class Resize(Enum):
    """How an image of (H, W) is scaled before the network.

    EDGES: in proportion, until its shorter side has ``shortest_edge`` pixels or its longer side ``longest_edge``;
        batches are padded with the mean colour (detectron2, DETR)
    INSIDE: in proportion, as large as it fits into a square, which is filled up with black (EoMT)
    STRETCH: to a square, whatever its proportion (RF-DETR)
    """

    EDGES = "edges"
    INSIDE = "inside"
    STRETCH = "stretch"


@dataclass
class Batch:
    """A batch on the host.

    images: resized, uint8 (3, h, w) each
    original_sizes: (H, W) of each before the resize
    """

    images: list[torch.Tensor]
    original_sizes: list[tuple[int, int]]


@dataclass(frozen=True)
class Inputs:
    """Makes the network's inputs.

    shortest_edge, longest_edge: of the resize, in pixels; equal for INSIDE and STRETCH, whose square has that edge
    stride: padded height and width are multiples of it
    pad_to: least height and width after the padding, in pixels
    mean, std: of the pixels divided by 255, by colour
    exact: (h, w) after the resize of every image, whatever its proportion; None, but for EDGES alone
    interpolation: of the resize, ``bilinear`` or ``bicubic``
    """

    resize: Resize
    shortest_edge: int
    longest_edge: int
    stride: int = 1
    pad_to: int | None = None
    mean: tuple[float, ...] = PIXEL_MEAN
    std: tuple[float, ...] = PIXEL_STD
    exact: tuple[int, int] | None = None
    interpolation: str = "bilinear"

    def with_edge(self, edge: int) -> Inputs:
        """Give the inputs of a square of this edge, or the next larger one that the stride allows."""
        edge = math.ceil(edge / self.stride) * self.stride
        return replace(self, shortest_edge=edge, longest_edge=edge)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Give (h, w) of an image of (height, width) after the resize."""
        if self.exact is not None:
            return self.exact
        if self.resize is Resize.STRETCH:
            return self.longest_edge, self.longest_edge
        if self.resize is Resize.INSIDE:
            factor = self.longest_edge / max(height, width)
            return max(round(height * factor), 1), max(round(width * factor), 1)
        height, width = get_size_with_aspect_ratio((height, width), self.shortest_edge, self.longest_edge)
        return max(height, 1), max(width, 1)

    def resized(self, images: Sequence[np.ndarray]) -> Batch:
        """Scale images, uint8 (H, W, 3), on the host: antialiased, as Pillow does it."""
        resized = []
        for image in images:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
            size = self.size_of(*image.shape[:2])
            resized.append(interpolate(pixels, size=size, mode=self.interpolation, antialias=True)[0])
        return Batch(resized, [image.shape[:2] for image in images])

    def padded_size(self, images: Sequence[torch.Tensor]) -> tuple[int, int]:
        """Give height and width of the batch of these images, (3, h, w) each, after the padding."""
        least = self.longest_edge if self.resize is Resize.INSIDE else 1
        edges = (max(self.pad_to or 1, least, *(image.shape[axis] for image in images)) for axis in (-2, -1))
        height, width = (math.ceil(edge / self.stride) * self.stride for edge in edges)
        return height, width

    def colours(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Give mean and deviation on the device, (3, 1, 1) each, which :meth:`padded` takes."""
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.std))
        return mean, std

    def padded(
        self, images: Sequence[torch.Tensor], mean: torch.Tensor, std: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the normalised batch (B, 3, H, W) on the device and its mask, int64 (B, H, W), 0 in the padding.

        images: uint8 (3, h, w) each, on the host
        """
        pixel_values = torch.zeros(len(images), 3, *self.padded_size(images), device=mean.device)
        if self.resize is Resize.INSIDE:
            pixel_values[:] = -mean / std  # black, normalised
        pixel_mask = torch.zeros_like(pixel_values[:, 0], dtype=torch.int64)
        for values, mask, image in zip(pixel_values, pixel_mask, images, strict=True):
            h, w = image.shape[-2:]
            values[:, :h, :w] = (image.to(mean.device) / 255 - mean) / std
            mask[:h, :w] = 1
        return pixel_values, pixel_mask
