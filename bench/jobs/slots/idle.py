"""Slots that have no job left lend themselves to the shards of rows that others still measure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType

from bench.jobs.launcher import Launcher


@dataclass(frozen=True)
class Lender:
    """A slot that may be lent.

    launcher: starts workers on it
    at_work: counts it as at work for a ``with`` block
    """

    launcher: Launcher
    at_work: Callable[[], AbstractContextManager[None]]


class IdleSlots:
    """The slots that nobody uses. Threads may use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Lender] = []

    def __len__(self) -> int:
        with self._lock:
            return len(self._idle)

    def give(self, slot: Lender) -> None:
        """Take a slot that has nothing left to do, or has been given back."""
        with self._lock:
            self._idle.append(slot)

    def take(self, most: int) -> list[Lender]:
        """Give up to so many slots, which nobody else then gets."""
        with self._lock:
            taken = [self._idle.pop() for _ in range(min(most, len(self._idle)))]
        return taken


class Lent:
    """The place of a row on several slots: its own, and those that are idle when its shards begin.

    See :class:`bench.jobs.shards.places.Places`. At the end of the ``with`` block what was lent is given back.
    """

    def __init__(self, own: Launcher, idle: IdleSlots) -> None:
        self._own, self._idle = own, idle
        self._lent: list[Lender] = []
        self._at_work = ExitStack()

    def __enter__(self) -> Lent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._at_work.close()
        while self._lent:
            self._idle.give(self._lent.pop())

    def idle(self) -> int:
        """Give the number of slots that a row could use now, its own among them."""
        return 1 + len(self._idle)

    def launchers(self, shards: int) -> Sequence[Launcher]:
        """Give a launcher for each slot that the shards may use: never more than there are shards."""
        self._lent = self._idle.take(shards - 1)
        for slot in self._lent:
            self._at_work.enter_context(slot.at_work())
        return [self._own, *(slot.launcher for slot in self._lent)]
