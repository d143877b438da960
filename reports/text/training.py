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
        "Trained": _trained(training),
        "Evaluated": _evaluated(training),
        "Time": None if training.seconds is None else _duration(training.seconds),
        "Speed": None if speed is None else f"{speed:.1f} images/s",
        "Measured": None if kept is None else f"the weights of iteration {kept}, {training.checkpoint}",
        "SHA-256 of annotations": training.dataset_sha256,
    }
    return [(name, text) for name, text in facts.items() if text]


def iterations_done(training: FinetuneResult) -> int:
    """How many iterations there were; of an older result that came to no end, those that its curve knows of."""
    if training.done is not None:
        return training.done
    if training.checkpoint is not None:
        return training.iterations
    return int(training.curve[-1]["iteration"]) if training.curve else 0


def _trained(training: FinetuneResult) -> str:
    done, asked = iterations_done(training), training.iterations
    epochs = f"{training.epochs * done / max(asked, 1):.4g} epochs of {training.train_images} images"
    if training.checkpoint is not None or done == asked:
        return f"{done} iterations, {epochs}"
    again = f"the same command goes on after iteration {training.kept}" if training.kept else "no state of it was kept"
    return f"{done} of {asked} iterations, {epochs}; it did not come to its end, and {again}"


def _evaluated(training: FinetuneResult) -> str | None:
    if training.evaluation_seconds is None or not training.evaluations:
        return None
    times = len(training.evaluations)
    text = f"{times} {'time' if times == 1 else 'times'}, which took {_duration(training.evaluation_seconds)} of it"
    if training.left_out:
        text += f"; {training.left_out} more would have taken too much of its time (finetune.evaluate_share)"
    return text


def kept_iteration(training: FinetuneResult) -> int | None:
    """The iteration whose weights were measured afterwards; None where the training did not come to its end."""
    if training.checkpoint is None:
        return None
    return training.best_iteration if training.checkpoint.startswith("best") else training.iterations


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
