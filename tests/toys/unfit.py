"""Classes that do not fit the way in which maskbench calls them, or ignore what it tells them."""

from __future__ import annotations

from typing import Any

import torch
from habits import NAMES, Bright

from bench.predictor import Settings, TorchPredictor, load_weights


class NoSettings(Bright):
    def __init__(self) -> None:
        pass


class NeedsLevel(Bright):
    def __init__(self, settings: Settings, level: float) -> None:
        super().__init__(settings)


class NoClasses(Bright):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        del self.classes


class OneClassAsText(Bright):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.classes = "circle"  # type: ignore[assignment]


class ListOfClasses(Bright):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.classes = list(NAMES)  # type: ignore[assignment]


def network() -> torch.nn.Sequential:
    """Give a network with 6 parameters of more than one value, and two that are constant while it is untrained."""
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 8, 3), torch.nn.Linear(5, 4)]
    return torch.nn.Sequential(*layers).eval()


class Network(Bright, TorchPredictor):
    """Loads its checkpoint as it should."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(settings, **options)
        self.module = network().to(settings.device)
        self.load(settings)

    def load(self, settings: Settings) -> None:
        if settings.checkpoint is not None:
            load_weights(self.module, settings.checkpoint)


class IgnoresWeights(Network):
    """Stays with its random weights, as a class does that loads a file of its own choice."""

    def load(self, settings: Settings) -> None:
        pass


class LooksAtWeights(Network):
    """Reads the checkpoint, and loads nothing: all its names are others, and ``strict`` is off."""

    def load(self, settings: Settings) -> None:
        if settings.checkpoint is not None:
            renamed = {f"model.{name}": tensor for name, tensor in settings.checkpoint.state_dict.items()}
            self.module.load_state_dict(renamed, strict=False)


class LoadsHalf(Network):
    """Loads its first two layers, and loses the others as it renames."""

    def load(self, settings: Settings) -> None:
        if settings.checkpoint is not None:
            begins = {name: tensor for name, tensor in settings.checkpoint.state_dict.items() if name[0] in "01"}
            self.module.load_state_dict(begins, strict=False)


class Wrapped(Network):
    """Keeps its network inside of another module, under other names."""

    def load(self, settings: Settings) -> None:
        super().load(settings)
        self.module = torch.nn.ModuleDict({"net": self.module})


class Halved(Network):
    def load(self, settings: Settings) -> None:
        super().load(settings)
        self.module.half()


class StillTraining(Network):
    def load(self, settings: Settings) -> None:
        super().load(settings)
        self.module.train()


class BrightIgnores(Bright):
    """Is of another runtime than torch, declares two precisions, and looks at no setting but the device."""

    precisions = ("fp32", "fp16")


class BrightReads(BrightIgnores):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.precision, self.weights = settings.precision, settings.checkpoint


class BrightKeeps(BrightIgnores):
    """May read its settings whenever it likes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings


def a_function(settings: Settings, **options: Any) -> Network:
    """Give a predictor, as a target may that is no class."""
    return Network(settings, **options)


def a_function_that_ignores(settings: Settings) -> IgnoresWeights:
    return IgnoresWeights(settings)
