"""The COCO results of one image. This module imports no torch, so that a process without it can make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.ids import Id
from bench.evaluation.overlaps import without_overlap
from bench.evaluation.rle import RunStarts

Results = list[dict[str, Any]]
"""COCO results of one image."""


@dataclass(frozen=True)
class Found:
    """What a model has found in one image, in host memory. It can be sent to another process.

    starts: of the N masks, by the way with overlaps; ``highest_score`` may be absent, and is then made from RLE
    scores: N
    labels: N, the model's own
    """

    image_id: Id
    starts: Mapping[str, RunStarts]
    scores: Sequence[float]
    labels: Sequence[int]

    def results(self, labels: Sequence[Id | None], overlaps: Sequence[str]) -> dict[str, Results]:
        """Give the COCO results under each of ``overlaps``, without those of a class that the dataset lacks.

        labels: the dataset's category id of each label of the model; None for a class that the dataset lacks
        """
        rles = {overlap: starts.rles() for overlap, starts in self.starts.items()}
        if "highest_score" in overlaps and "highest_score" not in rles:
            rles["highest_score"] = without_overlap(rles["keep"])
        return {o: results_of(self.image_id, rles[o], self.scores, self.labels, labels) for o in overlaps}


def results_of(
    image_id: Id,
    rles: Sequence[dict[str, Any]],
    scores: Sequence[float],
    labels: Sequence[int],
    categories: Sequence[Id | None],
) -> Results:
    """Give the instances of one image as COCO results without ``bbox``.

    categories: the dataset's category id of each label; instances of a class without one are left out
    """
    return [
        {"image_id": image_id, "category_id": categories[label], "segmentation": rle, "score": score}
        for rle, score, label in zip(rles, scores, labels, strict=True)
        if categories[label] is not None
    ]
