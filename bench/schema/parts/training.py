"""What a training before the measurement leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.files.bounds import Amount, Count


@dataclass
class FinetuneResult:
    """The training before the measurement.

    start: what it started from, in words
    iterations, epochs: of the whole training, as it was asked for; ``done`` says how many iterations there were
    done: iterations that were done; None in a result of before this was written down
    kept: iterations after which the last state was written, from which a training that was stopped goes on
    reinitialised: parameters that started with random values because they depend on the classes
    dataset_sha256: of the training annotations
    train_images: number of images that have something to learn in them
    curve: every ``log_every`` iterations {"iteration", "learning_rate", "total", <loss>: mean since the last entry}
    evaluations: {"iteration", "mask_ap", "mask_ap50"}, fractions, on the set that is measured
    best_iteration: the one of the best evaluation
    checkpoint: name of the file of weights that is measured afterwards, beside ``result.json``
    checkpoint_sha256: of that file as the training left it; None before there was this field
    seconds: wall time of the training, evaluations included, over all parts of a training that was resumed
    evaluation_seconds: the part of it that the evaluations took
    left_out: evaluations that were due after an epoch and were left out, since they would have taken too much time
    """

    start: str
    iterations: Count
    epochs: Amount
    train_images: Count
    dataset_sha256: str
    reinitialised: list[str] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float | None]] = field(default_factory=list)
    best_iteration: Count | None = None
    checkpoint: str | None = None
    images_per_second: Amount | None = None
    seconds: Amount | None = None
    done: Count | None = None
    kept: Count | None = None
    evaluation_seconds: Amount | None = None
    left_out: Count = 0
    checkpoint_sha256: str | None = None
