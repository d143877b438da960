"""The classes of a model meet the categories of a data set by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.errors import UserError, nearest
from bench.schema.typed.overrides import pasted

_SHOWN = 10
"""Categories that a message names."""


def match_labels(
    dataset: CocoDataset, classes: Sequence[str], aliases: Mapping[str, str], of: str = "class of the model"
) -> list[Id | None]:
    """Return the dataset's category id for every label of a model, by name; None for a class that the dataset lacks.

    Only categories that have an annotation in the images evaluated must match a class: others have no AP. They are in
    many files, as the empty root category of Roboflow's exports, or categories of which ``dataset.limit`` leaves none.

    Args:
        classes: the model's class names by label
        aliases: category name of the dataset -> class name of the model
        of: what ``classes`` are, for messages

    Raises:
        UserError: a category matches no class, two match the same, or an alias names no category or no class. The
            message has the override that matches those which differ from a class in their spelling alone.
    """
    evaluated = {annotation["category_id"] for annotation in dataset.annotations}
    names = [category.name for category in dataset.categories if category.id in evaluated]
    _check_aliases(dataset, classes, aliases, names, of)
    wanted: dict[str, Id] = {}
    for category in dataset.categories:
        class_name = aliases.get(category.name, category.name)
        earlier = wanted.get(class_name)
        if earlier is not None and earlier in evaluated:
            if category.id in evaluated:
                raise UserError(
                    f"dataset.aliases: two categories of {dataset.name} stand for the {of.partition(' ')[0]} "
                    f"{class_name!r}"
                )
            continue
        wanted[class_name] = category.id
    absent = [name for name in names if aliases.get(name, name) not in classes]
    if absent:
        raise UserError(_mismatch(dataset.name, absent, names, classes, aliases, of))
    return [wanted.get(name) for name in classes]


def _check_aliases(
    dataset: CocoDataset, classes: Sequence[str], aliases: Mapping[str, str], evaluated: Sequence[str], of: str
) -> None:
    for name, target in aliases.items():
        if name not in dataset.class_names:
            known = nearest(name, dataset.class_names)
            raise UserError(f"dataset.aliases: {name!r} is no category of {dataset.name}; {known}")
        if target not in classes and name in evaluated:
            raise UserError(f"dataset.aliases.{name}: {target!r} is no {of}; {nearest(target, classes)}")


def _mismatch(
    dataset: str,
    absent: Sequence[str],
    names: Sequence[str],
    classes: Sequence[str],
    aliases: Mapping[str, str],
    of: str,
) -> str:
    """Give the message about categories that match no class."""
    taken = {aliases.get(name, name) for name in names}
    near = _near_classes(absent, [name for name in classes if name not in taken])
    others = [name for name in absent if name not in near]
    shown = ", ".join(repr(name) for name in absent[:_SHOWN])
    shown += f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
    parts = [f"dataset {dataset}: {len(absent)} of {len(names)} categories with annotations match no {of}: {shown}"]
    if others:
        parts.append(f"{others[0]!r}: {nearest(others[0], classes)}")
    if near:
        override = pasted("dataset.aliases", {**aliases, **near})
        parts.append(f"{len(near)} of them differ{'s' if len(near) == 1 else ''} in spelling alone: give {override}")
    if others and near:
        parts.append("with an alias in it for each of the others, or give other weights")
    elif others:
        example = pasted("dataset.aliases", {**aliases, others[0]: "CLASS"})
        parts.append(f"give {example} for a class of another name, or other weights")
    return "; ".join(parts)


def _near_classes(absent: Iterable[str], classes: Iterable[str]) -> dict[str, str]:
    """Give category -> class for those that differ in spelling alone, where one class fits and no two share it."""
    by_form: dict[str, list[str]] = {}
    for name in classes:
        by_form.setdefault(_form(name), []).append(name)
    found: dict[str, list[str]] = {}
    for name in absent:
        for fitting in by_form.get(_form(name), ()):
            found.setdefault(fitting, []).append(name)
    once = {fitting: names[0] for fitting, names in found.items() if len(names) == 1}
    alone = {name: fitting for fitting, name in once.items() if by_form[_form(fitting)] == [fitting]}
    return {name: alone[name] for name in absent if name in alone}


def _form(name: str) -> str:
    """Give a name without what spellings differ in: case, blanks, underscores, hyphens and the plural."""
    words = re.sub(r"[\s_-]+", " ", name.casefold()).strip().split(" ")
    return "".join(map(_singular, words))


def _singular(word: str) -> str:
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + singular
    return word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word
