"""What a training before the measurement leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.files.bounds import Amount, Count


@dataclass
class FinetuneResult:
    """The training before the measurement.

    start: what it started from, in words
    reinitialised: parameters that started with random values because they depend on the classes
    dataset_sha256: of the training annotations
    train_images: number of images that have something to learn in them
    curve: every ``log_every`` iterations {"iteration", "learning_rate", "total", <loss>: mean since the last entry}
    evaluations: {"iteration", "mask_ap", "mask_ap50"}, fractions, on the set that is measured
    best_iteration: the one of the best evaluation
    checkpoint: name of the file of weights that is measured afterwards, beside ``result.json``
    seconds: wall time of the training, evaluations included, over all parts of a training that was resumed
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
