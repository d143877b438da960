"""The training of a predictor on a COCO-format dataset, by one procedure for every library.

The random streams of an iteration depend on the seed and the number of the iteration alone, so a training that was
killed and resumed has the losses of one that was not.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data.classes import match_labels
from bench.data.dataset import CocoDataset
from bench.errors import UserError
from bench.files.digests import sha256_of
from bench.passes import accuracy
from bench.passes.predictions import ModelPredictions
from bench.passes.runner import AUTOCAST, Runner
from bench.predictor import Target
from bench.schema.config import BenchConfig
from bench.schema.parts.training import FinetuneResult
from bench.training.checkpoints import BEST, LAST, Checkpoints
from bench.training.curve import OnProgress, Window, add_entry, start_text
from bench.training.data import TrainingSet, training_batches
from bench.training.evaluations import EvaluationPlan
from bench.training.initial_weights import Start
from bench.training.optimizer import (
    backbone_factor,
    build_optimizer,
    freeze_batch_norm,
    freezes_batch_norm,
    learning_rate,
    peak_rate,
    set_learning_rate,
    total_iterations,
)

CHECKPOINT_EVERY = 100
"""Iterations between two checkpoints where the configuration names none and an epoch is longer."""

OnResult = Callable[[FinetuneResult], None]


class Training:
    """One training: the model, its optimiser, and the result so far.

    start: the predictor to train, on its device, and what it began from
    train: what to learn from
    measured: what the mask AP is evaluated on, during the training and after it
    folder: where :class:`bench.training.checkpoints.Checkpoints` writes its files; a state in it is resumed
    command: the command line, for the metadata of the weights
    save: called with the result so far after each checkpoint

    Raises:
        UserError: there is nothing to learn from, or the state in ``folder`` is of another training.
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
        self._config, self._job = config.finetune, config
        self._predictor, self._measured = start.predictor, measured
        limit = self._config.evaluate_images
        self._evaluated = measured if limit is None else measured.first(limit)
        self._evaluation_seconds = 0.0
        self._module = start.predictor.module
        self._device = torch.device(config.device)
        self._samples = TrainingSet(train, start.predictor.training_edges(), self._config)
        self._images_an_iteration = self._config.batch_size * self._config.accumulate
        self._frozen = freezes_batch_norm(self._config, start.from_weights)
        self._peak = peak_rate(self._config, start.from_weights)
        self._set_modes()
        factor = backbone_factor(self._config, start.from_weights)
        self._optimizer = build_optimizer(self._module, start.predictor.backbone_prefix, factor, self._config)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "fp16")
        self._labels = match_labels(measured, start.predictor.classes, config.dataset.aliases)
        self._progress, self._save = progress, save
        self._files = Checkpoints(folder, start.predictor, train, config, command)
        self._window = Window()
        self._done = 0
        self.result = self._first_result(start, train)
        self._iterations = self.result.iterations
        if state := self._files.read():
            self._resume(state)

    def _first_result(self, start: Start, train: CocoDataset) -> FinetuneResult:
        images = len(self._samples.images)
        iterations = total_iterations(self._config, images)
        return FinetuneResult(
            start=start.description,
            reinitialised=start.reinitialised,
            iterations=iterations,
            epochs=iterations * self._images_an_iteration / images,
            train_images=images,
            dataset_sha256=train.sha256,
            seconds=0.0,
            done=0,
            evaluation_seconds=0.0,
        )

    def run(self) -> FinetuneResult:
        """Train to the end, from the beginning or from the state that was resumed.

        Raises:
            UserError: a loss is not finite, or a checkpoint cannot be written; the last good one is kept.
            ValueError: what the model predicts breaks a promise of its interface, told before anything is learned.
        """
        config = self._config
        an_epoch = max(1, self._samples.batches_an_epoch // config.accumulate)
        evaluations = EvaluationPlan(config, an_epoch, self._iterations)
        self._begin()
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
            self.result.done = self._done
            last = self._done == self._iterations
            if self._done % config.log_every == 0 or last:
                self._log()
            if last or (evaluations.is_due(self._done) and self._may_evaluate(evaluations)):
                self._evaluate()
            # An evaluation is no part of the next iteration, whose time tells the images per second.
            self._count(time.monotonic() - began)
            began = time.monotonic()
            if self._done % save_every == 0 or last:
                self._checkpoint()
        return self._finished()

    def _finished(self) -> FinetuneResult:
        """Give the result, saved, with the checkpoint that is to be measured."""
        self.result.checkpoint = BEST if self._config.measure == "best" else LAST
        self.result.checkpoint_sha256 = sha256_of(self._files.folder / self.result.checkpoint)
        self._save(self.result)
        return self.result

    def _begin(self) -> None:
        """Say what the training starts from, and let the model predict, before anything is learned."""
        text = start_text(self.result, self._config, self._job.batch_size)
        print(f"iteration {self._done}: {text}", flush=True)
        self._progress("finetune", self._done, self._iterations, 0, None, text)
        if self._done < self._iterations:
            self._check_first_batch()

    def _iteration(self, batches: Any) -> dict[str, float]:
        """Do one optimiser step; return the losses by name and their ``total``, means over the accumulated batches."""
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
        # One transfer from the device for all losses.
        values = torch.stack([*(loss.detach().float() for loss in losses.values()), total.detach()]).tolist()
        named = dict(zip([*losses, "total"], values, strict=True))
        self._refuse_what_is_not_finite(named)
        self._scaler.scale(total / self._config.accumulate).backward()
        return named

    def _refuse_what_is_not_finite(self, losses: Mapping[str, float]) -> None:
        wrong = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
        if not wrong:
            return
        last = self._files.last
        kept = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint had been written yet"
        raise UserError(
            f"finetune: iteration {self._done + 1} of {self._iterations}: loss {wrong[0]}; stopped, {kept}; lower "
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
        rate = self._rate(self._done - 1)
        add_entry(self.result, self._window, self._done, rate, self._images_an_iteration, self._progress)
        self._window = Window()

    def _check_first_batch(self) -> None:
        """Let the model predict the first images that it will be measured on, which checks what it gives."""
        self._module.eval()
        began = time.monotonic()
        model = Runner(self._predictor, self._device, self._job.precision)
        first = self._measured.images[: self._job.batch_size]
        list(ModelPredictions(model, self._labels, self._job).outputs(first))
        self._evaluation_seconds = (time.monotonic() - began) * len(self._evaluated.images) / len(first)

    def _may_evaluate(self, plan: EvaluationPlan) -> bool:
        """Tell whether an evaluation that is due costs little enough; count it where it does not."""
        spent = self.result.evaluation_seconds or 0.0
        training = max((self.result.seconds or 0.0) - spent, 1e-9)
        if plan.is_affordable(self._done, training, spent, self._evaluation_seconds):
            return True
        self.result.left_out += 1
        print(f"iteration {self._done}: not evaluated, which would take more than its share of the time", flush=True)
        return False

    def _evaluate(self) -> None:
        """Evaluate mask AP on the measured set, and write the weights where they are the best so far."""
        self._module.eval()
        began = time.monotonic()
        runner = Runner(self._predictor, self._device, self._job.precision)
        figures = accuracy.mask_ap_of(runner, self._evaluated, self._labels, self._job)
        self._evaluation_seconds = time.monotonic() - began
        self.result.evaluation_seconds = (self.result.evaluation_seconds or 0.0) + self._evaluation_seconds
        best = max((e["mask_ap"] or 0.0 for e in self.result.evaluations), default=-1.0)
        entry = {"iteration": self._done, "mask_ap": figures["mask_ap"], "mask_ap50": figures["mask_ap50"]}
        self.result.evaluations.append(entry)
        ap = figures["mask_ap"] or 0.0
        print(f"iteration {self._done}: mask AP {100 * ap:.1f}", flush=True)
        self._progress("finetune", self._done, self._iterations, 0, None, f"mask AP {100 * ap:.1f}")
        if ap > best:
            self.result.best_iteration = self._done
            self._files.write_best(self._done, self.result)

    def _checkpoint(self) -> None:
        parts = {
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "window": asdict(self._window),
        }
        self.result.kept = self._done
        self._files.write_last(self._done, self.result, parts)
        self._save(self.result)

    def _resume(self, state: Mapping[str, Any]) -> None:
        try:
            self._module.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            self._window = Window(**state["window"])
            self.result = FinetuneResult(**state["result"])
            self._done = state["iteration"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"{self._files.state}: not the state of this training ({error}); delete it to begin anew"
            ) from error
        print(f"resumed after iteration {self._done}", flush=True)


def _seed_everything(seed: int, batch: int) -> None:
    """Seed every random stream that a library's losses may draw from, by the number of the batch."""
    mixed = int(np.random.SeedSequence([seed, batch]).generate_state(1)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed)
    random.seed(mixed)
