"""Models that halt until a test lets them go on: so it can end what they run on at a moment that it knows.

The folder in ``MASKBENCH_TEST_HALT`` says when: a model that has come to its halt writes there what it runs under, and
goes on when there is a file ``open``.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from bench.predictor import ReplayPredictor, Settings

LONGEST_SECONDS = 120


def halt(name: str) -> None:
    """Write ``name.reached``, and wait for ``open``."""
    if (given := os.environ.get("MASKBENCH_TEST_HALT")) is None:
        return
    folder = Path(given)
    slurm = [os.environ.get(f"SLURM_ARRAY_{of}_ID", "") for of in ("JOB", "TASK")]
    told = {"raylet": os.environ.get("RAY_RAYLET_PID"), "slurm": "_".join(slurm)}
    written = folder / f".{name}.{os.getpid()}"
    written.write_text(json.dumps(told))
    written.rename(folder / f"{name}.reached")
    deadline = time.monotonic() + LONGEST_SECONDS
    while not (folder / "open").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


class Shifted(ReplayPredictor):
    """Replays the rectangle of the bright squares, some pixels to the right: so each shift has an AP of its own.

    It halts in the first image where ``shift`` is 3.
    """

    needs_torch = False

    def __init__(self, settings: Settings, shift: int = 0) -> None:
        self.classes = settings.classes or ()
        self.shift, self.halted = shift, False

    def results(self, image_id: int | str) -> list[dict[str, Any]]:
        if self.shift == 3 and not self.halted:
            self.halted = True
            halt("shifted")
        left, right = 5 + self.shift, 45 + self.shift
        polygon = [left, 10, right, 10, right, 40, left, 40]
        return [{"image_id": image_id, "category_id": 7, "segmentation": [polygon], "score": 0.9}]
