"""The accuracy pass: every image once, predictions on disk as they are made, COCO mask AP and what explains it.

The rules of COCO's mask AP that are ours to keep live here: results carry no ``bbox`` (see ``evaluation.evaluators``),
scores are not rounded, masks are binarised at full resolution.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.evaluation.evaluators import EVALUATORS
from bench.passes.apart.evaluator import Task
from bench.passes.apart.process import ProcessDiedError
from bench.passes.apart.when import loaders_that_pay
from bench.passes.base import Context
from bench.passes.predicting.every_image import record_beside, record_here
from bench.passes.predictions import ModelPredictions, Predictions, ReplayedPredictions
from bench.passes.recording.evaluation import Evaluation, Given
from bench.passes.recording.predictions_file import close_after_death
from bench.passes.recording.recorder import recording
from bench.passes.shards.merged import MergedPredictions, ToMerge
from bench.predictor import Predictor, ReplayPredictor
from bench.schema.config import BenchConfig
from bench.schema.parts.accuracy import AccuracyResult, made_overlaps

if TYPE_CHECKING:  # it imports torch, which a worker that replays results may do without
    from bench.passes.runner import Runner

PREDICTIONS = "predictions.json"


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
    predictions and evaluates them. Else threads of this process do that. Of a row in shards
    (:mod:`bench.passes.shards`), other workers have predicted the images, and what these found is evaluated here.

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
        if context.to_merge is not None:
            notes, before = _of_shards(context, context.to_merge, accuracy)
        else:
            accuracy, notes, before = *_of_this_process(context, accuracy), 0.0
        for note in notes:
            context.note(note)
        accuracy.seconds = before + time.monotonic() - began
        return accuracy


def _of_this_process(context: Context, accuracy: AccuracyResult) -> tuple[AccuracyResult, Sequence[str]]:
    """Write the predictions of every image, evaluate them and complete the result; give it and notes on it."""
    config, images = context.config, context.dataset.images
    overlaps, path = made_overlaps(config, context.accuracy_parts), context.folder / PREDICTIONS
    if loaders := 0 if context.replay else loaders_that_pay(len(images), context.device):
        task = Task(Given.of(context), config.trained, path, overlaps)
        try:
            return record_beside(context, task, loaders, [images], accuracy)
        except ProcessDiedError:
            close_after_death(path)
            raise
    predictions = _predictions(context)
    for note in predictions.notes:
        context.note(note)
    evaluation = Evaluation(context) if config.trained else None
    if evaluation and isinstance(predictions, ReplayedPredictions):
        evaluation.replayed = predictions
    opened = recording(path, evaluation, config.overlap)
    return accuracy, record_here(context, predictions, opened, overlaps, [images], accuracy)


def _of_shards(context: Context, shards: ToMerge, accuracy: AccuracyResult) -> tuple[Sequence[str], float]:
    """Do the same with the predictions of all shards; give notes on the result, and the seconds that the shards took.

    The row's sources are then also those that only a shard has imported.
    """
    config, images = context.config, context.dataset.images
    overlaps = made_overlaps(config, context.accuracy_parts)
    predictions = MergedPredictions(shards, context.dataset, config.batch_size, overlaps)
    opened = recording(context.folder / PREDICTIONS, Evaluation(context) if config.trained else None, config.overlap)
    notes = record_here(context, predictions, opened, overlaps, [images], accuracy)
    context.result.sources = {**predictions.sources, **context.result.sources}
    return [*predictions.notes, *notes], predictions.seconds


def _predictions(context: Context) -> Predictions:
    if context.replay is not None:
        return ReplayedPredictions(context.replay, context.dataset, context.config)
    return ModelPredictions(context.runner, context.labels, context.config)


PASS = AccuracyPass()
