"""Test that what a program has made is held to the bounds of its dataclass before it is written."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from whole_result import whole_result

from bench.files.held import hold
from bench.schema.parts.busy import BusyResult
from bench.schema.parts.costs import EnergyResult, MemoryResult


def test_a_whole_result_is_held() -> None:
    hold(whole_result())


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (
            MemoryResult(1, 1, process_device_bytes=-15_000_000_000),
            "process_device_bytes is -15000000000, which is not",
        ),
        (EnergyResult(float("nan"), 1, 1.0), "energy_joules is nan"),
        (EnergyResult(1.0, 1, float("inf")), "window_seconds is inf"),
        (BusyResult(1, 1, 10.0, 20.0, 19.0, 1, 1), "busy.busy_ms is 19, of plain_ms 10"),
    ],
)
def test_what_could_not_be_read_is_refused(made: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        hold(made)


def test_bounds_within_lists_and_dicts_are_held() -> None:
    for name, value in (("per_class", {"cat": 1.5}), ("confidence_interval", [0.1]), ("confidence_interval", [0, 9])):
        wrong = copy.deepcopy(whole_result())
        setattr(wrong.accuracy, name, value)
        with pytest.raises(ValueError, match=name):
            hold(wrong)
