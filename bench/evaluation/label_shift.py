"""Labels that are shifted by one, as where a model counts its background as class 0 or a tool counts classes from 0.

Of the same kind are classes counted without gaps, on a set whose ids have some: 0 to 79 on COCO's 1 to 90.

Nothing else shows it: the masks are right, and AP is near 0. The overlaps of detections and objects hint at it
(:attr:`bench.evaluation.matching.Matches.alike_if`). Where they do, the predictions on disk are evaluated again.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.data.results.category_ids import FIRST, places
from bench.evaluation.evaluators import Evaluator
from bench.evaluation.matching import Matches

RISE = 0.20
"""By how much AP50 must rise for a shift to be told; a fraction."""


@dataclass(frozen=True)
class Shift:
    """Another reading of the categories of results.

    step: 1 where each category is read as the next one, -1 where as the one before, 0 where as a place
    of: what is counted: ``category_id``, ``category`` (the order of the data set's categories), ``class`` (the order
        of the model's classes), or the value of ``model.options.category_ids`` that reads places
    category: category id in the results -> the category that it is read as; some have none
    """

    step: int
    of: str
    category: Mapping[Id, Id]


def shifts(dataset: CocoDataset, labels: Sequence[Id | None] | None = None) -> list[Shift]:
    """Give the shifts by one that results may have, each once.

    Args:
        labels: the category id of each label of a model; None for results that no model of ours made
    """
    found: list[Shift] = []
    for step in (1, -1):
        if labels is not None:
            orders = {"class": _neighbours(labels, step)}
        else:
            ids = {category.id for category in dataset.categories}
            by_id: dict[Id, Id] = {i: i + step for i in ids if isinstance(i, int) and i + step in ids}
            orders = {
                "category_id": by_id,
                "category": _neighbours([category.id for category in dataset.categories], step),
            }
        for of, category in orders.items():
            if category and all(category != other.category for other in found):
                found.append(Shift(step, of, category))
    return found


def places_of(dataset: CocoDataset, offset: int = 0) -> list[Shift]:
    """Give the readings of the ids of a results file as places in the data set's categories.

    Args:
        offset: ``category_offset`` of the reading that is evaluated, which added it to the ids of the file
    """
    ids = {category.id for category in dataset.categories}
    readings = {way: places(ids, way) for way in FIRST}
    return [
        Shift(0, way, {one + offset: category for one, category in reading.items() if one + offset in ids})
        for way, reading in readings.items()
    ]


def _neighbours(order: Sequence[Id | None], step: int) -> dict[Id, Id]:
    pairs = itertools.pairwise(order)
    ordered = pairs if step > 0 else ((after, before) for before, after in pairs)
    return {one: other for one, other in ordered if one is not None and other is not None}


def likely_shift(
    matches: Matches, possible: Sequence[Shift], ways: Collection[str] = (), left_out: int = 0
) -> Shift | None:
    """Give the shift under which most detections lie on objects of their own category, where these are more than now.

    Args:
        possible: the readings that the matches were made with, in their order
        ways: the counts of places that the ids of the results file fit
        left_out: results that are in no match, since the data set lacks their category. They alone are a reason to look
            at a reading that has categories for them.
    """
    fit = [(int(matches.alike_if[n]), shift.step == 0, -n) for n, shift in enumerate(possible) if _fits(shift, ways)]
    if not fit:
        return None
    alike, _, place = max(fit)
    if alike > matches.alike:
        return possible[-place]
    of_places = [one for one in fit if one[1]]
    return possible[-max(of_places)[2]] if left_out and of_places else None


def _fits(shift: Shift, ways: Collection[str]) -> bool:
    return shift.step != 0 or shift.of in ways


def ap50_if(
    shift: Shift, evaluator: Evaluator, dataset: CocoDataset, results: Iterable[dict[str, Any]]
) -> float | None:
    """Evaluate all results under another reading; give AP50, a fraction. Results without a category then are left out.

    Args:
        evaluator: a new one of the data set
    """
    by_image: dict[Id, list[dict[str, Any]]] = {image.id: [] for image in dataset.images}
    for result in results:
        if (category := shift.category.get(result["category_id"])) is not None:
            by_image[result["image_id"]].append({**result, "category_id": category})
    for image_id, of_image in by_image.items():
        evaluator.update(image_id, of_image)
    return evaluator.figures()[0]["mask_ap50"]


def told(shift: Shift, ap50: float, shifted: float, offset: int | None = None) -> str:
    """Say in a sentence that labels seem to be shifted, with both AP50 and the remedy.

    Args:
        ap50, shifted: fractions, as it is and under the shift
        offset: ``model.options.category_offset`` of the class that replays the results; None for a class without it
    """
    if shift.step == 0:
        return _told_place(shift, ap50, shifted, offset)
    each = {"class": "label", "category": "category", "category_id": "category_id"}[shift.of]
    if shift.of == "category_id":
        under = f"{each} {'raised' if shift.step > 0 else 'lowered'} by 1"
    else:
        under = f"{each} as the {'next' if shift.step > 0 else 'previous'} one"
    if shift.of == "class":
        remedy = "check the order of model.classes (a model may count its background as class 0)"
    elif shift.of == "category_id" and offset is not None:
        remedy = f"give model.options.category_offset={offset + shift.step}"
    else:
        remedy = "write the results again with the category ids of the annotation file"
    return (
        f"the labels seem to be shifted by one: AP50 is {100 * ap50:.1f}, and would be {100 * shifted:.1f} with each "
        f"{under}; {remedy}"
    )


_OF_PLACES = {"index0": "model.options.category_ids=index0", "index1": "model.options.category_ids=index1"}
"""The key that reads places, as it is printed."""


def _told_place(shift: Shift, ap50: float, shifted: float, offset: int | None) -> str:
    remedy = f"give {_OF_PLACES[shift.of]}" + (" and leave category_offset out" if offset else "")
    if offset is None:
        remedy = "write the results again with the category ids of the annotation file"
    return (
        f"the classes seem to be counted without gaps: AP50 is {100 * ap50:.1f}, and would be {100 * shifted:.1f} with "
        f"each category_id as the place of a category by rising id, counted from {FIRST[shift.of]}; {remedy}"
    )
