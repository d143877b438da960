"""Texts of results as they may stand in what a page's script reads, or a library draws: without control characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import visible


def shown_within(value: Any) -> Any:
    """Give a value of JSON with the control characters of all its texts, keys included, spelled out.

    A page must hold none of them, and the library that draws the charts aborts at some.
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {shown_within(key): shown_within(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown_within(each) for each in value]
    return value
