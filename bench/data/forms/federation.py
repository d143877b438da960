"""Which categories of LVIS were looked for in which image (Gupta et al. 2019, https://arxiv.org/abs/1908.03195).

Nobody looked for all of its 1,203 categories in each image. So a detection counts only where its category has an object
in the image or is known to be absent, and one that matches no object of a category that is not exhaustively annotated
there counts as neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.bounds import quoted
from bench.data.findings import Findings, Kind
from bench.data.ids import Id, as_id

ABSENT, INCOMPLETE = "neg_category_ids", "not_exhaustive_category_ids"

KEYS = Kind(
    "lvis_keys",
    f"images without {ABSENT} or {INCOMPLETE}",
    "each image of LVIS must have both, as lists of ids of categories",
)
NO_CATEGORY = Kind(
    "lvis_no_category", f"ids in {ABSENT} or {INCOMPLETE} that no category has", "must be ids of categories of the file"
)
FREQUENCY = Kind("lvis_frequency", "categories without a frequency", "must be r, c or f (rare, common, frequent)")
CROWD = Kind("lvis_crowd", "annotations with iscrowd: 1", "LVIS has no crowds; leave them out")

FREQUENCIES = ("r", "c", "f")
"""LVIS's words for rare, common and frequent: categories in 1 to 10, in 11 to 100, and in more training images."""


@dataclass(frozen=True)
class Federation:
    """What an LVIS file says of its images and categories.

    absent: image -> categories that somebody looked for and that are not there
    incomplete: image -> categories of which not all objects are annotated
    frequency: category -> one of :data:`FREQUENCIES`
    """

    absent: Mapping[Id, frozenset[Id]]
    incomplete: Mapping[Id, frozenset[Id]]
    frequency: Mapping[Id, str]


def federation(
    images: Sequence[Mapping[str, Any]],
    categories: Iterable[Mapping[str, Any]],
    annotations: Iterable[Mapping[str, Any]],
    known: Collection[Id],
    findings: Findings,
) -> Federation:
    """Read LVIS's keys of the entries of a file whose ids are right, and add what is wrong to ``findings``.

    known: ids of all categories, also of those that were left out
    """
    lists: dict[str, dict[Id, frozenset[Id]]] = {ABSENT: {}, INCOMPLETE: {}}
    for image in images:
        place = f"image {quoted(image['id'])}"
        for key, of_image in lists.items():
            given = image.get(key)
            if not isinstance(given, list):
                findings.problem(KEYS, f"{place}: {key} is {quoted(given)}")
                continue
            ids = [as_id(value) for value in given]
            for value in (value for value, identity in zip(given, ids, strict=True) if identity not in known):
                findings.problem(NO_CATEGORY, f"{place}: {key} has {quoted(value)}")
            of_image[image["id"]] = frozenset(identity for identity in ids if identity is not None)
    frequency = {}
    for category in categories:
        if (word := category.get("frequency")) not in FREQUENCIES:
            findings.problem(FREQUENCY, f"category {quoted(category['id'])}: frequency is {quoted(word)}")
        else:
            frequency[category["id"]] = word
    for annotation in annotations:
        if annotation.get("iscrowd"):
            findings.problem(CROWD, f"annotations[{annotation['id'] - 1}]")
    return Federation(lists[ABSENT], lists[INCOMPLETE], frequency)
