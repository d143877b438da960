"""Holds what a program has made to the bounds of its dataclass (:mod:`bench.files.bounds`), by the standard library.

:mod:`bench.files.validation` does it for files, and needs msgspec, which the environment of a worker may lack.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Annotated, Any

from bench.files.bounds import Agreeing, Items, Within


def hold(value: Any) -> None:
    """Hold a dataclass, and those in it, to their bounds: what is written must be what can be read.

    Raises:
        ValueError: a number is out of its range or no number, a list has another length, or fields contradict each
            other; the message names the field.
    """
    hints = typing.get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):
        _hold(hints[field.name], getattr(value, field.name), field.name)
    if isinstance(value, Agreeing):
        value.check()


def _hold(hint: Any, value: Any, name: str) -> None:
    if value is None:
        return
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hold(value)
        return
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        _hold_bound(inner[1:], value, name)
        _hold(inner[0], value, name)
    elif origin in (typing.Union, types.UnionType):
        for option in inner:
            if typing.get_origin(option) in (Annotated, list, dict):
                _hold(option, value, name)
    elif origin is list and isinstance(value, list):
        for item in value:
            _hold(inner[0], item, name)
    elif origin is dict and isinstance(value, dict):
        for item in value.values():
            _hold(inner[1], item, name)


def _hold_bound(bounds: tuple[Any, ...], value: Any, name: str) -> None:
    for bound in bounds:
        if isinstance(bound, Within) and not bound.low <= value <= bound.high:
            raise ValueError(f"{name} is {value}, which is not from {bound.low:g} to {bound.high:g}")
        if isinstance(bound, Items) and len(value) != bound.count:
            raise ValueError(f"{name} has {len(value)} entries, not {bound.count}")
