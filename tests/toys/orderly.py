"""Classes that show in which order and thread their stages are called, and some that use their memory again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from habits import Bright

from bench.predictor import Instances, Settings


class TellsOrder(Bright):
    """Notes the stage and the thread of every call."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(settings, **options)
        self.stages: list[str] = []
        self.threads: set[int] = set()

    def tell(self, stage: str) -> None:
        self.stages.append(stage)
        self.threads.add(threading.get_ident())

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        self.tell("preprocess")
        return super().preprocess(images)

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.tell("forward")
        return super().forward(batch)

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        self.tell("postprocess")
        return super().postprocess(raw)


class UsesMasksAgain(Bright):
    """Writes the masks of every image into one buffer, as a runtime with bound outputs does."""

    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        if getattr(self, "buffer", None) is None or self.buffer.shape != found.masks.shape:
            self.buffer = torch.zeros_like(found.masks)
        self.buffer.copy_(found.masks)
        found.masks = self.buffer
        return found


class SaysItsMasksAreNew(UsesMasksAgain):
    stateless_preprocess = True


class UsesScoresAgain(Bright):
    """Writes the score of every image, which is its brightness, into one buffer; its masks are new."""

    stateless_preprocess = True

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(settings, **options)
        self.buffer = torch.zeros(1)

    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        found.scores = self.buffer.copy_(gray.mean()[None] / 255)
        return found


class ChangesItsBatch(Bright):
    """Turns the host batch dark in place, so that a second call with it finds nothing."""

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        raw = [image.clone() for image in batch]
        for image in batch:
            image.zero_()
        return raw

    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        return found if gray.any() else Instances(found.masks[:0], found.boxes[:0], found.scores[:0], found.labels[:0])


class SaysItsBatchIsLeftAlone(ChangesItsBatch):
    stateless_preprocess = True
