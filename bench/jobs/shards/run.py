"""Runs the shards of a row, side by side; one that dies is run again, and none that is there is run twice."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.errors import UserError
from bench.jobs.identity import shard_key
from bench.jobs.job import Failure, PlannedJob
from bench.jobs.launcher import Ending, Launcher, OnProgress, Worker
from bench.jobs.messages import Complete, Progress
from bench.jobs.shards.phase import shard_phase
from bench.passes.shards.division import Shard
from bench.passes.shards.file import path_of
from bench.passes.shards.merged import wrong_with
from bench.schema.parts.accuracy import made_overlaps, parts_to_compute
from bench.schema.result import SHARDS, UNFINISHED, read_result, write_result

ATTEMPTS = 3
"""How often a shard is started whose worker dies."""


@dataclass
class Outcome:
    """How the shards of a row have ended.

    parts: seconds of all their workers by what these said that they did
    failure: of the first shard that could not be had; None where all are there
    failed: that shard
    """

    parts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    failure: Failure | None = None
    failed: Shard | None = None

    def parts_within(self, seconds: float) -> Mapping[str, float]:
        """Give the parts of so many seconds of wall time, in proportion to those of the workers, which overlapped."""
        total = sum(self.parts.values())
        return {part: taken * seconds / total for part, taken in self.parts.items()} if total else {}


def run_shards(job: PlannedJob, of: int, launchers: Sequence[Launcher], on_progress: OnProgress) -> Outcome:
    """Have every shard of a row predicted that is not there yet, and tell how that went.

    launchers: one for each worker that may be at work at the same time

    Raises:
        KeyboardInterrupt: after all workers have ended; shards that were whole by then are kept.
    """
    return _Shards(job, of, on_progress).run(launchers)


def shard_job(job: PlannedJob, shard: Shard) -> PlannedJob:
    """Give the job of a shard: that of its row, with a folder and so a result and a log of its own."""
    return dataclasses.replace(job, folder=path_of(job.folder, shard).parent)


def forget_shards(job: PlannedJob) -> None:
    """Remove the shards of a row whose accuracy is measured."""
    shutil.rmtree(job.folder / SHARDS, ignore_errors=True)


class _Shards:
    def __init__(self, job: PlannedJob, of: int, on_progress: OnProgress) -> None:
        self._job, self._of, self._outcome = job, of, Outcome()
        result = read_result(job.result_path)
        self._overlaps = made_overlaps(job.config, parts_to_compute(job.config, result.accuracy))
        self._key = shard_key(job.config, job.contents, job.weights_sha256)
        self._progress = _Together(of, on_progress)
        self._lock = threading.Lock()
        self._working: set[Worker] = set()
        self._stopped = False

    def run(self, launchers: Sequence[Launcher]) -> Outcome:
        """See :func:`run_shards`."""
        self._left = deque(shard for shard in self._all() if self._wrong_with(shard))
        for shard in self._all():
            if shard not in self._left:
                self._progress.done(shard)
        with ThreadPoolExecutor(max(1, min(len(launchers), len(self._left)))) as threads:
            loops = [threads.submit(self._work, launcher) for launcher in launchers[: len(self._left)]]
            try:
                for loop in loops:
                    loop.result()
            except BaseException:
                self._stop()
                raise
        return self._outcome

    def _all(self) -> list[Shard]:
        return [Shard(number, self._of) for number in range(1, self._of + 1)]

    def _wrong_with(self, shard: Shard) -> str:
        """Give the reason why a shard is not there, or is not one of this row; "" where nothing is wrong with it."""
        return wrong_with(path_of(self._job.folder, shard), shard, self._key, self._overlaps, self._job.now)

    def _work(self, launcher: Launcher) -> None:
        """Run one shard after the other, until none is left or one cannot be had."""
        while True:
            with self._lock:
                if not self._left or self._outcome.failure is not None or self._stopped:
                    return
                shard = self._left.popleft()
            if (failure := self._have(shard, launcher)) is not None:
                with self._lock:
                    if self._outcome.failure is None:
                        self._outcome.failure, self._outcome.failed = failure, shard
                return
            self._progress.done(shard)

    def _have(self, shard: Shard, launcher: Launcher) -> Failure | None:
        """Have a shard predicted, by one worker after the other where they die; give the reason where it is not had."""
        attempts = 1
        while failure := self._attempt(shard, launcher):
            if failure.status != "crashed" or self._stopped or attempts == ATTEMPTS:
                tried = f" ({attempts} times)" if attempts > 1 else ""
                reason = f"{shard}{tried}: {failure.reason} (in {SHARDS}/{shard.name})"
                return Failure(failure.status, reason)
            attempts += 1
        return None

    def _attempt(self, shard: Shard, launcher: Launcher) -> Failure | None:
        """Have a worker predict a shard; give the reason where the shard is not there afterwards."""
        job = shard_job(self._job, shard)
        self._prepare(job)
        with self._lock:
            worker = launcher.start(job, shard_phase(shard))
        with worker:
            with self._lock:
                self._working.add(worker)
                if self._stopped:
                    worker.interrupt()
            try:
                worker.tell("begin")
                worker.tell_no_more()
                ending = worker.listen(Complete, lambda progress: self._progress(shard, progress))
            finally:
                with self._lock:
                    self._working.discard(worker)
                    self._outcome.parts.update(worker.seconds_by_part)
        assert ending is not None
        if not path_of(self._job.folder, shard).exists():
            return _failure(job, ending)
        if wrong := self._wrong_with(shard):
            return Failure("failed", f"{wrong}; the same command predicts it anew")
        if ending.note:
            self._outcome.notes.append(f"{shard}: {ending.note}")
        return None

    def _prepare(self, job: PlannedJob) -> None:
        """Give a shard a new folder, with what the row has measured so far: its worker holds itself to that."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(job.folder)
        job.folder.mkdir(parents=True)
        so_far = dataclasses.replace(read_result(self._job.result_path), notes=[], seconds=None, seconds_by_part={})
        write_result(so_far, job.result_path)

    def _stop(self) -> None:
        """Have every worker end, as Ctrl-C does."""
        with self._lock:
            self._stopped = True
            for worker in self._working:
                worker.interrupt()


def _failure(job: PlannedJob, ending: Ending) -> Failure:
    """Give the reason why a worker's shard is not there: what it wrote itself, else how it ended."""
    with contextlib.suppress(UserError):
        result = read_result(job.result_path)
        if result.reason not in (None, UNFINISHED) and ending.status in (None, "crashed"):
            return Failure(result.status, result.reason)
    if ending.status is not None:
        return Failure(ending.status, ending.reason or "")
    return Failure("crashed", "its worker has ended without a word, and its file is not there")


class _Together:
    """Tells how far all shards are together, as if one worker predicted them."""

    def __init__(self, of: int, on_progress: OnProgress) -> None:
        self._of, self._on_progress = of, on_progress
        self._shares: dict[Shard, float] = {}
        self._images: Counter[Shard] = Counter()
        self._lock = threading.Lock()

    def __call__(self, shard: Shard, progress: Progress) -> None:
        """Take the progress of one shard; what is no part of the pass itself is not told."""
        if progress.name == "accuracy":
            self._tell(shard, progress.done / max(progress.total, 1e-9), progress.images)

    def done(self, shard: Shard) -> None:
        """Take notice of a shard that is there."""
        self._tell(shard, 1.0, self._images[shard])

    def _tell(self, shard: Shard, share: float, images: int) -> None:
        with self._lock:
            self._shares[shard], self._images[shard] = share, images
            done, total = sum(self._shares.values()), sum(self._images.values())
            self._on_progress(Progress("accuracy", done, self._of, total))
