"""A model whose runtime is not torch: numpy finds the pixels that are brighter than a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.predictor import Instances, Predictor, Settings


class Level(Predictor):
    """Finds one instance of the first class. Its file of weights or the file of its option holds the level."""

    reads_weights_itself = True
    packages = ("numpy", "scipy")

    def __init__(self, settings: Settings, level: str | None = None) -> None:
        assert settings.checkpoint is None
        assert (settings.weights_path is None) == (level is not None)
        assert settings.precision in self.precisions
        self.classes = settings.classes or ("thing",)
        self.level = float(Path(level or str(settings.weights_path)).read_text())

    @classmethod
    def files_read(cls, options: Mapping[str, Any]) -> Mapping[str, Path]:
        return {"level": Path(options["level"])} if "level" in options else {}

    def preprocess(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(images)

    def forward(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        return [image.mean(axis=-1) > self.level for image in batch]

    def postprocess(self, raw: list[np.ndarray]) -> list[Instances]:
        return [self._instances(torch.from_numpy(mask)) for mask in raw]

    def _instances(self, mask: torch.Tensor) -> Instances:
        height, width = mask.shape
        return Instances(
            masks=mask[None],
            boxes=torch.tensor([[0.0, 0.0, width, height]]),
            scores=torch.tensor([0.9]),
            labels=torch.tensor([0]),
        )
