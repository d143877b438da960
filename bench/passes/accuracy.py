"""The accuracy pass: every image once, predictions on disk as they are made, COCO mask AP and what explains it.

The rules of COCO's mask AP that are ours to keep live here: results carry no ``bbox`` (see ``evaluation.evaluators``),
scores are not rounded, masks are binarised at full resolution.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.evaluation import bootstrap, diagnosis
from bench.evaluation.average_precision import boundary_figures
from bench.evaluation.evaluators import EVALUATORS
from bench.evaluation.matching import Matcher
from bench.passes.background import Background
from bench.passes.base import Context
from bench.passes.predictions import (
    ModelPredictions,
    Predictions,
    ReplayedPredictions,
    Results,
    leaves_cores_to_the_model,
)
from bench.passes.runner import Runner
from bench.predictor import Predictor, ReplayPredictor
from bench.schema.config import OVERLAPS, BenchConfig
from bench.schema.result import AccuracyResult

PREDICTIONS = "predictions.json"

MASKS_AHEAD = 2
"""Batches whose full-size masks may wait to be encoded as RLE: 100 masks of 640x480 pixels take 30 MB."""


class PredictionsFile:
    """A COCO results file that is written as the predictions are made, one detection a line.

    If the process is killed, the file lacks only its closing bracket.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.count = 0

    def write(self, results: Sequence[dict[str, Any]]) -> None:
        for result in results:
            self._file.write((",\n" if self.count else "") + json.dumps(result))
            self.count += 1
        self._file.flush()


@contextlib.contextmanager
def open_predictions(path: Path) -> Iterator[PredictionsFile]:
    """Open a results file for writing; the array is closed when the block ends, also by an exception."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n")
        try:
            yield PredictionsFile(file)
        finally:
            file.write("\n]\n")


def mask_ap_of(
    model: Runner, dataset: CocoDataset, labels: Sequence[int | None], config: BenchConfig
) -> dict[str, float | None]:
    """Give the twelve figures of :data:`COCO_FIGURES` on every image of the dataset, as fractions; write no file.

    Training evaluates by this function; the module must be in eval mode.
    """
    evaluator = EVALUATORS[config.evaluator](dataset)
    predictions = ModelPredictions(model, labels, config)
    for records, outputs in predictions.outputs(dataset.images):
        batch = predictions.results(records, outputs, [config.overlap])
        for record, results in zip(records, batch, strict=True):
            evaluator.update(record.id, results[config.overlap])
    return evaluator.figures()[0]


class AccuracyPass:
    """Evaluates every image of the dataset.

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
        evaluation = _Evaluation(dataset, config) if config.trained else None
        accuracy = AccuracyResult(
            evaluator=config.evaluator,
            evaluator_version=importlib.metadata.version(config.evaluator),
            images_evaluated=len(dataset.images),
            images_in_dataset=dataset.total_images,
            detections=_predict_and_evaluate(context, evaluation),
            overlap=config.overlap,
            predictions=PREDICTIONS,
            figures_absent=None if evaluation else "weights: random",
        )
        if evaluation:
            evaluation.complete(accuracy)
            if not evaluation.scores_are_probabilities:
                context.note("accuracy: scores lie outside 0 to 1, so they are no probabilities: no calibration")
        accuracy.seconds = time.monotonic() - began
        return accuracy


def _predict_and_evaluate(context: Context, evaluation: _Evaluation | None) -> int:
    """Write the predictions of every image and feed the evaluation with them; give the number of detections."""
    dataset, config = context.dataset, context.config
    overlaps = OVERLAPS if evaluation else (config.overlap,)
    predictions = _predictions(context)
    done = 0
    with (
        open_predictions(context.folder / PREDICTIONS) as file,
        Background(evaluation.update if evaluation else lambda *_: None) as evaluate,
    ):

        def conclude(records: Sequence[ImageRecord], outputs: Sequence[Any]) -> None:
            batch = predictions.results(records, outputs, overlaps)
            for record, results in zip(records, batch, strict=True):
                file.write(results[config.overlap])
                evaluate(record.id, results)

        with Background(conclude, ahead=MASKS_AHEAD, begin=leaves_cores_to_the_model()) as conclude_later:
            for records, outputs in predictions.outputs(dataset.images):
                (conclude if predictions.in_order else conclude_later)(records, outputs)
                done += len(records)
                context.progress("accuracy", done, len(dataset.images), config.batch_size)
    return file.count


def _predictions(context: Context) -> Predictions:
    if isinstance(context.predictor, ReplayPredictor):
        return ReplayedPredictions(context.predictor, context.dataset, context.config)
    return ModelPredictions(context.runner, context.labels, context.config)


class _Evaluation:
    """Computes every figure of trained weights from results that come image by image."""

    def __init__(self, dataset: CocoDataset, config: BenchConfig) -> None:
        self._dataset = dataset
        self._config = config
        self._evaluators = {overlap: EVALUATORS[config.evaluator](dataset) for overlap in OVERLAPS}
        self._matcher = Matcher(dataset)
        self.scores_are_probabilities = True

    def update(self, image_id: int, results: dict[str, Results]) -> None:
        """Take the results of one image under each way with overlaps."""
        for overlap, evaluator in self._evaluators.items():
            evaluator.update(image_id, results[overlap])
        self._matcher.update(image_id, results[self._config.overlap])

    def complete(self, result: AccuracyResult) -> None:
        """Fill in all figures."""
        dataset, seed = self._dataset, self._config.protocol.seed
        image_ids = [image.id for image in dataset.images]
        figures = {overlap: evaluator.figures() for overlap, evaluator in self._evaluators.items()}
        matches = self._matcher.matches()
        self.scores_are_probabilities = diagnosis.are_probabilities(matches.score)
        result.figures, result.per_class = figures[self._config.overlap]
        result.overlap_mask_ap = {overlap: coco["mask_ap"] for overlap, (coco, _) in figures.items()}
        result.boundary_figures = boundary_figures(matches.boundaries())
        result.worst_images = diagnosis.worst_images(matches, image_ids)
        mask_ap = result.figures["mask_ap"]
        if mask_ap is not None:
            result.bootstrap = bootstrap.bootstrap(matches, dataset.sha256, image_ids, seed)
            result.confidence_interval = list(bootstrap.interval(result.bootstrap.mask_ap, mask_ap))
            result.errors, result.calibration = diagnosis.errors(matches), diagnosis.calibration(matches)


PASS = AccuracyPass()
