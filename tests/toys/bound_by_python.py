"""A model whose time is that of Python: a loop of small calls of torch, as a network launches its kernels on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bench.predictor import Instances, Predictor, Settings

OBJECTS = 100


class BoundByPython(Predictor):
    """Gives 100 wavy ellipses an image, new ones for each of three kinds of images.

    calls: how many small calls ``forward`` makes; each of them may give the interpreter's lock to another thread
    """

    stateless_preprocess = True

    def __init__(self, settings: Settings, calls: int = 20_000, **options: Any) -> None:
        self.classes = settings.classes or ("circle",)
        self.calls = calls
        self._shapes: dict[tuple[int, int, int], torch.Tensor] = {}

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).permute(2, 0, 1) for image in images]

    def forward(self, batch: list[torch.Tensor]) -> list[tuple[int, int, int]]:
        state = torch.zeros(8)
        for _ in range(self.calls):
            state = state + 1.0
        return [(image.shape[1], image.shape[2], int(image[0, 0, 0]) % 3) for image in batch]

    def postprocess(self, raw: list[tuple[int, int, int]]) -> list[Instances]:
        return [self.one(*image) for image in raw]

    def one(self, height: int, width: int, kind: int) -> Instances:
        if (height, width, kind) not in self._shapes:
            self._shapes[height, width, kind] = wavy_ellipses(height, width, kind)
        return Instances(
            masks=self._shapes[height, width, kind].clone(),
            boxes=torch.tensor([[0.0, 0.0, width, height]]).repeat(OBJECTS, 1),
            scores=torch.linspace(0.99, 0.01, OBJECTS),
            labels=torch.arange(OBJECTS) % len(self.classes),
        )


def wavy_ellipses(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Give 100 masks, bool (100, height, width), of the sizes that objects in photographs have."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    stack = np.empty((OBJECTS, height, width), bool)
    for mask in stack:
        radii, centre = np.exp(rng.uniform(np.log(8), np.log(120), 2)), rng.uniform(0, (height, width))
        mask[:] = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 + 0.1 * np.sin(x / 5) < 1
    return torch.from_numpy(stack)
