"""A model that tells when it was imported, built and run, by the clock that all processes share."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from toy_models import Blobs

from bench.predictor import Settings

IMPORTED = time.monotonic()


class TellsWhen(Blobs):
    """Appends a line of JSON to the file ``told`` as it is built and at each call of ``forward``."""

    def __init__(self, settings: Settings, told: str, delay_ms: float) -> None:
        super().__init__(settings, delay_ms)
        self.told = told
        self._tell("built")

    def forward(self, batch: Any) -> Any:
        raw = super().forward(batch)
        self._tell("run")
        return raw

    def _tell(self, what: str) -> None:
        told = {"process": os.getpid(), "imported": IMPORTED, "what": what, "at": time.monotonic()}
        with open(self.told, "a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
