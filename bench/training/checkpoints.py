"""The files of one training: its last and its best weights, and the state from which a killed training goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import CocoDataset
from bench.device import machine
from bench.predictor import Trainable
from bench.private.paths import publishable_config
from bench.private.texts import publishable
from bench.schema.config import BenchConfig
from bench.schema.parts.training import FinetuneResult
from bench.weights.save import read_state, write_state, write_weights

STATE = "training.pt"
LAST = "last.safetensors"
BEST = "best.safetensors"


class Checkpoints:
    """The files of one training in the folder of its row.

    ``last.safetensors`` and ``best.safetensors`` (by mask AP) hold the weights, and in their metadata the classes, the
    configuration, the command, the machine and the training set's SHA-256. ``training.pt`` holds the state.

    predictor: the model that is trained
    train: what it learns from
    job: the configuration, ``command`` the command line that started the training
    """

    def __init__(self, folder: Path, predictor: Trainable, train: CocoDataset, job: BenchConfig, command: str) -> None:
        assert job.finetune is not None
        self.folder = folder
        self.last = folder / LAST
        self.state = folder / STATE
        self._best = folder / BEST
        self._module = predictor.module
        self._classes, self._packages = list(predictor.classes), predictor.packages
        self._train = train
        self._job, self._config, self._command = job, job.finetune, command

    def write_best(self, iteration: int, result: FinetuneResult) -> None:
        """Write the weights as the best ones so far.

        Raises:
            UserError: a weight is not finite, or the file cannot be written; an older file stays as it was.
        """
        self._write_weights(self._best, iteration, result)

    def write_last(self, iteration: int, result: FinetuneResult, parts: Mapping[str, Any]) -> None:
        """Write the weights as the last ones, and the state: the weights, ``parts``, the iteration and the result.

        Raises:
            UserError: as :meth:`write_best`.
        """
        self._write_weights(self.last, iteration, result)
        state = {"iteration": iteration, "model": self._module.state_dict(), **parts, "result": asdict(result)}
        write_state(self.state, state)

    def read(self) -> dict[str, Any] | None:
        """Return the state of a training that was stopped, its tensors on the CPU; None where there is no such file.

        Raises:
            UserError: the file is damaged.
        """
        return read_state(self.state) if self.state.exists() else None

    def _write_weights(self, path: Path, iteration: int, result: FinetuneResult) -> None:
        metadata = {
            "classes": json.dumps(self._classes, ensure_ascii=False),
            "command": self._command,
            "iteration": str(iteration),
            "seed": str(self._config.seed),
            "start": result.start,
            "training_seconds": f"{result.seconds or 0.0:.0f}",
            "dataset": self._train.name,
            "dataset_sha256": self._train.sha256,
            "config": json.dumps(_portable(self._job)),
            "machine": json.dumps(machine.describe(torch.device(self._job.device), self._packages)),
        }
        write_weights(path, self._module.state_dict(), metadata, self._config.weights_dtype)


def _portable(config: BenchConfig) -> dict[str, Any]:
    """Return the configuration for a file that may be published: without the folders of this machine."""
    plain = publishable_config(asdict(config))
    plain["out"] = None
    return {key: publishable(value) for key, value in plain.items()}
