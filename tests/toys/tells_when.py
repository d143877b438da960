"""A model that writes when it was imported, constructed and run, by the clock that all processes share."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from toy_models import Blobs

from bench.predictor import Settings

IMPORTED = time.monotonic()


class TellsWhen(Blobs):
    """Appends a line of JSON to the file ``told`` when it is constructed and at each call of ``forward``.

    An option that names a file is part of what a row depends on; ``to:FILE`` names none.
    """

    def __init__(self, settings: Settings, told: str, delay_ms: float) -> None:
        super().__init__(settings, delay_ms)
        self.told = told.removeprefix("to:")
        self._tell("constructed")

    def forward(self, batch: Any) -> Any:
        raw = super().forward(batch)
        self._tell("run")
        return raw

    def _tell(self, what: str) -> None:
        event = {"process": os.getpid(), "imported": IMPORTED, "what": what, "at": time.monotonic()}
        with open(self.told, "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
