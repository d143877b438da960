"""Which category each ``category_id`` of a results file means.

It is the id of a category, but for two forms: a tool that counts classes without gaps writes the place of the category,
and a COCO object names its classes itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from bench.data.bounds import is_integer, quoted
from bench.data.dataset import CocoDataset
from bench.data.findings import Findings
from bench.data.ids import Id, rising
from bench.data.results import kinds
from bench.errors import UserError

if TYPE_CHECKING:  # it imports torch
    from bench.predictor import ResultsFile

FIRST = {"index0": 0, "index1": 1}
"""What the place of the first category is called, by the values of ``model.options.category_ids`` other than id."""

WAYS = ("id", *FIRST)


def places(categories: Collection[Id], way: str) -> dict[int, Id]:
    """Give place -> category, of categories in the order of rising ids; ``way`` is a key of :data:`FIRST`."""
    return dict(enumerate(sorted(categories, key=rising), FIRST[way]))


def ways_that_fit(given: Collection[Id], categories: Collection[Id]) -> tuple[str, ...]:
    """Give the ways of counting places that all ids of a results file fit, where it says something else than the ids.

    A set whose ids are counted from 0 or 1 without a gap has none: its labels can only be shifted by one.
    """
    known = set(categories)
    if any(known == places(known, way).keys() for way in FIRST):
        return ()
    return tuple(way for way in FIRST if given and set(given) <= places(known, way).keys())


def refuse_forms(file: ResultsFile) -> None:
    """Raise a UserError where an option about categories is no such option, or two of them are given."""
    offset, way = file.category_offset, file.category_ids
    if not is_integer(offset):
        raise UserError(f"model.options.category_offset={quoted(offset)}: must be a whole number")
    if way not in WAYS:
        raise UserError(f"model.options.category_ids={quoted(way)}: must be one of {', '.join(WAYS)}")
    if offset and way != "id":
        raise UserError(f"model.options.category_ids={way}: a place takes no category_offset; leave that option out")


def match_classes(
    given: Mapping[Id, int], own: Mapping[Id, str], dataset: CocoDataset, file: ResultsFile, findings: Findings
) -> dict[Id, Id] | None:
    """Give the category of each id in the file, without the ids of categories that the data set lacks.

    It gives None where the names in the file contradict those of the set: no result has a sure category then.

    Args:
        given: id in the results -> how many results have it
        own: id -> name, of the categories of the file itself
        findings: gets what the names of the file contradict, and what was matched by them

    Raises:
        UserError: an option about categories is given to a file that names all its classes itself.
    """
    names = {category.id: category.name for category in dataset.categories}
    if given and given.keys() <= own.keys():
        for key, value, default in (
            ("category_ids", file.category_ids, "id"),
            ("category_offset", file.category_offset, 0),
        ):
            if value != default:
                raise UserError(
                    f"model.options.{key}={value}: the results file names its classes itself, and they are matched by "
                    f"these names; leave the option out"
                )
    if file.category_ids != "id":
        by_place = places(names, file.category_ids)
        return {one: by_place[one] for one in given if isinstance(one, int) and one in by_place}
    moved = {one: one + file.category_offset if isinstance(one, int) else one for one in given}
    if own:
        return _by_names(given, moved, own, names, findings)
    return {one: category for one, category in moved.items() if category in names}


def _by_names(
    given: Mapping[Id, int],
    moved: Mapping[Id, Id],
    own: Mapping[Id, str],
    names: Mapping[Id, str],
    findings: Findings,
) -> dict[Id, Id] | None:
    """Give the categories by the names in the file; an id that has no name there is read as the id."""
    contradicted = False
    meant = _named(own, names)
    claimed = {same[0] for same in meant.values() if len(same) == 1}
    by_name = any(same != [one] for one, same in meant.items() if same and one in moved.values())
    found: dict[Id, Id] = {}
    taken: dict[Id, Id] = {}
    for one, category in moved.items():
        same = meant.get(category)
        problem = None
        if same is None:
            if category in names and by_name:
                problem = f"{quoted(category)} has no name there and is {quoted(names[category])} in the set"
            same = [category] if category in names else []
        elif len(same) > 1:
            problem = f"{quoted(category)} is {quoted(own[category])} there, the name of several in the set"
        elif not same and category in names and category not in claimed:
            problem = f"{quoted(category)} is {quoted(own[category])} there and {quoted(names[category])} in the set"
        if same and problem is None and same[0] in taken:
            problem = f"{quoted(taken[same[0]])} and {quoted(category)} are {quoted(names[same[0]])} there"
        if problem:
            contradicted = True
            findings.problem(kinds.OWN_CATEGORIES, problem)
        elif same:
            found[one], taken[same[0]] = same[0], category
            if category in own and (same[0] != category or own[category].strip() != names[same[0]].strip()):
                place = f"{quoted(category)} is {quoted(own[category])} there, which is {quoted(same[0])} in the set"
                findings.repair(kinds.NAMED_CLASS, place, given[one])
    return None if contradicted else found


def _named(own: Mapping[Id, str], names: Mapping[Id, str]) -> dict[Id, list[Id]]:
    """Give the categories of the name of each id: those of the same name, else those that differ in case only.

    Of several, the one with the id that it has in the file too is meant.
    """
    plain: dict[str, list[Id]] = {}
    without_case: dict[str, list[Id]] = {}
    for category, name in names.items():
        plain.setdefault(_plain(name), []).append(category)
        without_case.setdefault(_without_case(name), []).append(category)
    meant = {}
    for one, name in own.items():
        same = plain.get(_plain(name)) or without_case.get(_without_case(name), [])
        meant[one] = [one] if one in same else same
    return meant


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _without_case(name: str) -> str:
    return _plain(name).casefold()
