"""The accuracy pass: every image once, predictions on disk as they are made, COCO mask AP and what explains it.

The rules of COCO's mask AP that are ours to keep live here: results carry no ``bbox`` (see ``evaluation.evaluators``),
scores are not rounded, masks are binarised at full resolution.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.data.images import ImageRecord
from bench.evaluation.evaluators import EVALUATORS
from bench.passes.apart.evaluator import EvaluatorApart, Task
from bench.passes.apart.loaders import Loaders
from bench.passes.apart.process import ProcessDiedError
from bench.passes.apart.when import loaders_that_pay
from bench.passes.background import Background
from bench.passes.base import Context
from bench.passes.predictions import (
    ModelPredictions,
    Predictions,
    ReplayedPredictions,
    leaves_cores_to_the_model,
)
from bench.passes.recording.evaluation import Evaluation, Given, evaluated_overlaps
from bench.passes.recording.predictions_file import close_after_death
from bench.passes.recording.recorder import recording
from bench.predictor import Predictor, ReplayPredictor
from bench.schema.config import BenchConfig
from bench.schema.parts.accuracy import AccuracyResult

if TYPE_CHECKING:  # it imports torch, which a worker that replays results may do without
    from bench.passes.runner import Runner

PREDICTIONS = "predictions.json"

MASKS_AHEAD = 2
"""Batches whose full-size masks may wait to be encoded as RLE: 100 masks of 640x480 pixels take 30 MB."""


def mask_ap_of(
    model: Runner, dataset: CocoDataset, labels: Sequence[Id | None], config: BenchConfig
) -> dict[str, float | None]:
    """Give the twelve figures of :data:`COCO_FIGURES` on every image of the dataset, as fractions; write no file.

    Training evaluates by this function; the module must be in eval mode.
    """
    evaluator = EVALUATORS[config.evaluator](dataset, config.protocol.max_detections)
    predictions = ModelPredictions(model, labels, config)
    for records, outputs in predictions.outputs(dataset.images):
        batch = predictions.results(records, outputs, [config.overlap])
        for record, results in zip(records, batch, strict=True):
            evaluator.update(record.id, results[config.overlap])
    return evaluator.figures()[0]


class AccuracyPass:
    """Evaluates every image of the dataset.

    Where it pays (:mod:`bench.passes.apart.when`), other processes read the images, and one makes RLE, writes the
    predictions and evaluates them. Else threads of this process do that.

    Images are read before the model asks for them, and detections are matched while it works on the next images. Of a
    class that says ``stateless_preprocess``, images are resized beforehand too, and masks are encoded and written
    meanwhile.

    The masks of an image are dropped once it is matched. With hotcoco about 200 bytes a detection are kept (62 by the
    matcher, 70 for each way with overlaps), and 300 while the figures are computed: 92 MB in all for 5,000 images with
    180,000 detections. pycocotools keeps all results until the end.
    """

    def applies(self, predictor: Predictor | ReplayPredictor) -> bool:
        """Give True: every model has predictions, also one that exists only as these."""
        return True

    def measure(self, context: Context) -> AccuracyResult:
        """Write the predictions to disk, and give the figures of trained weights.

        Random weights have no AP: their figures stay None, and their predictions are still written, for the panels.
        """
        began = time.monotonic()
        dataset, config = context.dataset, context.config
        accuracy = AccuracyResult(
            evaluator=config.evaluator,
            evaluator_version=importlib.metadata.version(config.evaluator),
            images_evaluated=len(dataset.images),
            images_in_dataset=dataset.total_images,
            detections=0,
            overlap=config.overlap,
            predictions=PREDICTIONS,
            figures_absent=None if config.trained else "weights: random",
            max_detections=config.protocol.max_detections,
            parts=context.accuracy_parts if config.trained else [],
        )
        loaders = 0 if context.replay else loaders_that_pay(len(dataset.images), context.device)
        if loaders:
            accuracy, notes = _beside_processes(context, accuracy, loaders)
        else:
            notes = _in_this_process(context, accuracy)
        for note in notes:
            context.note(note)
        accuracy.seconds = time.monotonic() - began
        return accuracy


def _in_this_process(context: Context, accuracy: AccuracyResult) -> Sequence[str]:
    """Write the predictions of every image, evaluate them in threads and complete the result; give notes on it."""
    config = context.config
    predictions = _predictions(context)
    for note in predictions.notes:
        context.note(note)
    evaluation = Evaluation(context) if config.trained else None
    if evaluation and isinstance(predictions, ReplayedPredictions):
        evaluation.replayed = predictions
    with (
        recording(context.folder / PREDICTIONS, evaluation, config.overlap) as recorder,
        Background(recorder.evaluate) as evaluate,
    ):

        def conclude(records: Sequence[ImageRecord], outputs: Sequence[Any]) -> None:
            batch = predictions.results(records, outputs, _overlaps(context))
            for record, results in zip(records, batch, strict=True):
                recorder.write(results)
                evaluate(record.id, results)

        _predict(context, predictions, conclude)
    return recorder.complete(accuracy)


def _beside_processes(context: Context, accuracy: AccuracyResult, loaders: int) -> tuple[AccuracyResult, Sequence[str]]:
    """Do the same with other processes that read the images, write the predictions and evaluate them.

    The completed result is another object: it comes from the process that evaluates.
    """
    config = context.config
    task = Task(Given.of(context), config.trained, context.folder / PREDICTIONS, _overlaps(context))
    with closing(EvaluatorApart(task)) as evaluator, closing(Loaders(loaders)) as reading:
        predictions = ModelPredictions(context.runner, context.labels, config, reading.read)

        def conclude(records: Sequence[ImageRecord], outputs: Sequence[Any]) -> None:
            for found in predictions.found(records, outputs, _overlaps(context)):
                evaluator.take(found)

        try:
            _predict(context, predictions, conclude)
            return evaluator.complete(accuracy)
        except ProcessDiedError:
            evaluator.close()  # nothing writes into the file any more
            close_after_death(task.predictions)
            raise


def _predict(
    context: Context, predictions: Predictions, conclude: Callable[[Sequence[ImageRecord], Sequence[Any]], None]
) -> None:
    """Have the model predict every image, and ``conclude`` each batch, in another thread where its output may wait."""
    images, done = context.dataset.images, 0
    begin = None if context.replay else leaves_cores_to_the_model()
    with Background(conclude, ahead=MASKS_AHEAD, begin=begin) as conclude_later:
        for records, outputs in predictions.outputs(images):
            (conclude if predictions.in_order else conclude_later)(records, outputs)
            done += len(records)
            context.progress("accuracy", done, len(images), context.config.batch_size)


def _overlaps(context: Context) -> Sequence[str]:
    """Give the ways with overlaps under which results are made."""
    return evaluated_overlaps(context) if context.config.trained else (context.config.overlap,)


def _predictions(context: Context) -> Predictions:
    if context.replay is not None:
        return ReplayedPredictions(context.replay, context.dataset, context.config)
    return ModelPredictions(context.runner, context.labels, context.config)


PASS = AccuracyPass()
