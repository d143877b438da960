"""A result in a fraction of its memory: a report of thousands of rows holds all of them at once."""

from __future__ import annotations

import dataclasses
import json
from array import array
from typing import Any

from bench.schema.result import Result

_FEW = 16
"""A list of no more items stays as it is."""


class Lean:
    """Makes results lean. The numbers stay the same to the last digit.

    A long list of numbers becomes an array, which takes 8 bytes for a number where a list takes 32. What a result
    shares with those before it, such as the machine's processor or the sizes of images, becomes one object in all of
    them, so nobody may change it.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._pairs: dict[tuple[Any, ...], list[Any]] = {}

    def __call__(self, result: Result) -> Result:
        """Change a result into a lean one, and give it."""
        for field in ("config", "machine", "published"):
            if isinstance(part := getattr(result, field), dict):
                setattr(result, field, {key: self._shared(value) for key, value in part.items()})
        for timed in (result.speed, result.accuracy):
            if timed is not None:
                self._pack(timed)
        return result

    def _shared(self, part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        return self._known.setdefault(json.dumps(part), part)

    def _pack(self, part: Any) -> None:
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if dataclasses.is_dataclass(value):
                self._pack(value)
            elif isinstance(value, list) and len(value) > _FEW:
                setattr(part, field.name, self._packed(value))

    def _packed(self, items: list[Any]) -> Any:
        kinds = set(map(type, items))
        if kinds == {float} or kinds == {int}:
            return array("d" if kinds == {float} else "q", items)
        if kinds == {list}:
            return [self._pairs.setdefault(tuple(item), item) for item in items]
        return items
