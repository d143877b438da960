"""Test that a slot without a job is lent to one row at a time, and counted as at work meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bench.jobs.slots.idle import IdleSlots, Lender, Lent


class Slots:
    """Some idle slots whose launchers are their names, and the names of those that count as at work."""

    def __init__(self, *names: str) -> None:
        self.idle, self.at_work = IdleSlots(), list[str]()
        for name in names:
            self.idle.give(self.lender(name))

    def lender(self, name: str) -> Lender:
        @contextlib.contextmanager
        def at_work() -> Iterator[None]:
            self.at_work.append(name)
            yield
            self.at_work.remove(name)

        launcher: Any = name
        return Lender(launcher, at_work)


OWN: Any = "own"


def test_a_row_gets_the_idle_slots_and_gives_them_back() -> None:
    slots = Slots("b", "c")
    with Lent(OWN, slots.idle) as row:
        assert row.idle() == 3
        assert row.launchers(3) == ["own", "c", "b"]
        assert sorted(slots.at_work) == ["b", "c"]
        with Lent(OWN, slots.idle) as other:
            assert other.idle() == 1
            assert other.launchers(3) == ["own"], "no slot is lent twice"
    assert slots.at_work == []
    assert len(slots.idle) == 2


def test_no_more_slots_are_lent_than_there_are_shards() -> None:
    slots = Slots("b", "c")
    with Lent(OWN, slots.idle) as row:
        assert row.launchers(2) == ["own", "c"]
        assert len(slots.idle) == 1
