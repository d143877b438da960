"""Takes the turns of a study: measures what is due of a job, and tells it in a line."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from bench.jobs.job import PlannedJob, passes_due, training_left
from bench.jobs.launcher import Launcher, OnUntimed
from bench.jobs.progress import Shown
from bench.jobs.run import Run
from bench.jobs.run_job import run_job
from bench.jobs.shards.places import Places
from bench.jobs.slots.schedule import Turn, timed, untimed
from bench.schema.result import UNFINISHED, Result, read_result
from bench.schema.settings import described


def goes_on(turn: Turn, results: Mapping[int, Result]) -> bool:
    """Tell whether a job has more to do in this turn, after its earlier turns, of which ``results`` has the result."""
    return turn.round == 1 or (results[turn.number].status == "ok" and bool(passes_due(turn.job, turn.round)))


class Turns:
    """The turns of a study, and the newest result of each of its jobs.

    results: by the numbers of the jobs
    """

    def __init__(self, planned: Sequence[PlannedJob], rounds: int, run: Run) -> None:
        self.planned, self.rounds, self._run = planned, rounds, run
        self.results: dict[int, Result] = {}
        self._settings = described([job.config for job in planned])

    def of_round(self, number: int) -> list[Turn]:
        """Give the turns of one round, in the order of the jobs."""
        return [Turn(job, place, number) for place, job in enumerate(self.planned, 1)]

    def goes_on(self, turn: Turn) -> bool:
        """Tell whether a job has more to do in this turn, after its earlier ones."""
        return goes_on(turn, self.results)

    def take(
        self,
        turn: Turn,
        launcher: Launcher,
        shown: Shown,
        on_untimed: OnUntimed = lambda: None,
        where: str = "",
        places: Places | None = None,
    ) -> None:
        """Measure all that is due of a job, where anything is.

        where: said behind the outcome, as the name of a slot
        places: where shards of its accuracy may run
        """
        job = turn.job
        due = passes_due(job, turn.round)
        if not self._measured_before(turn, due, shown):
            self._measure(turn, due, launcher, shown, on_untimed, where, places)

    def take_untimed(
        self, turn: Turn, launcher: Launcher, shown: Shown, where: str, places: Places | None = None
    ) -> bool:
        """Measure what is due of a job and times nothing; tell whether timed passes are left, which is a turn more.

        Where nothing but these is due, it does nothing.
        """
        job = turn.job
        due = passes_due(job, turn.round)
        if job.cannot_run is not None or not timed(due):
            self.take(turn, launcher, shown, where=where, places=places)
            return False
        now = untimed(due)
        if not now and not training_left(job):
            shown.next_job()
            return True
        self._measure(turn, now, launcher, shown, lambda: None, where, places, more_to_come=True)
        return self.results[turn.number].reason == UNFINISHED

    def take_timed(self, turn: Turn, launcher: Launcher, shown: Shown, where: str) -> None:
        """Measure what is due of a job and is timed; all else of it has been measured, or does not apply."""
        if due := timed(passes_due(turn.job, turn.round)):
            self._measure(turn, due, launcher, shown, lambda: None, where)

    def _measured_before(self, turn: Turn, due: Sequence[str], shown: Shown) -> bool:
        job = turn.job
        if job.cannot_run is not None or due or training_left(job):
            return False
        earlier = read_result(job.result_path)
        if earlier.status != "ok":
            return False
        self._run.say(f"{self._head(turn)}: measured before")
        shown.next_job()
        self.results[turn.number] = earlier
        return True

    def _measure(
        self,
        turn: Turn,
        due: Sequence[str],
        launcher: Launcher,
        shown: Shown,
        on_untimed: OnUntimed,
        where: str,
        places: Places | None = None,
        *,
        more_to_come: bool = False,
    ) -> None:
        head = self._head(turn)
        shown.begin(turn.job.config.model.name, due, head)
        began = time.monotonic()
        result = run_job(turn.job, due, launcher, shown.on_progress, on_untimed, places, more_to_come=more_to_come)
        self.results[turn.number] = result
        shown.next_job()
        outcome = result.status + (f": {result.reason}" if result.reason else "")
        if more_to_come and result.reason == UNFINISHED:
            outcome = f"{', '.join(due) or 'trained'}; to be timed"
        told = [f"{time.monotonic() - began:.0f} s"] if result.seconds is not None else []
        told += [where] if where else []
        self._run.say(f"{head}: {outcome}" + (f" ({', '.join(told)})" if told else ""))

    def _head(self, turn: Turn) -> str:
        """Give the beginning of the lines of a turn: ``[3/8] round 2 of 3 model cpu fp32 b1``."""
        config = turn.job.config
        round_of = f" round {turn.round} of {self.rounds}" if self.rounds > 1 else ""
        return f"[{turn.number}/{len(self.planned)}]{round_of} {config.model.name} {self._settings[turn.number - 1]}"
