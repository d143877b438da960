"""What a reader of figures must know of the data: told before anything is measured, and a note of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.data.cautions import cautions
from bench.data.dataset import CocoDataset
from bench.schema.config import MISSING, BenchConfig


def notes_on_data(dataset: CocoDataset, config: BenchConfig, passes: Sequence[str]) -> Iterator[str]:
    """Give what was repaired in a data set and, where ``passes`` measure an AP, what would mislead a reader of it."""
    yield from dataset.notes
    if "accuracy" in passes and config.trained:
        yield from cautions(dataset, config.protocol.max_detections)


def without_images(dataset: CocoDataset, config: BenchConfig) -> Iterator[str]:
    """Tell what a data set without images leads to.

    config: of a job, as it was given
    """
    if dataset.has_images:
        return
    given = config.dataset.images
    why = "no dataset.images" if given in (None, "", MISSING) else f"no folder {given} (dataset.images)"
    yield (
        f"{why}; results that exist already need none: panels are left out, and rows that are measured with images "
        f"count as another data set"
    )
