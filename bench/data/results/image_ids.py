"""Which image each ``image_id`` of a results file means: tools write the id, or a form of the file's name.

Ultralytics' predictions.json, for one, has the name without folder and extension, as a number where it is one: 139 for
000000000139.jpg.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from bench.data.ids import Id, as_id
from bench.errors import UserError

WAYS = ("auto", "id", "name")

SMALL_SHARE = 0.05
"""The share of images that a results file may name and a set may lack, as where a few of its images were damaged."""


@dataclass
class Matched:
    """What the ids of a results file mean by one rule.

    what: what an id is by the rule, in words: "the file name of image"
    images: id in the results file -> id of the image
    unknown: the ids that mean no image of the set
    ambiguous: id in the results file -> the names of the images that it may mean, or that are it too
    """

    what: str
    images: dict[Id, Id] = field(default_factory=dict)
    unknown: list[Id] = field(default_factory=list)
    ambiguous: dict[Id, list[str]] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether every id means one image, and no two the same."""
        return not self.unknown and not self.ambiguous


BY_ID = "the id of the image"
BY_TOLD = "beside the file name of image"
"""What an ``image_id`` was read as."""

_Key = Callable[[str], Id | None]


def _whole(name: str) -> Id | None:
    return as_id(unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./"))


def _base(name: str) -> Id | None:
    return as_id(str(_whole(name)).rpartition("/")[2])


def _stem(name: str) -> Id | None:
    base = str(_base(name))
    return as_id(base.rpartition(".")[0] or base)


def _number(name: str) -> Id | None:
    stem = _stem(name)
    return int(stem) if isinstance(stem, str) and stem.isascii() and stem.isdigit() else stem


_RULES: tuple[tuple[str, _Key, _Key], ...] = (
    ("the file name of image", _whole, _whole),
    ("the file name without folder of image", _base, _base),
    ("the file name without folder and extension of image", _stem, _base),
    ("the number in the file name of image", _number, _base),
)
"""What is compared, in words; how it is made of a file's name, and of an id in the results file."""


def match_images(
    given: Collection[Id], names: Mapping[Id, str], way: str = "auto", told: Mapping[Id, str] | None = None
) -> Matched:
    """Give what the ids of a results file mean: by the first rule that fits all, else by the one that fits most.

    The rules are the ids, the file's whole name, the name without folder, without extension, and as a number. A rule
    fits only where every id means one image, and no two the same.

    Args:
        given: the ids, as :func:`as_id` gives them
        names: id -> ``file_name`` of every image of the set
        way: one of :data:`WAYS`: ``id`` and ``name`` leave the other rules out
        told: the file's name that the results file itself gives to each of the ids; it says more than the id, and
            decides where it fits

    Raises:
        UserError: ``way`` is no such word.
    """
    if way not in WAYS:
        raise UserError(f"model.options.image_ids={way}: must be one of {', '.join(WAYS)}")
    found = []
    if way != "id" and told is not None and len(told) == len(given):
        for key in (_whole, _base, _stem):
            by_told = _matched_by_names(BY_TOLD, key, _name_key(key, told), given, names)
            if by_told.fits:
                return by_told
    if way != "name":
        found.append(_matched_by_ids(given, names))
    if way != "id":
        found += by_names(given, names)
    return next((one for one in found if one.fits), None) or min(
        found, key=lambda one: (len(one.unknown), len(one.ambiguous))
    )


def other_stems(told: Mapping[Id, str], images: Mapping[Id, Id], names: Mapping[Id, str]) -> list[Id]:
    """Give the ids to which the results file gives a name that is not that of their image, extension aside."""
    return [one for one, name in told.items() if one in images and _stem(name) != _stem(names[images[one]])]


def by_names(given: Collection[Id], names: Mapping[Id, str]) -> list[Matched]:
    """Give what the ids mean by each rule of names."""
    return [
        _matched_by_names(what, of_file, functools.partial(_of_text, of_id), given, names)
        for what, of_file, of_id in _RULES
    ]


def _name_key(key: _Key, told: Mapping[Id, str]) -> Callable[[Id], Id | None]:
    return lambda one: key(told[one])


def _of_text(key: _Key, given: Id) -> Id | None:
    return key(given) if isinstance(given, str) else given


def few_unknown(matched: Matched, names: Mapping[Id, str]) -> bool:
    """Whether the unknown ids are so few, and such, that their results may be left out: the set was thinned out.

    They are at most :data:`SMALL_SHARE`. A number beyond those of the set is another sign: where images were numbered
    anew after some were removed, the last numbers are unknown, and all others mean other images than they did.
    """
    if matched.ambiguous or len(matched.unknown) > SMALL_SHARE * (len(matched.unknown) + len(matched.images)):
        return False
    if matched.what != BY_ID:
        return True
    numbers = [one for one in names if isinstance(one, int)]
    return all(isinstance(one, str) or (bool(numbers) and min(numbers) < one < max(numbers)) for one in matched.unknown)


def _matched_by_ids(given: Collection[Id], names: Mapping[Id, str]) -> Matched:
    matched = Matched(BY_ID)
    for one in given:
        if one in names:
            matched.images[one] = one
        else:
            matched.unknown.append(one)
    return matched


def _matched_by_names(
    what: str, of_file: _Key, of_id: Callable[[Id], Id | None], given: Collection[Id], names: Mapping[Id, str]
) -> Matched:
    matched, images = Matched(what), _grouped(names, of_file)
    taken: dict[Id, Id] = {}
    for one in given:
        key = of_id(one)
        same = images.get(key, []) if key is not None else []
        if not same:
            matched.unknown.append(one)
        elif len(same) > 1:
            matched.ambiguous[one] = [names[image] for image in same]
        elif same[0] in taken:
            matched.ambiguous[one] = [names[same[0]], str(taken[same[0]])]
        else:
            matched.images[one] = same[0]
            taken[same[0]] = one
    return matched


def _grouped(names: Mapping[Id, str], key: _Key) -> dict[Id | None, list[Id]]:
    grouped: dict[Id | None, list[Id]] = {}
    for image, name in names.items():
        grouped.setdefault(key(name), []).append(image)
    return grouped
