"""Has a model predict images once, and what it found recorded: in threads of its process, or in processes beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, Protocol, TypeVar

from bench.data.ids import Id
from bench.data.images import ImageRecord
from bench.passes.apart.evaluator import EvaluatorApart, Task
from bench.passes.apart.loaders import Loaders
from bench.passes.background import Background
from bench.passes.base import Context
from bench.passes.predictions import ModelPredictions, Predictions, leaves_cores_to_the_model
from bench.passes.results import Results

MASKS_AHEAD = 2
"""Batches whose full-size masks may wait to be encoded as RLE: 100 masks of 640x480 pixels take 30 MB."""

Runs = Sequence[Sequence[ImageRecord]]
"""Images to predict: one run after the other, each divided into batches by itself."""

R = TypeVar("R")


class AnyRecorder(Protocol):
    """What takes the results of images: :class:`bench.passes.recording.recorder.Recorder`, or that of a shard."""

    def write(self, image_id: Id, results: dict[str, Results]) -> None:
        """Write the results of one image, under each way with overlaps."""

    def evaluate(self, image_id: Id, results: dict[str, Results]) -> None:
        """Feed the evaluation with the results of one image."""

    def complete(self, result: Any) -> list[str]:
        """Fill in what the result lacks, and give what the row must say of it, a line each."""


def record_here(
    context: Context,
    predictions: Predictions,
    opened: AbstractContextManager[AnyRecorder],
    overlaps: Sequence[str],
    runs: Runs,
    result: Any,
) -> list[str]:
    """Predict all images, and record them in threads of this process; complete the result and give notes on it.

    overlaps: the ways with overlaps under which results are made
    """
    with opened as recorder, Background(recorder.evaluate) as evaluate:

        def conclude(records: Sequence[ImageRecord], outputs: Sequence[Any]) -> None:
            batch = predictions.results(records, outputs, overlaps)
            for record, results in zip(records, batch, strict=True):
                recorder.write(record.id, results)
                evaluate(record.id, results)

        _predict(context, predictions, runs, conclude)
    return recorder.complete(result)


def record_beside(context: Context, task: Task, loaders: int, runs: Runs, result: R) -> tuple[R, list[str]]:
    """Do the same with other processes: as many ``loaders`` read the images, another one does the ``task``.

    The completed result is another object: it comes from that process.

    Raises:
        ProcessDiedError: one of them has ended. The file is closed by then.
    """
    with closing(EvaluatorApart(task)) as evaluator, closing(Loaders(loaders)) as reading:
        predictions = ModelPredictions(context.runner, context.labels, context.config, reading.read)

        def conclude(records: Sequence[ImageRecord], outputs: Sequence[Any]) -> None:
            for found in predictions.found(records, outputs, task.overlaps):
                evaluator.take(found)

        _predict(context, predictions, runs, conclude)
        return evaluator.complete(result)


def _predict(
    context: Context,
    predictions: Predictions,
    runs: Runs,
    conclude: Callable[[Sequence[ImageRecord], Sequence[Any]], None],
) -> None:
    """Have every image predicted, and ``conclude`` each batch, in another thread where its output may wait."""
    total, done = sum(map(len, runs)), 0
    begin = leaves_cores_to_the_model() if isinstance(predictions, ModelPredictions) else None
    with Background(conclude, ahead=MASKS_AHEAD, begin=begin) as conclude_later:
        for images in runs:
            for records, outputs in predictions.outputs(images):
                (conclude if predictions.in_order else conclude_later)(records, outputs)
                done += len(records)
                context.progress("accuracy", done, total, context.config.batch_size)
