"""The predictions of every image of a dataset as COCO results, of a model that runs or of a class that replays them."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.data.images import ImageRecord, read_images
from bench.data.results.promise import normalised, refuse_results
from bench.data.results.reader import read_results
from bench.evaluation.overlaps import without_overlap
from bench.evaluation.rle import masks_to_rle, masks_without_overlap, overlaps_removed, run_starts
from bench.passes.background import done_ahead
from bench.passes.results import Found, Results, results_of
from bench.passes.shards.division import batches_of
from bench.predictor import Instances, ReplayPredictor, ResultsFile
from bench.schema.config import BenchConfig

if TYPE_CHECKING:  # they import torch, which a worker that replays results may do without
    import torch

    from bench.passes.runner import Runner

LOADING_THREADS = 2
BATCHES_AHEAD = 4
"""Threads that decode images, and batches that are decoded or being decoded before the model asks for them."""

Read = Callable[[Sequence[ImageRecord]], "list[np.ndarray]"]
"""Reads the images of a batch, as :func:`bench.data.images.read_images` does; several threads may call it at once."""


class Predictions(Protocol):
    """What gives the predictions of a dataset, batch by batch."""

    in_order: bool
    """Whether a batch's output must be turned into results before the next batch is asked for, in the same thread."""

    notes: Sequence[str]
    """What the row must say of them, a line each."""

    def outputs(self, images: Sequence[ImageRecord]) -> Iterator[tuple[Sequence[ImageRecord], Sequence[Any]]]:
        """Give for each batch of the images these, and what the model says of each."""

    def results(
        self, records: Sequence[ImageRecord], outputs: Sequence[Any], overlaps: Sequence[str]
    ) -> list[dict[str, Results]]:
        """Give the COCO results of each image of a batch, under each of ``overlaps``."""


class ModelPredictions:
    """The predictions of a model that runs.

    Files are read by other threads, before the model asks for them. A class that says ``stateless_preprocess`` also
    makes its host batches there, and its masks may wait to be encoded. Of any other class, all stages run in this
    thread, one batch after the other, and its output must be used before the next batch.

    labels: the dataset's category id of each label of the model; None for a class that the dataset lacks
    read: reads the images; it may leave that to other processes
    """

    notes: Sequence[str] = ()

    def __init__(
        self, model: Runner, labels: Sequence[Id | None], config: BenchConfig, read: Read = read_images
    ) -> None:
        self._model, self._labels, self._config, self._read = model, labels, config, read
        self.in_order = not model.predictor.stateless_preprocess

    def outputs(self, images: Sequence[ImageRecord]) -> Iterator[tuple[Sequence[ImageRecord], list[Instances]]]:
        """Give for each batch of the images these and their instances.

        Raises:
            ValueError: what the predictor gave breaks a promise of its interface, or its network gives NaN.
        """
        with self._model.refusing_nan():
            yield from self._outputs(images)

    def _outputs(self, images: Sequence[ImageRecord]) -> Iterator[tuple[Sequence[ImageRecord], list[Instances]]]:
        earlier: list[Instances] = []
        for records, batch in self._host_batches(images):
            outputs = self._model.model(batch)
            self._model.validate(records, outputs, self._config)
            if not self.in_order:
                outputs = self._own(outputs, earlier)
            yield records, outputs
            earlier = outputs

    def results(
        self, records: Sequence[ImageRecord], outputs: Sequence[Instances], overlaps: Sequence[str]
    ) -> list[dict[str, Results]]:
        """Give the COCO results of each image of a batch, under each of ``overlaps``."""
        batch = []
        for record, instances in zip(records, outputs, strict=True):
            rles = {"keep": masks_to_rle(instances.masks)}
            if "highest_score" in overlaps:
                rles["highest_score"] = overlaps_removed(instances.masks, rles["keep"])
            each = {overlap: to_results(instances, record.id, self._labels, rles[overlap]) for overlap in overlaps}
            batch.append(each)
        return batch

    def found(
        self, records: Sequence[ImageRecord], outputs: Sequence[Instances], overlaps: Sequence[str]
    ) -> list[Found]:
        """Give what was found in each image of a batch, for another process to make the results from.

        Overlaps are removed here only where the masks are on a device, which takes less time than another process's
        core would.
        """
        batch = []
        for record, instances in zip(records, outputs, strict=True):
            starts = {"keep": run_starts(instances.masks)}
            if "highest_score" in overlaps and instances.masks.device.type != "cpu":
                starts["highest_score"] = run_starts(masks_without_overlap(instances.masks))
            batch.append(Found(record.id, starts, instances.scores.tolist(), instances.labels.tolist()))
        return batch

    def _host_batches(self, images: Sequence[ImageRecord]) -> Iterator[tuple[Sequence[ImageRecord], Any]]:
        one_at_a_time = threading.Lock()

        def read(records: Sequence[ImageRecord]) -> tuple[Sequence[ImageRecord], list[np.ndarray]]:
            return records, self._read(records)

        def load(records: Sequence[ImageRecord]) -> tuple[Sequence[ImageRecord], Any]:
            decoded = self._read(records)
            with one_at_a_time:  # a predictor may be unsafe to call from two threads at once
                return records, self._model.preprocess(decoded)

        batches, begin = batches_of(images, self._config.batch_size), leaves_cores_to_the_model()
        if self.in_order:
            for records, decoded in done_ahead(read, batches, LOADING_THREADS, BATCHES_AHEAD, begin):
                yield records, self._model.preprocess(decoded)
        else:
            yield from done_ahead(load, batches, LOADING_THREADS, BATCHES_AHEAD, begin)

    def _own(self, outputs: Sequence[Instances], earlier: Sequence[Instances]) -> list[Instances]:
        """Give the outputs with scores and labels that no later call of the model can write into.

        Masks are too large to be copied for nothing, so they must not lie in the memory of the batch before.
        """
        written = {address for instances in earlier if (address := _address(instances.masks))}
        if any(_address(instances.masks) in written for instances in outputs):
            raise ValueError(
                f"{type(self._model.predictor).__name__}.postprocess: gave Instances.masks in the memory of the masks "
                f"of the batch before, must be new tensors; make them new, or leave stateless_preprocess at False"
            )
        return [dataclasses.replace(each, scores=each.scores.clone(), labels=each.labels.clone()) for each in outputs]


class ReplayedPredictions:
    """The predictions that a class replays: those of the results file that it names, or those that it gives itself.

    Raises:
        UserError: the file has a problem.
    """

    in_order = False

    def __init__(
        self, predictor: ReplayPredictor, dataset: CocoDataset, config: BenchConfig, file: ResultsFile | None = None
    ) -> None:
        """Prepare the predictions; ``file`` stands in the place of the predictor's own."""
        self._predictor, self._config = predictor, config
        self._categories = {category.id for category in dataset.categories}
        file = file or predictor.results_file
        read = None if file is None else read_results(file, dataset, config.dataset)
        self._left = None if read is None else read.by_image
        self.notes: Sequence[str] = () if read is None else read.notes
        self.places: Sequence[str] = () if read is None else read.places
        self.of_other_classes = 0 if read is None else read.of_other_classes

    def outputs(self, images: Sequence[ImageRecord]) -> Iterator[tuple[Sequence[ImageRecord], list[Results]]]:
        """Give for each batch of the images these, and the results of each, by falling score; once.

        Results of a file are kept no longer than until they are given, and columns of them no longer than until all are
        (:mod:`bench.data.results.plain`).

        Raises:
            ValueError: they break a promise of :meth:`ReplayPredictor.results`.
        """
        for records in batches_of(images, self._config.batch_size):
            if self._left is not None:
                yield records, [self._taken(record.id) for record in records]
                continue
            outputs = [self._predictor.results(record.id) for record in records]
            for record, results in zip(records, outputs, strict=True):
                refuse_results(results, record, self._categories, f"{type(self._predictor).__name__}.results")
            yield records, outputs
        if self._left is not None:
            self._left = {}  # columns are given up as a whole

    def _taken(self, image: Id) -> Results:
        assert self._left is not None
        return self._left.pop(image) if isinstance(self._left, dict) else self._left[image]

    def results(
        self, records: Sequence[ImageRecord], outputs: Sequence[Results], overlaps: Sequence[str]
    ) -> list[dict[str, Results]]:
        """Give the COCO results of each image of a batch, under each of ``overlaps``."""
        return [_replayed(results, record, overlaps) for record, results in zip(records, outputs, strict=True)]


def leaves_cores_to_the_model() -> Callable[[], None]:
    """Give the function that a thread beside the model's calls first: it limits torch to one core in that thread.

    torch's own loader threads do the same. A second pool of OpenMP threads would make the model's pool wait for a core
    at every step. Call this function in the model's thread.
    """
    import torch

    torch.get_num_threads()  # settles this thread's number, which otherwise would be the last one set in any thread
    return functools.partial(torch.set_num_threads, 1)


def to_results(
    instances: Instances, image_id: Id, labels: Sequence[Id | None], rles: Sequence[dict[str, Any]] | None = None
) -> Results:
    """Give instances as COCO results without ``bbox``, leaving out those of a class that the dataset lacks.

    rles: the masks as RLE, where the caller has encoded them already
    """
    if rles is None:
        rles = masks_to_rle(instances.masks)
    return results_of(image_id, rles, instances.scores.tolist(), instances.labels.tolist(), labels)


def _address(masks: torch.Tensor) -> int:
    """Give the address of the memory of masks; 0 where they have none."""
    return masks.untyped_storage().data_ptr() if masks.numel() else 0


def _replayed(entries: Results, record: ImageRecord, overlaps: Sequence[str]) -> dict[str, Results]:
    results = {"keep": [normalised(entry, record) for entry in entries]}
    if "highest_score" in overlaps:
        rles = without_overlap([entry["segmentation"] for entry in results["keep"]])
        results["highest_score"] = [
            {**entry, "segmentation": rle} for entry, rle in zip(results["keep"], rles, strict=True)
        ]
    return results
