"""A class of a user that needs a secret, and that says it wherever it can."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bench.predictor import Instances, Predictor, Settings


class Tokened(Predictor):
    """Finds the whole image; with ``fail`` it raises an error that quotes the secret and this file."""

    def __init__(
        self, settings: Settings, token: str, headers: Mapping[str, str], sha256: str, fail: bool = False
    ) -> None:
        assert hashlib.sha256(token.encode()).hexdigest() == sha256, "not the value of the variable"
        assert headers["Authorization"] == f"Bearer {token}"
        assert not any(name.startswith("MASKBENCH_FROM") for name in os.environ)
        print("constructed with", token, headers)
        self.classes, self.token, self.fail = settings.classes or ("rectangle",), token, fail

    def preprocess(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(images)

    def forward(self, batch: list[np.ndarray]) -> list[Any]:
        if self.fail:
            raise RuntimeError(f"{os.path.abspath(__file__)}: the server refused {self.token!r}")
        return batch

    def postprocess(self, raw: list[np.ndarray]) -> list[Instances]:
        return [self.whole(*image.shape[:2]) for image in raw]

    def whole(self, height: int, width: int) -> Instances:
        return Instances(
            masks=torch.ones(1, height, width, dtype=torch.bool),
            boxes=torch.tensor([[0.0, 0.0, width, height]]),
            scores=torch.ones(1),
            labels=torch.zeros(1, dtype=torch.int64),
        )
