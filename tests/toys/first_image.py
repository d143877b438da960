"""A model that fails at the first image, and writes how much processor time its process has taken until then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.torchvision.predictor import TorchvisionPredictor
from bench.predictor import Settings


class FirstImage(TorchvisionPredictor):
    """Writes the seconds into the file ``told``."""

    def __init__(self, settings: Settings, told: str, **options: Any) -> None:
        super().__init__(settings, **options)
        self.told = Path(told)

    def preprocess(self, images: Sequence[np.ndarray]) -> Any:
        self.told.write_text(str(time.process_time()))
        raise RuntimeError("the first image is here")
