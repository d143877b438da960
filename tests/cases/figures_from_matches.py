"""Computes COCO's twelve figures and the AP of each category from our matches, to compare with other evaluators."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bench.evaluation.average_precision import mean_precision, rankings
from bench.evaluation.matching import Matches
from bench.schema.parts.accuracy import COCO_FIGURES


def coco_figures(matches: Matches) -> dict[str, float | None]:
    """Give the twelve of :data:`COCO_FIGURES` as fractions; None where COCO defines none."""
    whole = mean_precision(matches)
    values = [_mean(whole), _mean(whole[:, 0]), _mean(whole[:, 5])]
    values += [_mean(mean_precision(matches, area)) for area in (1, 2, 3)]
    values += [_mean(_recall(_first(matches, limit), 0)) for limit in (1, 10, 100)]
    values += [_mean(_recall(matches, area)) for area in (1, 2, 3)]
    return dict(zip(COCO_FIGURES, values, strict=True))


def per_class(matches: Matches, names: Sequence[str]) -> dict[str, float | None]:
    """Give the AP of each category by its name; ``names`` are in the order of the category ids."""
    return {name: _mean(row) for name, row in zip(names, mean_precision(matches), strict=True)}


def _recall(matches: Matches, area: int) -> np.ndarray:
    """Give the recall of each category at each IoU threshold, float64 (categories, T), NaN without objects."""
    recall = []
    for ranking in rankings(matches, area):
        total = ranking.positives.sum()
        recall.append(ranking.positive.sum(axis=0) / total if total else np.full(ranking.positive.shape[1], np.nan))
    return np.stack(recall)


def _first(matches: Matches, limit: int) -> Matches:
    """Give the matches of the first ``limit`` detections of each image and category, ordered by falling score."""
    group = matches.image.astype(np.int64) * matches.categories + matches.category
    kept = np.arange(len(group)) - np.searchsorted(group, group) < limit
    fields = ("image", "category", "score", "matched", "ignored")
    return dataclasses.replace(matches, **{name: getattr(matches, name)[kept] for name in fields})


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None
