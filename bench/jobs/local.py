"""Runs workers as processes of this machine, bounds their time and memory, and ends them with their children."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

import psutil

from bench.jobs.job import PlannedJob, write_job
from bench.jobs.launcher import TRAIN, Ending, OnProgress
from bench.jobs.messages import Complete, Message, Progress, Ready, decode
from bench.jobs.start import worker_command, worker_environment
from bench.schema.config import BenchConfig

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 10
"""How long a worker that was asked to stop may take before it is killed."""

_STEADY_HEAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment of the memory pass. glibc moves this threshold while a program runs, and the resident memory of the same
program then differs by 3 % from one start to the next; with a fixed threshold, by 0.03 %. Allocating gets slower, so
the pass has its own process."""


class LocalLauncher:
    """Starts a process for each worker."""

    def start(self, job: PlannedJob, phase: str) -> LocalWorker:
        """See :class:`bench.jobs.launcher.Launcher`."""
        return LocalWorker(job, phase)


class LocalWorker:
    """See :class:`bench.jobs.launcher.Worker`."""

    def __init__(self, job: PlannedJob, phase: str) -> None:
        write_job(job)
        self._log = job.folder / "worker.log"
        self._process, descriptor = _start(job, phase, self._log)
        self._pipe = os.fdopen(descriptor, "rb", buffering=0)
        self._pending = b""
        self._complete = False
        self._config, self._phase = job.config, phase
        self._hidden = job.from_environment

    def __enter__(self) -> LocalWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _kill(self._process)
        self._pipe.close()
        self._hidden.hide_in_file(self._log)

    def tell(self, line: str) -> None:
        """See :meth:`bench.jobs.launcher.Worker.tell`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died already: listening will tell how
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def tell_no_more(self) -> None:
        """See :meth:`bench.jobs.launcher.Worker.tell_no_more`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def listen(self, until: type[Ready] | type[Complete], on_progress: OnProgress) -> Ending | None:
        """See :meth:`bench.jobs.launcher.Worker.listen`; between messages it takes no processor time."""
        bounds = Bounds(self._config, self._phase)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._pipe, selectors.EVENT_READ)
                while True:
                    alive = self._process.poll() is None
                    if selector.get_map() and selector.select(_TICK_SECONDS if alive else 0):
                        if (messages := self._read()) is None:
                            selector.unregister(self._pipe)
                        elif self._take(messages, on_progress) and until is Ready:
                            return None
                    elif not alive:
                        return self._ending()
                    elif not selector.get_map():
                        time.sleep(_TICK_SECONDS / 10)
                    if exceeded := bounds.exceeded(self._process):
                        _kill(self._process)
                        return Ending(False, *exceeded)
        except ValueError as error:  # it sent a line that is no message
            _kill(self._process)
            return Ending(False, "crashed", str(error))
        except KeyboardInterrupt:
            self._stop_gently()
            raise

    def _read(self) -> list[Message] | None:
        """Give the messages that have come; None at the end of the pipe.

        Raises:
            ValueError: a line is no message.
        """
        data = self._pipe.read(65536)
        if not data:
            return None
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [decode(line) for line in lines]

    def _take(self, messages: list[Message], on_progress: OnProgress) -> bool:
        """Pass progress on; tell whether the worker is ready for its next round."""
        ready = False
        for message in messages:
            if isinstance(message, Progress):
                on_progress(message)
            self._complete |= isinstance(message, Complete)
            ready |= isinstance(message, Ready)
        return ready

    def _ending(self) -> Ending:
        """Tell how a worker ended that was not killed, whatever its result says."""
        code = self._process.returncode
        if not self._complete:
            return Ending(False, "crashed", _cause_of_death(code, self._log))
        note = f"after its result was complete, the worker ended with exit status {code}" if code else ""
        return Ending(True, note=note)

    def _stop_gently(self) -> None:
        """Interrupt the worker as Ctrl-C does, so that it writes what it has measured."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_PATIENCE_SECONDS)


class Bounds:
    """The limits of a worker: time from now on, and host memory."""

    def __init__(self, config: BenchConfig, phase: str) -> None:
        protocol = config.protocol
        self._seconds, self._key = protocol.time_limit_s, "protocol.time_limit_s"
        if phase == TRAIN and config.finetune is not None:
            self._seconds, self._key = config.finetune.time_limit_s, "finetune.time_limit_s"
        self._deadline = time.monotonic() + self._seconds if self._seconds else math.inf
        self._gb = protocol.memory_limit_gb

    def exceeded(self, worker: subprocess.Popen[bytes]) -> tuple[str, str] | None:
        """Give status and reason where the worker has passed a limit and must be killed, else None."""
        if time.monotonic() > self._deadline:
            return "timeout", f"not done after {self._seconds:g} s ({self._key})"
        if self._gb and (used := _rss_bytes(worker.pid) / 1e9) > self._gb:
            return "out_of_memory", (
                f"used {used:.2f} GB of host memory, the limit is {self._gb:g} GB (protocol.memory_limit_gb)"
            )
        return None


def _start(job: PlannedJob, phase: str, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the worker's process; give it and the descriptor from which its messages are read."""
    read_end, write_end = os.pipe()
    command = worker_command(job.config.model.python, job.root, str(job.folder), str(write_end), phase)
    with open(log, "ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env=worker_environment() | job.from_environment.variables() | (_STEADY_HEAP if phase == "memory" else {}),
            cwd=job.cwd,
            pass_fds=(write_end,),
            start_new_session=True,  # Ctrl-C then reaches only us, and a kill reaches the worker's children too
        )
    os.close(write_end)
    return process, read_end


def _cause_of_death(returncode: int, log: Path) -> str:
    if returncode < 0:
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
    """Give the resident memory of the worker and its children in bytes; 0 when it has just ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family)
    except psutil.Error:
        return 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and its children, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
