"""Damaged copies of a JSON document, the same ones in every run: what an edit, a cut or another program makes of it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

DEPTH = 3000

_DEEP, _TOO_LARGE = "a place for what is deep", "a place for what is too large"

VALUES: dict[str, Any] = {
    "null": None,
    "0": 0,
    "-1": -1,
    "1e308": 1e308,
    "NaN": math.nan,
    "1e999": _TOO_LARGE,
    "text": "x",
    "[]": [],
    "{}": {},
    "true": True,
    "70 bits": 2**70,
    "a lone surrogate": "\ud800",
    f"{DEPTH} deep": _DEEP,
}
"""What stands in the place of a value."""


def damaged(document: dict[str, Any], every: int = 1) -> Iterator[tuple[str, str]]:
    """Give (what was done, text of the file): every value in every place, every key left out, and cut files.

    Of a list, only the first entry is a place.

    every: give every so manieth of them, from the first on
    """
    for what, text in islice(_all(document), 0, None, every):
        yield what, text()


def _all(document: dict[str, Any]) -> Iterator[tuple[str, Callable[[], str]]]:
    for path in _paths(document):
        where = ".".join(map(str, path))
        for name, value in VALUES.items():
            yield f"{where} is {name}", partial(_changed, document, path, value)
        if isinstance(path[-1], str):
            yield f"{where} is left out", partial(_changed, document, path, value=None, delete=True)
    length = len(json.dumps(document))
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        yield f"cut at {100 * share:g} %", partial(_cut, document, int(share * length))


def _paths(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree[:1]) if isinstance(tree, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from _paths(value, (*above, key))


def _cut(document: dict[str, Any], length: int) -> str:
    return json.dumps(document)[:length]


def _changed(document: dict[str, Any], path: tuple[Any, ...], value: Any, delete: bool = False) -> str:
    changed = copy.deepcopy(document)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    if delete:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    text = json.dumps(changed)
    deep = "[" * DEPTH + "]" * DEPTH
    return text.replace(json.dumps(_DEEP), deep).replace(json.dumps(_TOO_LARGE), "1e999")
