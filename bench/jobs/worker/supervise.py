"""Divides a worker in two: a child that does the work, and its parent, the supervisor, which outlives all of it.

The command starts the supervisor. When the child has ended, the supervisor ends every process that the child has
started, and then it ends itself in the same way, with the same exit status or signal. When the command has ended, or
asks for it by SIGTERM, the supervisor ends the child first. SIGINT goes on to the child.

On Linux no process gets away: a process whose parent has ended becomes a child of the supervisor, also one that has
a session of its own. On other systems a process with a session of its own does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from typing import NoReturn

LOG_BYTES = 10_000_000
"""The log of a worker grows no longer than this. Of what the worker prints beyond it, only the end is kept."""

END_BYTES = 50_000

_CHUNK = 65536
_GRACE_SECONDS = 0.5
"""How long the processes that a worker leaves behind may take to end by themselves: multiprocessing's resource tracker
removes shared memory when its worker has ended."""
_PATIENCE_SECONDS = 10
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def supervise(answers: int) -> None:
    """Return in a child process, which is the worker; the calling process supervises it and never returns.

    answers: the descriptor of the worker's messages; the command has ended where nobody can read them

    Nothing may be imported before that takes long: until then a worker can outlive its command.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    supervisor = os.getpid()
    reading, writing = os.pipe()
    worker = os.fork()
    if worker == 0:
        _become_the_worker(supervisor, reading, writing)
        return
    os.close(writing)
    _Supervisor(worker, answers, reading).run()


def _become_the_worker(supervisor: int, reading: int, writing: int) -> None:
    """Print into the supervisor's pipe, in a session of its own, so that a signal to the own group reaches no other."""
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it was killed before the line above
        os._exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in the background without it
    os.close(reading)
    for descriptor in (1, 2):
        os.dup2(writing, descriptor)
    os.close(writing)


class _Supervisor:
    """Waits for the worker's end, for the command's end, for signals and for what the worker prints."""

    def __init__(self, worker: int, answers: int, printed: int) -> None:
        self._worker, self._printed = worker, printed
        self._status: int | None = None
        self._log = _Log()
        os.set_blocking(printed, False)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what the command tells is for the worker alone
        self._signals = _signal_pipe()
        self._poll = select.poll()
        self._poll.register(printed, select.POLLIN)
        self._poll.register(self._signals, select.POLLIN)
        self._poll.register(answers, 0)  # tells only that the other end is closed
        self._answers = answers

    def run(self) -> NoReturn:
        asked_to_end = False
        while self._reap() and self._status is None and not asked_to_end:
            for descriptor, event in self._poll.poll():
                if descriptor == self._answers:
                    asked_to_end = True
                elif descriptor == self._signals:
                    asked_to_end |= self._heed(os.read(self._signals, _CHUNK))
                elif not self._pump() and event & select.POLLHUP:
                    self._poll.unregister(self._printed)  # the worker has closed its descriptors 1 and 2
        self._end_all(0 if asked_to_end else _GRACE_SECONDS)
        self._log.close()
        _end_like(self._status)

    def _heed(self, numbers: bytes) -> bool:
        """Pass SIGINT on; tell whether there was a SIGTERM."""
        if signal.SIGINT in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGINT)
        return signal.SIGTERM in numbers

    def _reap(self) -> bool:
        """Take notice of every child that has ended; tell whether any is left."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if process == 0:
                return True
            if process == self._worker:
                self._status = os.waitstatus_to_exitcode(status)

    def _end_all(self, grace: float) -> None:
        """End the worker and all that it started, and keep what they still print.

        A killed process leaves its own children to the supervisor, so this goes on until none is left.
        """
        began = time.monotonic()
        while self._reap() and time.monotonic() < began + _PATIENCE_SECONDS:
            if time.monotonic() >= began + grace:
                for process in _children() or [self._worker]:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(process, signal.SIGKILL)
            self._pump()
            time.sleep(0.01)
        if sys.platform != "linux":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._worker, signal.SIGKILL)
        while self._pump():
            pass

    def _pump(self) -> bool:
        """Copy what the worker has printed into its log; tell whether there was anything."""
        try:
            data = os.read(self._printed, _CHUNK)
        except BlockingIOError:
            return False
        self._log.write(data)
        return bool(data)


class _Log:
    """Writes what the worker prints to descriptor 1, which is its log, and leaves out the middle of very much."""

    def __init__(self) -> None:
        self._room = max(END_BYTES, LOG_BYTES - os.fstat(1).st_size)
        self._end = b""
        self._left_out = 0

    def write(self, data: bytes) -> None:
        fits, rest = data[: self._room], data[self._room :]
        self._room -= len(fits)
        self._to_disk(fits)
        kept = (self._end + rest)[-END_BYTES:]
        self._left_out += len(self._end) + len(rest) - len(kept)
        self._end = kept

    def close(self) -> None:
        if self._left_out:
            self._to_disk(f"\n[{self._left_out} bytes left out: a log grows to {LOG_BYTES} bytes]\n".encode())
        self._to_disk(self._end)

    def _to_disk(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end the measurement
            while data:
                data = data[os.write(1, data) :]


def _signal_pipe() -> int:
    """Have the numbers of the signals that concern a supervisor written into a pipe; give its reading end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reading


def _children() -> list[int]:
    """Give the processes whose parent is this one; none where the system has no /proc of Linux."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{name}/stat", "rb") as file:
                # The second field is the name of the program in brackets, and may hold anything.
                parent = int(file.read().rpartition(b")")[2].split()[1])
            if parent == os.getpid():
                found.append(int(name))
    return found


def _end_like(status: int | None) -> NoReturn:
    """End this process with the worker's exit status, or by the signal that ended the worker."""
    if status is None:
        os._exit(1)
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the worker has left its own
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
        time.sleep(1)
        os._exit(128 - status)
    os._exit(status)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
