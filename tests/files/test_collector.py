"""Tests that garbage is not looked for within the block, and as before behind it."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from bench.data import dataset
from bench.files.collector import collector_off
from bench.schema.config import DatasetConfig


def test_the_collector_is_as_before_behind_the_block() -> None:
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), collector_off():
        assert 1 / gc.isenabled()
    assert gc.isenabled()
    with collector_off():
        with collector_off():
            pass
        assert not gc.isenabled(), "an outer block goes on"
    assert gc.isenabled()


def test_a_data_set_is_read_without_it(bright_squares: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked at every object of torch again and again, which doubled the time of each worker's reading."""
    given, read, on = dict(argument.split("=", 1) for argument in bright_squares), dataset.read_set, []

    def watched(*arguments: Any) -> Any:
        on.append(gc.isenabled())
        return read(*arguments)

    monkeypatch.setattr(dataset, "read_set", watched)
    dataset.load(DatasetConfig("d", images=given["dataset.images"], annotations=given["dataset.annotations"]))
    assert on == [False]
    assert gc.isenabled()
