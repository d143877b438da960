"""The facts of the training that came before a measurement."""

from __future__ import annotations

from bench.schema.parts.training import FinetuneResult

MAX_REINITIALISED = 6


def training_facts(training: FinetuneResult) -> list[tuple[str, str]]:
    """The facts of a training as pairs of a name and a text; what is not known is left out."""
    anew = training.reinitialised
    more = f" and {len(anew) - MAX_REINITIALISED} more" if len(anew) > MAX_REINITIALISED else ""
    listed = f"{', '.join(anew[:MAX_REINITIALISED])}{more}"
    kept, speed = kept_iteration(training), training.images_per_second
    facts = {
        "Start": training.start,
        "Begun anew": f"{len(anew)} parameters that depend on the classes: {listed}" if anew else "nothing",
        "Trained": f"{training.iterations} iterations, {training.epochs:.4g} epochs of {training.train_images} images",
        "Time": None if training.seconds is None else _duration(training.seconds),
        "Speed": None if speed is None else f"{speed:.1f} images/s",
        "Measured": None if kept is None else f"the weights of iteration {kept}, {training.checkpoint}",
        "SHA-256 of annotations": training.dataset_sha256,
    }
    return [(name, text) for name, text in facts.items() if text]


def kept_iteration(training: FinetuneResult) -> int | None:
    """The iteration whose weights were measured afterwards; None where the training did not come to its end."""
    if training.checkpoint is None:
        return None
    return training.best_iteration if training.checkpoint.startswith("best") else training.iterations


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
