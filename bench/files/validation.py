"""Holds stored files to the dataclasses of the schema: types, ranges, lengths, and the depth of what is free.

msgspec does the work (https://jcristharif.com/msgspec/). Its ranges cannot stand with the dataclasses, since a worker's
environment may lack msgspec; they are translated here from the annotations of :mod:`bench.files.bounds`. Only
:mod:`bench.files.json_file` imports this module, and only when it reads a file that somebody may have changed.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from bench.files.bounds import LARGEST_INTEGER, LARGEST_NUMBER, Items, Like, Within

_ONE_AT_A_TIME = threading.Lock()
"""msgspec 0.22 builds what it keeps of a type at the first use; two threads that do so at once crash the process."""

DEEPEST = 64
"""How many lists and objects may lie within each other; options of a model are the deepest that we write."""

_NESTING = frozenset((dict, list))

_USUAL_RANGES: dict[type, Any] = {
    int: Annotated[int, msgspec.Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)],
    float: Annotated[float, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)],
}


def parse_json(content: bytes) -> Any:
    """Parse JSON as its standard says: without NaN, infinity, lone surrogates and numbers that are infinite as floats.

    Raises:
        ValueError: it is none, or its lists and objects lie too deep within each other.
    """
    try:
        parsed = msgspec.json.decode(content)
    except RecursionError:
        raise ValueError("its lists and objects lie too deep within each other") from None
    except msgspec.ValidationError as error:
        raise ValueError(_with_place_first(error)) from None
    if _is_deep(parsed):
        raise ValueError(f"its lists and objects lie more than {DEEPEST} deep within each other")
    return parsed


def check_types(cls: type, data: Any) -> None:
    """Hold parsed JSON, or a row of a table as a dict, to the fields of a dataclass; keys that it lacks are let pass.

    Raises:
        ValueError: a value has another type, is out of its range, is absent, or a list has another length; the message
            says where.
    """
    try:
        with _ONE_AT_A_TIME:
            msgspec.convert(data, _mirror(cls, partial=False))
    except msgspec.ValidationError as error:
        raise ValueError(_with_place_first(error)) from None


def _with_place_first(error: msgspec.ValidationError) -> str:
    """Give ``speed.batch_size: expected int, got str`` of msgspec's "Expected `int`, got `str` - at `$.speed...`"."""
    what, _, where = str(error).partition(" - at ")
    place = where.strip("`").removeprefix("$").removeprefix(".")
    what = what.replace("`", "")
    return f"{place}: {what[:1].lower()}{what[1:]}" if place else what


def _is_deep(tree: Any) -> bool:
    level = [tree]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _nested(outer)]
        if not level:
            return False
    return True


def _nested(tree: Any) -> Iterable[Any]:
    """Give the lists and objects in a list or an object."""
    items = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    # Most lists are of thousands of numbers.
    return () if _NESTING.isdisjoint(map(type, items)) else [item for item in items if type(item) in _NESTING]


@functools.cache
def _mirror(cls: type, partial: bool) -> type[msgspec.Struct]:
    """Make the msgspec type with the fields of a dataclass; where it is ``partial``, none of them is required."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: list[Any] = []
    for field in dataclasses.fields(cls):
        translated = _translated(hints[field.name], partial)
        required = field.default is field.default_factory is dataclasses.MISSING and not partial
        fields.append((field.name, translated) if required else (field.name, translated, None))
    return msgspec.defstruct(cls.__name__, fields, kw_only=True)


def _translated(hint: Any, partial: bool) -> Any:
    """Give the msgspec type of a hint."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _mirror(hint, partial)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:], partial)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_translated(option, partial) for option in inner)]  # noqa: UP007
    if origin is not None:
        return origin[tuple(item if item is ... else _translated(item, partial) for item in inner)]
    return _USUAL_RANGES.get(hint, hint)


def _annotated(hint: Any, marks: tuple[Any, ...], partial: bool) -> Any:
    for mark in marks:
        if isinstance(mark, Within):
            return Annotated[hint, msgspec.Meta(ge=mark.low, le=mark.high)]
        if isinstance(mark, Items):
            return Annotated[_translated(hint, partial), msgspec.Meta(min_length=mark.count, max_length=mark.count)]
        if isinstance(mark, Like):
            return _mirror(mark.shape, partial=True)
    return _translated(hint, partial)
