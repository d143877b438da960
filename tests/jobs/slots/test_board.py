"""Test what is said of the neighbours of a timing, by moments of an imagined clock."""

from __future__ import annotations

import pytest

from bench.jobs.slots.board import Board, Timing
from bench.schema.parts.speed import Neighbours


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def at_work(board: Board, clock: Clock, place: int, began: float, ended: float) -> None:
    clock.now = began
    with board.at_work(place):
        clock.now = ended


def test_alone_is_nought() -> None:
    clock = Clock()
    board = Board(3, clock)
    at_work(board, clock, 0, 0, 100)  # its own work is no neighbour's
    at_work(board, clock, 1, 0, 10)
    at_work(board, clock, 2, 20, 30)
    assert board.neighbours(0, 10, 20) == Neighbours(2, 0.0, 0.0)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ({1: (0, 100)}, Neighbours(3, 100.0, 1.0)),
        ({1: (12, 14)}, Neighbours(3, 20.0, 0.2)),
        ({1: (0, 12), 2: (18, 30)}, Neighbours(3, 40.0, 0.4)),
        # At once for 2 of 10 s, and one of them for 4 s.
        ({1: (10, 14), 2: (12, 16)}, Neighbours(3, 60.0, 0.8)),
        ({1: (0, 50), 2: (0, 50), 3: (15, 20)}, Neighbours(3, 100.0, 2.5)),
    ],
)
def test_the_share_of_the_time_and_how_many(spans: dict[int, tuple[float, float]], expected: Neighbours) -> None:
    clock = Clock()
    board = Board(4, clock)
    for place, (began, ended) in spans.items():
        at_work(board, clock, place, began, ended)
    assert board.neighbours(0, 10, 20) == expected


def test_one_that_still_works_counts_until_now() -> None:
    clock = Clock()
    board = Board(2, clock)
    clock.now = 15
    with board.at_work(1):
        clock.now = 20
        assert board.neighbours(0, 10, 20) == Neighbours(1, 50.0, 0.5)


def test_a_timing_is_the_last_time_in_which_samples_were_taken() -> None:
    clock = Clock()
    timing = Timing(clock)
    told = [("start", 0), ("speed", 5), ("warm_up", 6), ("speed", 8), ("energy", 18), ("end", 30)]
    for part, at in told:
        clock.now = at
        timing.on_part(part)
    assert timing.taken() == (8, 18)
    assert timing.taken() is None


def test_without_samples_there_is_no_timing() -> None:
    timing = Timing(Clock())
    for part in ("start", "memory", "end"):
        timing.on_part(part)
    assert timing.taken() is None
