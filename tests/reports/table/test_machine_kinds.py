"""Tests which rows count as rows of one kind of machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.schema.result import Result
from bench.schema.row import Row
from reports.table.machine import machine_kinds


def row(threads: int | None, cores: int = 8, **gpu: Any) -> Row:
    machine = {"cpu": {"name": "A", "usable_cores": cores}, "torch_threads": threads, "gpu": gpu or None}
    return Row(Path("result.json"), Result("ok", {}, machine=machine))


def test_a_row_without_torch_is_of_the_machine_of_the_others() -> None:
    assert len(machine_kinds([row(4), row(4), row(None)])) == 1
    assert len(machine_kinds([row(None), row(None)])) == 1
    assert machine_kinds([]) == set()


def test_other_facts_still_tell_machines_apart() -> None:
    assert len(machine_kinds([row(4), row(2), row(None)])) == 2
    assert len(machine_kinds([row(4), row(None, cores=16)])) == 2
    assert len(machine_kinds([row(4, name="H100"), row(None)])) == 2
