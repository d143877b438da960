"""Runs the jobs of a study on several slots, a thread for each, which spends its time listening to a worker."""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Iterator, Sequence

from bench.device.slots.slot import Slot
from bench.jobs.job import PlannedJob
from bench.jobs.local import LocalLauncher
from bench.jobs.process.stop import Stop
from bench.jobs.progress import Shown, StudyProgress
from bench.jobs.run import Run
from bench.jobs.slots.board import Board, Timing, record_neighbours, rounds_in
from bench.jobs.slots.idle import IdleSlots, Lender, Lent
from bench.jobs.slots.schedule import Turn, timed_alone
from bench.jobs.slots.turns import Turns

_LOOK_SECONDS = 0.5
"""How often the main thread, to which alone Ctrl-C comes, looks whether the others have ended."""


def run_on_slots(turns: Turns, run: Run, progress: StudyProgress) -> None:
    """Give each job of a study its turns, on the slots of the run.

    First all that times nothing, and what may be timed beside others, on every slot at once; each slot draws the next
    job when it is free. A job that a slot has begun stays on it, with all its rounds. Then, on the first slot, round by
    round, what needs the whole machine.

    Raises:
        KeyboardInterrupt: after every worker has ended and its measurements are on disk.
        OSError: the disk is full; what the other slots had begun has been stopped in the same way.
    """
    progress.expect(sum(turns.rounds + timed_alone(job) for job in turns.planned))
    study = _Study(turns, run, progress)
    study.side_by_side()
    study.alone()


class _Study:
    def __init__(self, turns: Turns, run: Run, progress: StudyProgress) -> None:
        self._turns = turns
        self._stop = Stop()
        board = Board(len(run.slots))
        self._idle = IdleSlots()
        self._slots = [
            _SlotAtWork(place, slot, board, self._idle, self._stop, progress.line(slot.name))
            for place, slot in enumerate(run.slots)
        ]
        self._waiting: queue.SimpleQueue[Turn] = queue.SimpleQueue()
        for turn in turns.of_round(1):
            self._waiting.put(turn)
        self._to_be_timed: set[int] = set()
        self._failed: list[BaseException] = []

    def side_by_side(self) -> None:
        """Run all slots at once until nothing is left but what needs the whole machine."""
        ends: list[threading.Event] = []
        for slot in self._slots[len(self._turns.planned) :]:
            self._idle.give(slot.lender)
        try:
            for slot in self._slots[: len(self._turns.planned)]:
                ends.append(self._started(slot))
            _wait(ends)
        except BaseException:
            self._end(ends)
            raise
        # One that only was stopped as another failed says less than that one.
        for error in sorted(self._failed, key=lambda error: isinstance(error, KeyboardInterrupt)):
            raise error

    def _started(self, slot: _SlotAtWork) -> threading.Event:
        """Start the thread of a slot; give what tells that no worker of it runs any more."""
        ended = threading.Event()
        threading.Thread(target=self._drive, args=(slot, ended), name=slot.name).start()
        return ended

    def _end(self, ends: Sequence[threading.Event]) -> None:
        """Wait until every worker has ended, however often the user interrupts."""
        self._stop.ask()
        while True:
            try:
                return _wait(ends)
            except KeyboardInterrupt:
                self._stop.ask_at_once()

    def alone(self) -> None:
        """Time, one after the other, the rows that need the whole machine."""
        first = self._slots[0]
        for number in range(1, self._turns.rounds + 1):
            for turn in self._turns.of_round(number):
                left = turn.number in self._to_be_timed if number == 1 else self._turns.goes_on(turn)
                if left and timed_alone(turn.job):
                    with first.at_work(turn.job):
                        self._turns.take_timed(turn, first.launcher, first.shown, first.where)
                elif timed_alone(turn.job):
                    first.shown.next_job()

    def _drive(self, slot: _SlotAtWork, ended: threading.Event) -> None:
        """Run the jobs that a slot draws."""
        try:
            kept = list(self._first_turns(slot))
            for number in range(2, self._turns.rounds + 1):
                for turn in (Turn(each.job, each.number, number) for each in kept):
                    self._raise_if_stopped()
                    if not self._turns.goes_on(turn):
                        slot.shown.next_job()
                        continue
                    with slot.at_work(turn.job) as lent:
                        self._turns.take(turn, slot.launcher, slot.shown, where=slot.where, places=lent)
            self._idle.give(slot.lender)
        except BaseException as error:  # the main thread tells it, once every worker has ended
            self._failed.append(error)
            self._stop.ask()
        finally:
            ended.set()

    def _first_turns(self, slot: _SlotAtWork) -> Iterator[Turn]:
        """Take first turns until none is waiting; give those of jobs that stay on the slot."""
        while True:
            self._raise_if_stopped()
            try:
                turn = self._waiting.get_nowait()
            except queue.Empty:
                return
            with slot.at_work(turn.job) as lent:
                if not timed_alone(turn.job):
                    self._turns.take(turn, slot.launcher, slot.shown, where=slot.where, places=lent)
                elif self._turns.take_untimed(turn, slot.launcher, slot.shown, slot.where, lent):
                    self._to_be_timed.add(turn.number)
            if not timed_alone(turn.job):
                yield turn

    def _raise_if_stopped(self) -> None:
        if self._stop.asked:
            raise KeyboardInterrupt


def _wait(ends: Sequence[threading.Event]) -> None:
    # Not by Thread.join: interrupted there, Python 3.11 takes a thread that runs for one that has ended.
    for ended in ends:
        while not ended.wait(_LOOK_SECONDS):
            pass


class _SlotAtWork:
    """A slot with what its thread needs."""

    def __init__(self, place: int, slot: Slot, board: Board, idle: IdleSlots, stop: Stop, shown: Shown) -> None:
        self.name, self.shown = slot.name, shown
        self.where = f"slot {slot.name}"
        self._place, self._board, self._idle, self._timing = place, board, idle, Timing()
        self.launcher = LocalLauncher(slot, stop, self._timing.on_part)
        self.lender = Lender(self.launcher, functools.partial(board.at_work, place))

    @contextlib.contextmanager
    def at_work(self, job: PlannedJob) -> Iterator[Lent]:
        """Hold the slot for one turn of a job, and write into the round that was timed in it what the others did.

        Gives where shards of the job may run.
        """
        before = rounds_in(job.result_path)
        self._timing.taken()
        try:
            with self._board.at_work(self._place), Lent(self.launcher, self._idle) as lent:
                yield lent
        finally:
            if (window := self._timing.taken()) is not None:
                record_neighbours(job.result_path, before, self._board.neighbours(self._place, *window))
