"""Classes whose rows are measured in shards: they die, wait or fail at one image, and tell what they were asked for.

What they are to do comes from the environment, so that two commands that differ in it have the same job.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from toy_models import Blobs

from bench.predictor import Instances

TOLD = "TOY_TOLD"
"""Variable with the folder in which each process lists the sizes of the images that it was asked for."""

SIZE = (50, 50)
"""Height and width of the image at which something happens."""


class Tells(Blobs):
    """Tells which images it was asked for."""

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        for height, width in (image.shape[:2] for image in images):
            with open(Path(os.environ[TOLD], f"{os.getpid()}.txt"), "a") as file:
                file.write(f"{height}x{width}\n")
            if (height, width) == SIZE:
                self.at_that_image()
        return super().preprocess(images)

    def at_that_image(self) -> None:
        """Do what the class does at that image."""


class Mortal(Tells):
    """Kills its process, as often as ``TOY_DEATHS`` says."""

    def at_that_image(self) -> None:
        deaths = len(list(Path(os.environ[TOLD]).glob("*.dead")))
        if deaths < int(os.environ.get("TOY_DEATHS", "0")):
            Path(os.environ[TOLD], f"{os.getpid()}.dead").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Waits(Tells):
    """Waits as long as there is a file ``wait``."""

    def at_that_image(self) -> None:
        while Path(os.environ[TOLD], "wait").exists():
            time.sleep(0.05)


class Fails(Tells):
    """Fails where ``TOY_FAILS`` is set."""

    def at_that_image(self) -> None:
        if os.environ.get("TOY_FAILS"):
            raise ValueError("the image is square")


class Counts(Blobs):
    """Keeps the number of images that it has seen, and gives scores that depend on it."""

    seen = 0

    def _instances(self, image: torch.Tensor) -> Instances:
        found = super()._instances(image)
        self.seen += 1
        found.scores = torch.tensor([0.9 / self.seen])
        return found
