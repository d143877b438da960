"""The accuracy pass: every image once, predictions on disk as they are made, COCO mask AP and what explains it.

The rules of COCO's mask AP that are ours to keep live here: results carry no ``bbox`` (see ``evaluation.evaluators``),
scores are not rounded, masks are binarised at full resolution.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord, read_images
from bench.data.results_file import normalised
from bench.evaluation import bootstrap, diagnosis
from bench.evaluation.average_precision import boundary_figures
from bench.evaluation.evaluators import EVALUATORS
from bench.evaluation.matching import Matcher
from bench.evaluation.rle import masks_to_rle, overlaps_removed, rles_without_overlap
from bench.passes.background import Background, done_ahead
from bench.passes.base import Context
from bench.passes.runner import Runner
from bench.predictor import Instances, Predictor, ReplayPredictor
from bench.schema.config import OVERLAPS, BenchConfig
from bench.schema.result import AccuracyResult

PREDICTIONS = "predictions.json"

LOADING_THREADS = 2
BATCHES_AHEAD = 4
"""Threads that decode images, and batches that are decoded or being decoded before the model asks for them."""

MASKS_AHEAD = 2
"""Batches whose full-size masks may wait to be encoded as RLE: 100 masks of 640x480 pixels take 30 MB."""

Results = list[dict[str, Any]]
"""COCO results of one image."""


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
    for records, outputs in _predictions(model, dataset, config):
        batch = _results(model, records, outputs, labels, config, [config.overlap])
        for record, results in zip(records, batch, strict=True):
            evaluator.update(record.id, results[config.overlap])
    return evaluator.figures()[0]


class AccuracyPass:
    """Evaluates every image of the dataset.

    Images are read and resized before the model asks for them. Masks are encoded as RLE and written, and detections are
    matched, while the model works on the next images.

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
        accuracy.seconds = time.monotonic() - began
        return accuracy


def _predict_and_evaluate(context: Context, evaluation: _Evaluation | None) -> int:
    """Write the predictions of every image and feed the evaluation with them; give the number of detections."""
    dataset, config, labels = context.dataset, context.config, context.labels
    overlaps = OVERLAPS if evaluation else (config.overlap,)
    model = context.predictor if isinstance(context.predictor, ReplayPredictor) else context.runner
    done = 0
    with (
        open_predictions(context.folder / PREDICTIONS) as predictions,
        Background(evaluation.update if evaluation else lambda *_: None) as evaluate,
    ):

        def conclude(records: Sequence[ImageRecord], outputs: list[Any]) -> None:
            batch = _results(model, records, outputs, labels, config, overlaps)
            for record, results in zip(records, batch, strict=True):
                predictions.write(results[config.overlap])
                evaluate(record.id, results)

        with Background(conclude, ahead=MASKS_AHEAD, begin=_leaves_cores_to_the_model()) as conclude_later:
            for records, outputs in _predictions(model, dataset, config):
                conclude_later(records, outputs)
                done += len(records)
                context.progress("accuracy", done, len(dataset.images), config.batch_size)
    return predictions.count


class _Evaluation:
    """Computes every figure of trained weights from results that come image by image."""

    def __init__(self, dataset: CocoDataset, config: BenchConfig) -> None:
        self._dataset = dataset
        self._config = config
        self._evaluators = {overlap: EVALUATORS[config.evaluator](dataset) for overlap in OVERLAPS}
        self._matcher = Matcher(dataset)

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
        result.figures, result.per_class = figures[self._config.overlap]
        result.overlap_mask_ap = {overlap: coco["mask_ap"] for overlap, (coco, _) in figures.items()}
        result.boundary_figures = boundary_figures(matches.boundaries())
        result.worst_images = diagnosis.worst_images(matches, image_ids)
        mask_ap = result.figures["mask_ap"]
        if mask_ap is not None:
            result.bootstrap = bootstrap.bootstrap(matches, dataset.sha256, image_ids, seed)
            result.confidence_interval = list(bootstrap.interval(result.bootstrap.mask_ap, mask_ap))
            result.errors, result.calibration = diagnosis.errors(matches), diagnosis.calibration(matches)


def _leaves_cores_to_the_model() -> Callable[[], None]:
    """Give the function that a thread beside the model's calls first: it limits torch to one core in that thread.

    torch's own loader threads do the same. A second pool of OpenMP threads would make the model's pool wait for a core
    at every step. Call this function in the model's thread.
    """
    torch.get_num_threads()  # settles this thread's number, which otherwise would be the last one set in any thread
    return functools.partial(torch.set_num_threads, 1)


def _batches(dataset: CocoDataset, config: BenchConfig) -> Iterator[Sequence[ImageRecord]]:
    for start in range(0, len(dataset.images), config.batch_size):
        yield dataset.images[start : start + config.batch_size]


def _predictions(
    model: Runner | ReplayPredictor, dataset: CocoDataset, config: BenchConfig
) -> Iterator[tuple[Sequence[ImageRecord], list[Any]]]:
    """Give for each batch its images and the model's output for each: :class:`Instances`, or the replayed results."""
    if isinstance(model, ReplayPredictor):
        for records in _batches(dataset, config):
            yield records, [model.results(record.id) for record in records]
        return
    one_at_a_time = threading.Lock()

    def load(records: Sequence[ImageRecord]) -> tuple[Sequence[ImageRecord], Any]:
        images = read_images(records)
        with one_at_a_time:  # a predictor may be unsafe to call from two threads at once
            return records, model.preprocess(images)

    begin = _leaves_cores_to_the_model()
    for records, batch in done_ahead(load, _batches(dataset, config), LOADING_THREADS, BATCHES_AHEAD, begin):
        yield records, model.model(batch)


def _results(
    model: Runner | ReplayPredictor,
    records: Sequence[ImageRecord],
    outputs: Sequence[Any],
    labels: Sequence[int | None],
    config: BenchConfig,
    overlaps: Sequence[str],
) -> list[dict[str, Results]]:
    """Give the COCO results of each image of one batch, under each of ``overlaps``.

    Raises:
        ValueError: what the predictor gave breaks a promise of its interface.
    """
    if isinstance(model, ReplayPredictor):
        return [_replayed(entries, record, overlaps) for record, entries in zip(records, outputs, strict=True)]
    model.validate(records, outputs, config.protocol.max_detections)
    batch = []
    for record, instances in zip(records, outputs, strict=True):
        rles = {"keep": masks_to_rle(instances.masks)}
        if "highest_score" in overlaps:
            rles["highest_score"] = overlaps_removed(instances.masks, rles["keep"])
        batch.append({overlap: to_results(instances, record.id, labels, rles[overlap]) for overlap in overlaps})
    return batch


def _replayed(entries: Results, record: ImageRecord, overlaps: Sequence[str]) -> dict[str, Results]:
    results = {"keep": [normalised(entry, record.height, record.width) for entry in entries]}
    if "highest_score" in overlaps:
        rles = rles_without_overlap([entry["segmentation"] for entry in results["keep"]])
        results["highest_score"] = [
            {**entry, "segmentation": rle} for entry, rle in zip(results["keep"], rles, strict=True)
        ]
    return results


def to_results(
    instances: Instances, image_id: int, labels: Sequence[int | None], rles: Sequence[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Give instances as COCO results without ``bbox``, leaving out those of a class that the dataset lacks.

    rles: the masks as RLE, where the caller has encoded them already
    """
    if rles is None:
        rles = masks_to_rle(instances.masks)
    triples = zip(rles, instances.scores.tolist(), instances.labels.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": labels[label], "segmentation": rle, "score": score}
        for rle, score, label in triples
        if labels[label] is not None
    ]


PASS = AccuracyPass()
