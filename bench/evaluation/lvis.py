"""LVIS's rules of mask AP, as lvis-api has them: https://github.com/lvis-dataset/lvis-api (``lvis/eval.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.data.dataset import CocoDataset
from bench.data.forms.federation import FREQUENCIES
from bench.data.ids import Id
from bench.schema.parts.accuracy import LVIS_FIGURES


def within_limit(scores: np.ndarray, limit: int) -> np.ndarray:
    """Say which of the detections of an image, float64 (D,), are among the ``limit`` of the highest scores: bool (D,).

    Of equal scores the first in the results count (``LVISResults.limit_dets_per_image``).
    """
    within = np.zeros(len(scores), bool)
    within[np.argsort(-scores, kind="stable")[:limit]] = True
    return within


def first_by_score(results: Sequence[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """Give the ``limit`` results of an image with the highest scores, in their order."""
    within = within_limit(np.array([result["score"] for result in results], np.float64), limit)
    return [result for result, is_within in zip(results, within, strict=True) if is_within]


def numbered_keys(dataset: CocoDataset, image_id: Id, categories: Mapping[Id, int]) -> dict[str, list[int]]:
    """Give LVIS's keys of an image with categories under numbers of ours; those that were left out are not in them."""
    assert dataset.federation is not None
    absent, incomplete = dataset.federation.absent[image_id], dataset.federation.incomplete[image_id]
    return {
        "neg_category_ids": sorted(categories[one] for one in absent if one in categories),
        "not_exhaustive_category_ids": sorted(categories[one] for one in incomplete if one in categories),
    }


def lvis_figures(precision: np.ndarray, recall: np.ndarray, frequency: Sequence[str]) -> dict[str, float | None]:
    """Give :data:`LVIS_FIGURES` of what an evaluation has accumulated.

    Args:
        precision: (IoU, recall, category, area, limit), -1 where undefined
        recall: (IoU, category, area, limit), likewise
        frequency: of each category
    """
    words = np.array(frequency)
    by_frequency = [_mean(precision[:, :, words == word, 0, -1]) for word in FREQUENCIES]
    return dict(zip(LVIS_FIGURES, [*by_frequency, _mean(recall[..., 0, -1])], strict=True))


class Counted:
    """Which detections of an image count for AP, by index of the category."""

    def __init__(self, dataset: CocoDataset) -> None:
        assert dataset.federation is not None
        self._federation = dataset.federation
        self._index = {category.id: index for index, category in enumerate(dataset.categories)}

    def categories(self, image_id: Id, object_category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give for an image two arrays, bool (categories,): whether detections of a category count, and whether those
        that match no object are ignored.

        object_category: int (G,), of its objects
        """
        counted, lenient = np.zeros(len(self._index), bool), np.zeros(len(self._index), bool)
        counted[object_category] = True
        counted[self._places(self._federation.absent[image_id])] = True
        lenient[self._places(self._federation.incomplete[image_id])] = True
        return counted, lenient

    def _places(self, ids: frozenset[Id]) -> list[int]:
        return [self._index[one] for one in ids if one in self._index]


def _mean(values: np.ndarray) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None
