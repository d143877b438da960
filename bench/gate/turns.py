"""Two jobs measured in turns: a worker for each, and one round of speed at a time, first of one, then of the other."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from typing import Any

from bench.jobs.job import PlannedJob, open_result, write_job
from bench.jobs.launcher import TICK_SECONDS, Bounds, OnProgress, conclude, kill, start_worker
from bench.schema.result import INTERRUPTED, read_result

OTHER_DIED = "stopped before its last round, since the worker that it took turns with had died"
"""Reason of a result whose own worker was well, and whose figures are its own."""


class WorkerDiedError(Exception):
    """A worker ended, or had to be ended, before its rounds were done; its result says how. Its argument is the
    :class:`TurnWorker`."""


class TurnWorker:
    """A worker that measures a round of its job's speed whenever it is told to, and otherwise sleeps.

    To be used with ``with``: at the end of the block the worker is gone and its result is on disk.
    """

    def __init__(self, job: PlannedJob, on_progress: OnProgress) -> None:
        self.job = job
        self._on_progress = on_progress
        self._began = time.monotonic()
        job.due = ["speed"]
        job.folder.mkdir(parents=True, exist_ok=True)
        open_result(job)
        write_job(job)
        self._worker, messages = start_worker(job, "turns", stdin=subprocess.PIPE)
        self._pipe = os.fdopen(messages, "rb", buffering=0)
        self._pending = b""
        self._killed: tuple[str, str] | None = None

    def __enter__(self) -> TurnWorker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            died = kind is WorkerDiedError and error is not None and error.args == (self,)
            returncode = self._returncode(5.0 if died else 0.0)
            if returncode is None and self._killed is None:
                self._killed = ("ok", OTHER_DIED) if kind is WorkerDiedError else ("failed", INTERRUPTED)
            kill(self._worker)
            self._pipe.close()
            conclude(self.job, returncode, self._killed, time.monotonic() - self._began)

    def wait(self) -> None:
        """Until the worker is ready for its next turn.

        Raises:
            WorkerDiedError: it will never be.
        """
        bounds = Bounds(self.job.config)
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while True:
                if selector.select(TICK_SECONDS) and self._read():
                    return
                if exceeded := bounds.exceeded(self._worker):
                    self._killed = exceeded
                    raise WorkerDiedError(self)

    def turn(self, batches: int | None) -> int:
        """Measure one round, of so many batches, or of as many as the protocol asks for; gives how many they were.

        Raises:
            WorkerDiedError: the round was not finished.
        """
        assert self._worker.stdin is not None
        try:
            self._worker.stdin.write(f"{'' if batches is None else batches}\n".encode())
            self._worker.stdin.flush()
        except OSError as error:
            raise WorkerDiedError(self) from error
        self.wait()
        speed = read_result(self.job.result_path).speed
        assert speed is not None
        return speed.rounds[-1].samples

    def _read(self) -> bool:
        """Take what the worker says; whether it is ready."""
        data = self._pipe.read(65536)
        if not data:
            raise WorkerDiedError(self)
        *lines, self._pending = (self._pending + data).split(b"\n")
        ready = False
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if message.get("ready"):
                ready = True
            else:
                self._on_progress(message)
        return ready

    def _finish(self) -> None:
        assert self._worker.stdin is not None
        self._worker.stdin.close()
        bounds = Bounds(self.job.config)
        while self._returncode(TICK_SECONDS) is None:
            if exceeded := bounds.exceeded(self._worker):
                self._killed = exceeded
                return

    def _returncode(self, patience_s: float) -> int | None:
        """Of a worker that has ended by itself; its pipe may close a moment before that."""
        try:
            return self._worker.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            return None
