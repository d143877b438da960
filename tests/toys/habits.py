"""Classes of a user, each with one habit of real inference code. All find the pixels brighter than an image's mean."""

from __future__ import annotations

import argparse
import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from bench.predictor import Instances, Predictor, Settings

NAMES = ("circle", "square", "triangle", "star", "ring", "bar")


class Bright(Predictor):
    """Keeps every promise. It is no TorchPredictor, as most first attempts are not."""

    def __init__(self, settings: Settings, sleep_ms: float = 0.0, **options: Any) -> None:
        self.classes = settings.classes or NAMES
        self.device = settings.device
        self.sleep_ms = sleep_ms

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).float().mean(-1) for image in images]

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        time.sleep(self.sleep_ms / 1000)
        return [image.to(self.device) for image in batch]

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        return [self.one(image) for image in raw]

    def one(self, gray: torch.Tensor) -> Instances:
        height, width = gray.shape
        return Instances(
            masks=(gray > gray.mean())[None],
            boxes=torch.tensor([[0.0, 0.0, width, height]]),
            scores=torch.tensor([0.9]),
            labels=torch.tensor([0]),
        )


class FloatMasks(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        found.masks = found.masks.float()
        return found


class HalfScores(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        found.scores = found.scores.half()
        return found


class NanScores(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        found.scores = torch.tensor([float("nan")])
        return found


class NanBoxes(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        found.boxes = found.boxes * float("nan")
        return found


class Unsorted(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        masks, boxes = found.masks.repeat(2, 1, 1), found.boxes.repeat(2, 1)
        return Instances(masks, boxes, torch.tensor([0.1, 0.9]), torch.tensor([0, 0]))


class LabelTooBig(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        found.labels = torch.tensor([17])
        return found


class TooMany(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        found, n = super().one(gray), 300
        masks, boxes = found.masks.repeat(n, 1, 1), found.boxes.repeat(n, 1)
        return Instances(masks, boxes, torch.full((n,), 0.5), torch.zeros(n, dtype=torch.int64))


class Nothing(Bright):
    def one(self, gray: torch.Tensor) -> Instances:
        masks = torch.zeros((0, *gray.shape), dtype=torch.bool)
        return Instances(masks, torch.zeros((0, 4)), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


class OnlyFirst(Bright):
    """Answers only the first image of a batch."""

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        return [self.one(raw[0])]


class Remembers(Bright):
    """Keeps the sizes that preprocess saw, to scale the masks back in postprocess, as many inference wrappers do."""

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        self.sizes = [image.shape[:2] for image in images]
        return [interpolate(gray[None, None], (128, 128))[0, 0] for gray in super().preprocess(images)]

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        return [self.one(interpolate(r[None, None], s)[0, 0]) for r, s in zip(raw, self.sizes, strict=True)]


class RemembersMeans(Bright):
    """Keeps the mean of each image, which belongs to it alone even where all images have one size."""

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        gray = super().preprocess(images)
        self.means = [image.mean() for image in gray]
        return gray

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        return [self.one((image > mean).float()) for image, mean in zip(raw, self.means, strict=True)]


class RaisesInInit(Bright):
    def __init__(self, settings: Settings) -> None:
        raise ValueError("num_classes must be 7, got 6")


class OwnArguments(Bright):
    """Reads the command line with argparse of its own."""

    def __init__(self, settings: Settings) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--conf", type=float, required=True)
        parser.parse_args(["--no-such"])
        super().__init__(settings)


class Exits(Bright):
    def __init__(self, settings: Settings) -> None:
        sys.exit("licence key missing")


class Asks(Bright):
    def __init__(self, settings: Settings) -> None:
        input("licence key: ")
        super().__init__(settings)


class Crashes(Bright):
    def __init__(self, settings: Settings) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(Bright):
    def __init__(self, settings: Settings, seconds: float = 600.0) -> None:
        time.sleep(seconds)
        super().__init__(settings)


class OsPrints(Bright):
    """A command that it runs prints to descriptor 1, as a C library does."""

    def __init__(self, settings: Settings) -> None:
        os.system("echo MyNet v3")
        super().__init__(settings)


class PrintsAtExit(Bright):
    def __init__(self, settings: Settings) -> None:
        atexit.register(print, "run finished, see you")
        super().__init__(settings)


class ChangesFolder(Bright):
    def __init__(self, settings: Settings) -> None:
        os.chdir("/")
        super().__init__(settings)


class Daemon(Bright):
    """Starts a helper process that lives on."""

    def __init__(self, settings: Settings, seconds: int = 45) -> None:
        super().__init__(settings)
        self.server = subprocess.Popen(["sleep", str(seconds)])


class SessionDaemon(Bright):
    """Starts a helper process in a session of its own."""

    def __init__(self, settings: Settings, seconds: int = 45) -> None:
        super().__init__(settings)
        self.server = subprocess.Popen(["sleep", str(seconds)], start_new_session=True)


class PoolUser(Bright):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pool = multiprocessing.get_context("fork").Pool(1)


class MissingOwn(Bright):
    def __init__(self, settings: Settings) -> None:
        import my_helpres  # type: ignore[import-not-found] # noqa: F401 - a misspelt module of the user's own


class ForkDies(Bright):
    """A forked child keeps all descriptors open; then the process itself dies."""

    def __init__(self, settings: Settings, after: int = 3) -> None:
        super().__init__(settings)
        self.left, self.child = after, 0

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        if not self.child:
            self.child = os.fork()
            if self.child == 0:
                time.sleep(120)
                os._exit(0)
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().forward(batch)
