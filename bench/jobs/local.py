"""Runs workers as processes of this machine, bounds their time and memory, and ends them with their children."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from bench.device.cores import Reserve
from bench.device.processes import COMMAND
from bench.device.slots.slot import Slot
from bench.jobs.job import PlannedJob, write_job
from bench.jobs.launcher import TRAIN, Ending, OnProgress, OnUntimed
from bench.jobs.messages import Complete, Doing, Message, Progress, Ready
from bench.jobs.process.contained import Contained
from bench.jobs.process.limits import TICK_SECONDS, Limits
from bench.jobs.process.parts import Parts
from bench.jobs.process.stop import Stop
from bench.jobs.start import worker_command, worker_environment

_PATIENCE_SECONDS = 10
"""How long a worker that was asked to stop may take before it is killed."""

_LEAVE_SECONDS = 60
"""How long a worker whose result is complete may take to end: a thread of the user's can keep a process for ever."""

_STEADY_HEAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment of the memory pass. glibc moves this threshold while a program runs, and the resident memory of the same
program then differs by 3 % from one start to the next; with a fixed threshold, by 0.03 %. Allocating gets slower, so
the pass has its own process."""


_WHOLE_MACHINE = Slot("", "")

OnPart = Callable[[str], None]
"""Takes the part of its work (:data:`bench.schema.result.ALL_SECONDS_PARTS`) that a worker begins."""


class LocalLauncher:
    """Starts a process for each worker. While one is pinned, this process leaves it its cores.

    slot: the part of the machine that the workers may use; without one, all of it
    stop: says when they must end, where Ctrl-C does not reach the thread that listens to them
    on_part: is called when a worker begins another part of its work
    """

    def __init__(self, slot: Slot | None = None, stop: Stop | None = None, on_part: OnPart = lambda part: None) -> None:
        self._reserve = Reserve()
        self._slot, self._stop, self._on_part = slot or _WHOLE_MACHINE, stop or Stop(), on_part

    @property
    def where(self) -> str:
        """Give the name of the slot; "" without one."""
        return "" if self._slot is _WHOLE_MACHINE else self._slot.name

    def start(self, job: PlannedJob, phase: str) -> LocalWorker:
        """See :class:`bench.jobs.launcher.Launcher`."""
        return LocalWorker(job, phase, self._reserve, self._slot, self._stop, self._on_part)


class LocalWorker:
    """See :class:`bench.jobs.launcher.Worker`."""

    def __init__(
        self,
        job: PlannedJob,
        phase: str,
        reserve: Reserve,
        slot: Slot = _WHOLE_MACHINE,
        stop: Stop | None = None,
        on_part: OnPart = lambda part: None,
    ) -> None:
        write_job(job)
        with contextlib.ExitStack() as stack:
            pinned = stack.enter_context(reserve.of_worker()) if job.config.protocol.pin else {}
            self._process = _start(job, phase, pinned, slot)
            self._to_the_end = stack.pop_all()
        self._job, self._phase = job, phase
        self._stop, self._on_part = stop or Stop(), on_part
        self._completed: float | None = None
        self._parts = Parts()
        self._untimed = False
        self._interrupted = threading.Event()

    def __enter__(self) -> LocalWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._to_the_end:
            self._process.__exit__(kind, error, trace)
        self._job.from_environment.hide_in_file(self._job.folder / "worker.log")

    @property
    def complete(self) -> bool:
        """See :attr:`bench.jobs.launcher.Worker.complete`."""
        return self._completed is not None

    def tell(self, line: str) -> None:
        """See :meth:`bench.jobs.launcher.Worker.tell`."""
        self._process.tell(line)

    def tell_no_more(self) -> None:
        """See :meth:`bench.jobs.launcher.Worker.tell_no_more`."""
        self._process.tell_no_more()

    def interrupt(self) -> None:
        """See :meth:`bench.jobs.launcher.Worker.interrupt`; the thread looks twice a second."""
        self._interrupted.set()

    @property
    def seconds_by_part(self) -> dict[str, float]:
        """See :attr:`bench.jobs.launcher.Worker.seconds_by_part`."""
        return self._parts.seconds

    def listen(
        self, until: type[Ready] | type[Complete], on_progress: OnProgress, on_untimed: OnUntimed = lambda: None
    ) -> Ending | None:
        """See :meth:`bench.jobs.launcher.Worker.listen`; between messages it takes no processor time."""
        self._parts.listen()
        try:
            return self._listen(until, on_progress, on_untimed)
        finally:
            self._parts.stop()

    def _listen(
        self, until: type[Ready] | type[Complete], on_progress: OnProgress, on_untimed: OnUntimed
    ) -> Ending | None:
        limits = self._limits()
        try:
            while True:
                if self._stop.asked or self._interrupted.is_set():
                    raise KeyboardInterrupt
                alive = self._process.alive  # asked first, so that what it said before its end is read
                messages = self._process.messages(TICK_SECONDS if alive else 0)
                if self._take(messages, on_progress, on_untimed) and until is Ready:
                    return None
                if not alive and not messages:
                    return self._ending()
                if ending := self._overdue(limits):
                    self._process.kill()
                    return ending
        except ValueError as error:  # it sent a line that is no message
            self._process.kill()
            return Ending(False, "crashed", str(error))
        except KeyboardInterrupt:
            self._stop_gently()
            raise

    def _limits(self) -> Limits:
        config = self._job.config
        seconds, key = config.protocol.time_limit_s, "protocol.time_limit_s"
        if self._phase == TRAIN and config.finetune is not None:
            seconds, key = config.finetune.time_limit_s, "finetune.time_limit_s"
        return Limits(seconds, key, config.protocol.memory_limit_gb)

    def _take(self, messages: list[Message], on_progress: OnProgress, on_untimed: OnUntimed = lambda: None) -> bool:
        """Pass progress on; tell whether the worker is ready for its next round."""
        ready = False
        for message in messages:
            if isinstance(message, Progress):
                on_progress(message)
            elif isinstance(message, Complete):
                self._completed = self._completed or time.monotonic()
                self._begin("end")
            elif isinstance(message, Doing):
                self._begin(message.part)
                if message.untimed and not self._untimed:
                    self._untimed = True
                    on_untimed()
            elif isinstance(message, Ready):
                ready = True
            else:
                raise ValueError(f"no message of a worker at work: {message!r:.80}")
        return ready

    def _begin(self, part: str) -> None:
        self._parts.begin(part)
        self._on_part(part)

    def _overdue(self, limits: Limits) -> Ending | None:
        """Give the ending of a worker that must be killed; None for any other."""
        if self._completed is not None:
            if time.monotonic() < self._completed + _LEAVE_SECONDS:
                return None
            return Ending(True, note=f"the worker did not end within {_LEAVE_SECONDS} s after its result was complete")
        exceeded = limits.exceeded(self._process.pid)
        return Ending(False, *exceeded) if exceeded else None

    def _ending(self) -> Ending:
        """Tell how a worker ended that was not killed, whatever its result says."""
        if not self.complete:
            return Ending(False, "crashed", f"the worker {self._process.cause_of_death()}")
        code = self._process.returncode
        note = f"after its result was complete, the worker ended with exit status {code}" if code else ""
        return Ending(True, note=note)

    def _stop_gently(self) -> None:
        """Interrupt the worker as Ctrl-C does, so that it writes what it has measured; one that is done may end."""
        try:
            self._take(self._process.messages(0), lambda _: None)
            if not self.complete:
                self._process.interrupt()
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while self._process.alive and time.monotonic() < deadline and not self._stop.at_once:
                self._take(self._process.messages(0.1), lambda _: None)
        except ValueError:
            pass  # it is ended in any case


def _start(job: PlannedJob, phase: str, pinned: Mapping[str, str], slot: Slot) -> Contained:
    """Start the worker's process. Its folder is absolute, because a class may change the current one.

    pinned: variables that tell a pinned worker its cores
    """
    folder = job.folder.absolute()
    with slot.starting():
        return Contained(
            lambda descriptor: worker_command(job.config.model.python, job.root, str(folder), str(descriptor), phase),
            subprocess.PIPE,
            folder / "worker.log",
            worker_environment(job.checkout)
            | job.from_environment.variables()
            | {COMMAND: str(os.getpid()), **pinned, **slot.variables}
            | (_STEADY_HEAP if phase == "memory" else {}),
            job.cwd,
        )
