"""Training a predictor on a COCO-format dataset, one procedure for every library.

Each iteration draws from random streams that depend on the seed and its number alone, so a training that was killed
and resumed has the losses of one that was not.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data.dataset import CocoDataset, match_labels
from bench.device import machine
from bench.errors import UserError
from bench.passes import accuracy
from bench.passes.runner import AUTOCAST, Runner
from bench.predictor import Target
from bench.schema.config import SCHEDULE_EPOCHS, BenchConfig, FinetuneConfig
from bench.schema.result import FinetuneResult
from bench.training.data import TrainingSet, training_batches
from bench.training.initial_weights import Start
from bench.training.optimizer import build_optimizer, freeze_batch_norm, learning_rate, peak_rate, set_learning_rate
from bench.weights.save import read_state, write_state, write_weights

STATE = "training.pt"
LAST = "last.safetensors"
BEST = "best.safetensors"

CHECKPOINT_EVERY = 100
"""Iterations, where nobody says otherwise and an epoch is longer: what a kill may cost."""

OnProgress = Callable[..., None]
OnResult = Callable[[FinetuneResult], None]


@dataclass
class _Window:
    """What happened since the last entry of the curve."""

    sums: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    seconds: float = 0.0

    def add(self, losses: Mapping[str, float], seconds: float) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.iterations += 1
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        return {name: value / self.iterations for name, value in self.sums.items()}


class Training:
    """One training: model, optimiser and what has been seen of both so far.

    start: the predictor to train, on its device, and what it began from
    train, measured: what to learn from, and what the accuracy is measured on during and after it
    folder: gets ``last.safetensors`` and ``best.safetensors`` (by mask AP), with the classes, the configuration and the
        training set's sha256 in their metadata, and ``training.pt``, from which a killed training goes on
    save: called with the result so far, after each checkpoint

    Raises:
        UserError: nothing to learn from, or a training state that does not fit.
    """

    def __init__(
        self,
        start: Start,
        train: CocoDataset,
        measured: CocoDataset,
        config: BenchConfig,
        folder: Path,
        command: str,
        progress: OnProgress,
        save: OnResult,
    ) -> None:
        assert config.finetune is not None
        self._config, self._job, self._folder, self._command = config.finetune, config, folder, command
        self._predictor, self._measured, self._train = start.predictor, measured, train
        self._module = start.predictor.module
        self._device = torch.device(config.device)
        self._samples = TrainingSet(train, start.predictor.training_edges(), self._config)
        self._iterations = total_iterations(self._config, len(self._samples.images))
        self._frozen = self._config.batch_norm == "frozen" or (self._config.batch_norm == "auto" and start.from_weights)
        factor = self._config.backbone_lr_factor
        self._peak = peak_rate(self._config, start.from_weights)
        self._set_modes()
        self._optimizer = build_optimizer(
            self._module,
            start.predictor.backbone_prefix,
            factor if factor is not None else (0.1 if start.from_weights else 1.0),
            self._config,
        )
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "fp16")
        self._labels = match_labels(measured, start.predictor.classes, config.dataset.aliases)
        self._progress, self._save = progress, save
        self._window = _Window()
        self._done = 0
        images_an_iteration = self._config.batch_size * self._config.accumulate
        self.result = FinetuneResult(
            start=start.description,
            reinitialised=start.reinitialised,
            iterations=self._iterations,
            epochs=self._iterations * images_an_iteration / len(self._samples.images),
            train_images=len(self._samples.images),
            dataset_sha256=train.sha256,
            seconds=0.0,
        )
        if (folder / STATE).exists():
            self._resume()

    def run(self) -> FinetuneResult:
        """Train to the end, from wherever an earlier run stopped.

        Raises:
            UserError: a loss is not finite, or a checkpoint cannot be written; the last good one is kept.
        """
        config = self._config
        an_epoch = max(1, self._samples.batches_an_epoch // config.accumulate)
        evaluate_every = config.evaluate_every or an_epoch
        save_every = config.checkpoint_every or min(an_epoch, CHECKPOINT_EVERY)
        batches = training_batches(
            self._samples,
            config.batch_size,
            self._done * config.accumulate,
            self._iterations * config.accumulate,
            config.loader_processes,
        )
        began = time.monotonic()
        while self._done < self._iterations:
            losses = self._iteration(batches)
            self._window.add(losses, time.monotonic() - began)
            self._count(time.monotonic() - began)
            began = time.monotonic()
            self._done += 1
            last = self._done == self._iterations
            if self._done % config.log_every == 0 or last:
                self._log()
            if self._done % evaluate_every == 0 or last:
                self._evaluate()
            if self._done % save_every == 0 or last:
                self._count(time.monotonic() - began)
                began = time.monotonic()
                self._checkpoint()
        self.result.checkpoint = BEST if config.measure == "best" else LAST
        self._save(self.result)
        return self.result

    def _iteration(self, batches: Any) -> dict[str, float]:
        """One optimiser step; gives the losses by name and their ``total``, means over the accumulated batches."""
        self._set_modes()
        set_learning_rate(self._optimizer, self._rate(self._done))
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for part in range(self._config.accumulate):
            images, targets = next(batches)
            # After the loading: a loader draws from torch's stream when it starts, and a resumed one starts later.
            _seed_everything(self._config.seed, self._done * self._config.accumulate + part)
            for name, value in self._backward(images, targets).items():
                sums[name] = sums.get(name, 0.0) + value / self._config.accumulate
        if self._config.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._module.parameters(), self._config.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return sums

    def _backward(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, float]:
        dtype = AUTOCAST[self._job.precision]
        with torch.autocast(self._device.type, dtype=dtype, enabled=dtype is not None):
            losses = self._predictor.training_step(images, targets)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        # One transfer for all of them.
        values = torch.stack([*(loss.detach().float() for loss in losses.values()), total.detach()]).tolist()
        named = dict(zip([*losses, "total"], values, strict=True))
        self._refuse_what_is_not_finite(named)
        self._scaler.scale(total / self._config.accumulate).backward()
        return named

    def _refuse_what_is_not_finite(self, losses: Mapping[str, float]) -> None:
        broken = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
        if not broken:
            return
        last = self._folder / LAST
        kept = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint had been written yet"
        raise UserError(
            f"finetune: iteration {self._done + 1} of {self._iterations}: loss {broken[0]}; stopped, {kept}; lower "
            f"finetune.learning_rate or give finetune.clip_norm"
        )

    def _rate(self, iteration: int) -> float:
        return learning_rate(iteration, self._iterations, self._peak, self._config)

    def _set_modes(self) -> None:
        self._module.train()
        if self._frozen:
            freeze_batch_norm(self._module)

    def _count(self, seconds: float) -> None:
        self.result.seconds = (self.result.seconds or 0.0) + seconds

    def _log(self) -> None:
        config, window = self._config, self._window
        means = window.means()
        rate = window.iterations * config.batch_size * config.accumulate / max(window.seconds, 1e-9)
        self.result.images_per_second = rate
        entry = {
            "iteration": self._done,
            "learning_rate": self._rate(self._done - 1),
            **means,
        }
        self.result.curve.append(entry)
        words = " ".join(f"{name} {value:.4f}" for name, value in means.items())
        left = (self._iterations - self._done) * window.seconds / max(window.iterations, 1)
        print(
            f"iteration {self._done}/{self._iterations} lr {entry['learning_rate']:.2e} {words} "
            f"({rate:.1f} images/s, {left / 60:.0f} min left)",
            flush=True,
        )
        images = window.iterations * config.batch_size * config.accumulate
        shown = " ".join(f"{name} {value:.3f}" for name, value in means.items() if name != "total")
        self._progress("finetune", self._done, self._iterations, images, f"loss {means['total']:.3f} ({shown})")
        self._window = _Window()

    def _evaluate(self) -> None:
        """Mask AP on the measured set as it is now, and the best weights so far on disk."""
        self._module.eval()
        limit = self._config.evaluate_images
        figures = accuracy.mask_ap_of(
            Runner(self._predictor, self._device, self._job.precision),
            self._measured if limit is None else self._measured.first(limit),
            self._labels,
            self._job,
        )
        best = max((e["mask_ap"] or 0.0 for e in self.result.evaluations), default=-1.0)
        entry = {"iteration": self._done, "mask_ap": figures["mask_ap"], "mask_ap50": figures["mask_ap50"]}
        self.result.evaluations.append(entry)
        ap = figures["mask_ap"] or 0.0
        print(f"iteration {self._done}: mask AP {100 * ap:.1f}", flush=True)
        self._progress("finetune", self._done, self._iterations, 0, None, f"mask AP {100 * ap:.1f}")
        if ap > best:
            self.result.best_iteration = self._done
            write_weights(self._folder / BEST, *self._weights(), self._config.weights_dtype)

    def _weights(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The weights and the metadata beside them."""
        metadata = {
            "classes": json.dumps(list(self._predictor.classes), ensure_ascii=False),
            "command": self._command,
            "iteration": str(self._done),
            "seed": str(self._config.seed),
            "start": self.result.start,
            "training_seconds": f"{self.result.seconds:.0f}",
            "dataset": self._train.name,
            "dataset_sha256": self._train.sha256,
            "config": json.dumps(_portable(self._job)),
            "machine": json.dumps(machine.describe(self._device, self._predictor.packages)),
        }
        return self._module.state_dict(), metadata

    def _checkpoint(self) -> None:
        write_weights(self._folder / LAST, *self._weights(), self._config.weights_dtype)
        state = {
            "iteration": self._done,
            "model": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "window": asdict(self._window),
            "result": asdict(self.result),
        }
        write_state(self._folder / STATE, state)
        self._save(self.result)

    def _resume(self) -> None:
        path = self._folder / STATE
        state = read_state(path)
        try:
            self._module.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            self._window = _Window(**state["window"])
            self.result = FinetuneResult(**state["result"])
            self._done = state["iteration"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not the state of this training ({error}); delete it to begin anew") from error
        print(f"resumed after iteration {self._done}", flush=True)


def total_iterations(config: FinetuneConfig, images: int) -> int:
    """``iterations``, or the epochs of ``schedule`` on so many images."""
    if config.iterations is not None:
        return config.iterations
    return math.ceil(SCHEDULE_EPOCHS[config.schedule] * images / (config.batch_size * config.accumulate))


def _seed_everything(seed: int, batch: int) -> None:
    """Every source of chance that a library's losses may draw from, by the number of the batch."""
    mixed = int(np.random.SeedSequence([seed, batch]).generate_state(1)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed)
    random.seed(mixed)


def _portable(config: BenchConfig) -> dict[str, Any]:
    """The configuration as stored in a file that may be published: without the folders of this machine."""
    plain = asdict(config)
    plain["out"] = None
    plain["model"]["weights"] = Path(plain["model"]["weights"]).name
    for part in (plain["dataset"], plain["dataset"]["train"]):
        for key in ("images", "annotations"):
            part[key] = Path(part[key]).name if part[key] else None
    return plain
