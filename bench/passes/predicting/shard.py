"""What the worker of a shard does: the accuracy pass on its share of the images, without any figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from bench.passes.apart.evaluator import Task
from bench.passes.apart.when import loaders_that_pay
from bench.passes.base import Context
from bench.passes.predicting.every_image import record_beside, record_here
from bench.passes.predictions import ModelPredictions
from bench.passes.recording.evaluation import Given
from bench.passes.shards import file
from bench.passes.shards.division import Shard, images_of, witnesses
from bench.passes.shards.file import Head, Recorded, Tail, shard_recording
from bench.schema.parts.accuracy import made_overlaps


def predict_shard(context: Context, shard: Shard, key: str, sources: Callable[[], Mapping[str, str]]) -> None:
    """Predict the images of a shard, and write its file into the folder of the context: whole, or not at all.

    key: see :class:`bench.passes.shards.file.Head`
    sources: gives the sources of the model once it has run

    Raises:
        ValueError, UserError: what the accuracy pass raises of these images.
    """
    began = time.monotonic()
    images, size = context.dataset.images, context.config.batch_size
    own = images_of(shard, images, size)
    overlaps = list(made_overlaps(context.config, context.accuracy_parts))
    head, path = Head(shard, key, overlaps, len(own)), context.folder / file.NAME
    file.begin(path, head)
    recorded = Recorded()
    runs = [run for run in (own, witnesses(shard, images, size)) if run]
    if loaders := loaders_that_pay(len(own), context.device):
        task = Task(Given.of(context), False, path, overlaps, of_shard=len(own))
        recorded, _ = record_beside(context, task, loaders, runs, recorded)
    else:
        predictions = ModelPredictions(context.runner, context.labels, context.config)
        record_here(context, predictions, shard_recording(path, len(own)), overlaps, runs, recorded)
    tail = Tail(recorded, time.monotonic() - began, dict(sources()), context.result.machine or {})
    file.finish(path, head, tail)
