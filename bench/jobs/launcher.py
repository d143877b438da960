"""The parent's side of one job: start the worker, bound its time and memory, turn any death into a Result."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.jobs.job import PlannedJob, new_result, open_result, training_left, write_job
from bench.jobs.start import worker_command, worker_environment
from bench.schema.config import BenchConfig
from bench.schema.result import INTERRUPTED, UNFINISHED, Result, read_result, write_result
from bench.weights.download import sha256_of

TICK_SECONDS = 0.5

OnProgress = Callable[[dict[str, Any]], None]

_STEADY_HEAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""For the memory pass: glibc moves this threshold as a program goes, and resident memory of the same program then
differs by 3 % from one run to the next; held, by 0.03 %. It makes allocating slower: the pass has its own process."""


def run_job(job: PlannedJob, on_progress: OnProgress) -> Result:
    """Run one job in a worker process, as far as it is ``due``, and give its Result, which is on disk by then.

    Raises:
        KeyboardInterrupt: after the worker has been stopped and what it measured is on disk.
    """
    if job.skip_reason is not None:
        result = new_result(job, "skipped", job.skip_reason)
        write_result(result, job.result_path)
        return result
    job.folder.mkdir(parents=True, exist_ok=True)
    open_result(job)
    began = time.monotonic()
    if training_left(job):
        with _Worker(job, "train") as worker:
            trained = worker.run(on_progress, began)
        if training_left(job) or trained.reason != UNFINISHED:
            return trained
    if job.config.finetune is not None:
        _measure_what_was_trained(job)
    with contextlib.ExitStack() as workers:
        waiting = None
        if "memory" in job.due:
            job.due = [name for name in job.due if name != "memory"]
            first = workers.enter_context(_Worker(job, "memory"))
            if job.due and _is_of_this_version(job):
                # Imports while the other measures, which times nothing; touches no model and no GPU before its turn.
                waiting = workers.enter_context(_Worker(job, "waiting"))
            measured = first.run(on_progress, began)
            if measured.reason != UNFINISHED:
                return measured
        if not job.due:
            return _finish(job, "ok", None, time.monotonic() - began)
        second = waiting or workers.enter_context(_Worker(job, "waiting"))
        return second.run(on_progress, began)


def _is_of_this_version(job: PlannedJob) -> bool:
    """Whether the job's worker is this maskbench's: that of a base checked out beside it may be older, and know neither
    to wait nor to say that its stage is complete."""
    return job.root is None


class _Worker:
    """A worker process for the passes, or for a stage of them: started at once, gone at the end of the ``with``."""

    def __init__(self, job: PlannedJob, stage: str) -> None:
        self._job, self._stage, self._complete = job, stage, False
        write_job(job)
        self._process, messages = start_worker(job, stage, stdin=subprocess.PIPE)
        self._pipe = os.fdopen(messages, "rb", buffering=0)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        kill(self._process)
        self._pipe.close()

    def run(self, on_progress: OnProgress, began: float) -> Result:
        """Let a worker that waits begin, attend it to its end, and give the result as it is then on disk."""
        job, process, seconds = self._job, self._process, lambda: time.monotonic() - began
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # one that has died already: its exit status will tell
            process.stdin.write(b"go\n")
            process.stdin.close()
        try:
            killed = self._attend(on_progress)
        except KeyboardInterrupt:
            _stop_gently(process)
            conclude(job, process.returncode, ("failed", INTERRUPTED), seconds())
            raise
        kill(process)
        # One that ends without a word has not done what it should, whatever its exit status.
        complete = self._complete or (self._stage in ("train", "memory") and not _is_of_this_version(job))
        if complete and killed is None and process.returncode == 0 and not training_left(job):
            return read_result(job.result_path)
        return conclude(job, process.returncode, killed, seconds())

    def _attend(self, on_progress: OnProgress) -> tuple[str, str] | None:
        """Wait for the worker's end, asleep but for its messages; gives (status, reason) where we had to kill it."""
        bounds, pending = Bounds(self._job.config, self._stage), b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while True:
                alive = self._process.poll() is None
                if selector.get_map() and selector.select(TICK_SECONDS if alive else 0):
                    data = self._pipe.read(65536)
                    if not data:
                        selector.unregister(self._pipe)
                    *lines, pending = (pending + data).split(b"\n")
                    for message in map(json.loads, lines):
                        if "complete" in message:
                            self._complete = True
                        else:
                            on_progress(message)
                elif not alive:
                    return None
                elif not selector.get_map():
                    time.sleep(TICK_SECONDS / 10)
                if exceeded := bounds.exceeded(self._process):
                    kill(self._process)
                    return exceeded


def _measure_what_was_trained(job: PlannedJob) -> None:
    finetune = read_result(job.result_path).finetune
    assert finetune is not None
    assert finetune.checkpoint is not None
    path = job.folder / finetune.checkpoint
    job.weights_path, job.weights_sha256 = str(path.resolve()), sha256_of(path)


def _finish(job: PlannedJob, status: str, reason: str | None, seconds: float) -> Result:
    result = read_result(job.result_path)
    result.status, result.reason, result.seconds = status, reason, (result.seconds or 0.0) + seconds
    write_result(result, job.result_path)
    return result


def start_worker(job: PlannedJob, stage: str, stdin: int) -> tuple[subprocess.Popen[bytes], int]:
    """The worker process, which reads ``job.json`` to find its job, and the end of a pipe with its messages."""
    read_end, write_end = os.pipe()
    command = worker_command(job.config.model.python, job.root, str(job.folder), str(write_end), stage)
    with open(job.folder / "worker.log", "ab") as log:
        worker = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=log,
            stderr=log,
            env=worker_environment() | (_STEADY_HEAP if stage == "memory" else {}),
            cwd=job.cwd,
            pass_fds=(write_end,),
            start_new_session=True,  # so that Ctrl-C reaches us alone, and a kill reaches its children too
        )
    os.close(write_end)
    return worker, read_end


class Bounds:
    """What a worker may take: time, from now on, and memory of the host."""

    def __init__(self, config: BenchConfig, stage: str = "") -> None:
        protocol = config.protocol
        self._seconds, self._key = protocol.time_limit_s, "protocol.time_limit_s"
        if stage == "train" and config.finetune is not None:
            self._seconds, self._key = config.finetune.time_limit_s, "finetune.time_limit_s"
        self._deadline = time.monotonic() + self._seconds if self._seconds else math.inf
        self._gb = protocol.memory_limit_gb

    def exceeded(self, worker: subprocess.Popen[bytes]) -> tuple[str, str] | None:
        """Status and reason of a worker that has taken more, and has to be killed."""
        if time.monotonic() > self._deadline:
            return "timeout", f"not done after {self._seconds:g} s ({self._key})"
        if self._gb and (used := _rss_bytes(worker.pid) / 1e9) > self._gb:
            return "out_of_memory", (
                f"used {used:.2f} GB of host memory, the limit is {self._gb:g} GB (protocol.memory_limit_gb)"
            )
        return None


def conclude(job: PlannedJob, returncode: int | None, killed: tuple[str, str] | None, seconds: float) -> Result:
    """The worker's own result where it finished one, else one that says how it died, with what was measured."""
    result = read_result(job.result_path)
    if killed is not None:
        result.status, result.reason = killed
    elif result.reason == UNFINISHED:
        result.status, result.reason = "crashed", _cause_of_death(returncode, job.folder / "worker.log")
    elif returncode != 0:
        result.notes.append(f"after its result was complete, the worker ended with exit status {returncode}")
    result.seconds = (result.seconds or 0.0) + seconds
    write_result(result, job.result_path)
    return result


def _cause_of_death(returncode: int | None, log: Path) -> str:
    if returncode is not None and returncode < 0:
        name = signal.Signals(-returncode).name
        hint = ", by the kernel if the machine's memory ran out" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}; see {log.name}"
    return f"the worker ended with exit status {returncode} before its result was complete; {_last_line(log)}"


def _last_line(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return f"its last words: {lines[-1].strip()[:300]}" if lines else f"{log.name} is empty"


def _rss_bytes(pid: int) -> int:
    """Resident memory of the worker and its children; 0 when it has just ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family)
    except psutil.Error:
        return 0


def _stop_gently(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=10)


def kill(worker: subprocess.Popen[bytes]) -> None:
    """End a worker and its children, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
