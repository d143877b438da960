"""Tests that a dataclass as a plain dict is what the standard library makes of it, and shares nothing that changes."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import whole_result

from bench.files.plain import as_dict
from bench.schema.config import BenchConfig


class Pair(NamedTuple):
    one: int
    two: object


@dataclasses.dataclass
class Inner:
    samples: list[float]
    words: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Outer:
    inner: Inner | None
    many: list[Inner]
    named: dict[str, Inner]
    pair: Any = None


def outer() -> Outer:
    deep = [[1.5, None, True, "text", b"bytes"], (Inner([2.0]), Path("a"))]
    named = {"x": Inner([], {"deep": {"er": deep}}), "y": Inner([3.0], OrderedDict(z=Decimal(4)))}
    return Outer(None, [Inner([0.1, 0.2]), Inner([1])], named, Pair(1, Inner([5.0])))


def test_it_is_what_the_standard_library_makes() -> None:
    value = outer()
    expected = dataclasses.asdict(value)
    assert as_dict(value) == expected
    assert list(as_dict(value)) == list(expected), "the order of the keys is that of a file"


@pytest.mark.parametrize("value", [BenchConfig(), whole_result.whole_result()], ids=["config", "result"])
def test_a_file_has_the_same_bytes(value: Any) -> None:
    assert json.dumps(as_dict(value)) == json.dumps(dataclasses.asdict(value))


def test_nothing_that_changes_is_shared() -> None:
    value = outer()
    before = dataclasses.asdict(value)
    made = as_dict(value)
    made["many"][0]["samples"].append(9.0)
    made["named"]["x"]["words"]["deep"]["er"][0].clear()
    made["named"]["y"]["words"]["z"] = None
    made["named"]["new"] = None
    assert dataclasses.asdict(value) == before


@pytest.mark.parametrize("value", [{"a": 1}, [Inner([])], Inner, 3])
def test_what_is_no_dataclass_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        as_dict(value)
