"""A model that trains in a second: it has per-pixel logits of one class, and gives one instance an image."""

from __future__ import annotations

import os
import signal
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bench.predictor import Instances, Settings, Target, TorchPredictor, Trainable, load_weights


class Painter(TorchPredictor, Trainable):
    """Has two convolutions.

    nan_at: the step of a process at which the loss is NaN
    dies_at: the step at which the process kills itself, the first time only
    once: with ".died" behind it, the file that exists after the first time; a file of the very name of an option would
        count as one that the figures depend on
    """

    def __init__(self, settings: Settings, nan_at: int = 0, dies_at: int = 0, once: str = "") -> None:
        self.classes = settings.classes or ("thing",)
        self.device = settings.device
        self.module = torch.nn.Sequential(
            OrderedDict(
                backbone=torch.nn.Sequential(
                    torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
                ),
                dropout=torch.nn.Dropout(0.1),
                head=torch.nn.Conv2d(8, len(self.classes), 1),
            )
        )
        if settings.checkpoint is not None:
            load_weights(self.module, settings.checkpoint)
        self.module.to(settings.device).eval()
        self.nan_at, self.dies_at, self.once = nan_at, dies_at, once
        self.steps = 0

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 for image in images]

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.module(image.to(self.device)) for image in batch]

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        return [self._instances(logits[0, :1]) for logits in raw]

    def training_edges(self) -> tuple[int, int]:
        return 48, 96

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        self.steps += 1
        died = Path(f"{self.once}.died")
        if self.steps == self.dies_at and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        loss = torch.zeros(())
        for image, target in zip(self.preprocess(images), targets, strict=True):
            logits = self.module(image)[0, :1]
            wanted = target.masks.any(0, keepdim=True).float()
            loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted) / len(images)
        return {"mask": loss * float("nan") if self.steps == self.nan_at else loss, "dice": 0.0 * loss + 1.0}

    def _instances(self, logits: torch.Tensor) -> Instances:
        height, width = logits.shape[-2:]
        return Instances(
            masks=logits > 0,
            boxes=torch.tensor([[0.0, 0.0, width, height]]),
            scores=logits.float().sigmoid().mean()[None],
            labels=torch.tensor([0]),
        )
