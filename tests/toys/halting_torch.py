"""A model that halts when it is made for the second time: between the memory pass and the passes after it."""

from __future__ import annotations

import os
from pathlib import Path

from halting import halt
from toy_models import Blobs

from bench.predictor import Settings


class HaltsSecond(Blobs):
    """Finds the bright blob; in a job of two processes it halts as the second one begins."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if (given := os.environ.get("MASKBENCH_TEST_HALT")) is not None:
            made = len(list(Path(given).glob("made-*")))
            Path(given, f"made-{made}").touch()
            if made == 1:
                halt("second")
