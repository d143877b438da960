"""A process that runs code of the user's: what it says is read with care, and it is always ended, with its children.

:mod:`bench.jobs.worker.supervise` is the other half, in the process itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from bench.jobs.messages import Inbox, Message
from bench.jobs.process.log import last_line

_CHUNK = 65536
_FLOOD = 8192
"""Bytes that come at once from no worker that sends a message now and then."""

_KILL_SECONDS = 15
"""How long a supervisor may take to end all processes of its worker; more than its own patience."""


class Contained:
    """A process that is started with the descriptor of its messages, and ended at the end of the ``with`` block."""

    def __init__(
        self,
        command: Callable[[int], list[str]],
        stdin: int | IO[bytes],
        log: Path,
        environment: Mapping[str, str],
        cwd: str | None,
    ) -> None:
        """Start the process.

        command: gives the command line for the descriptor to which the process sends its messages
        log: the file to which descriptors 1 and 2 of the process are appended

        Raises:
            OSError: the program cannot be started.
        """
        self._log = log
        self._inbox = Inbox()
        self._reading, writing = os.pipe()
        try:
            self._process = _start(command(writing), writing, stdin, log, environment, cwd)
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)
        os.set_blocking(self._reading, False)
        self._readable = select.poll()
        self._readable.register(self._reading, select.POLLIN)
        self._open = True

    def __enter__(self) -> Contained:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        os.close(self._reading)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Give the id of the process; those that it has started are its descendants."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended. What it wrote before its end can still be read."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int:
        """Give the exit status of a process that has ended, or the number of the signal that ended it, negative."""
        return self._process.wait()

    def tell(self, line: str) -> None:
        """Write a line to its standard input; a process that has died ignores it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has died already: listening will tell how
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def tell_no_more(self) -> None:
        """Close its standard input."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def messages(self, seconds: float) -> list[Message]:
        """Give the messages that have come; wait for the first of them, or for the end, at most so long.

        Raises:
            ValueError: the process has sent what is no message.
        """
        self._inbox.refuse()
        if not self._open:  # a process may close its end of the pipe and live on
            self.wait(seconds)
            return []
        if not self._readable.poll(1000 * seconds):
            return []
        data = os.read(self._reading, _CHUNK)
        self._open = bool(data)
        if len(data) > _FLOOD:
            time.sleep(0.1)  # more than any honest worker says: it waits, rather than that this process is kept busy
        return self._inbox.receive(data)

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)

    def interrupt(self) -> None:
        """Interrupt it as Ctrl-C does."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill the process and all that it has started, and wait for its end."""
        self._signal(signal.SIGTERM)  # the supervisor ends the others before itself
        deadline = time.monotonic() + _KILL_SECONDS
        while self._signal(0) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> bool:
        """Send a signal to the process, and to its supervisor where the process is a script that started that one.

        Tell whether there was any of them to receive it.
        """
        self._process.poll()  # one that has ended and was not waited for would still count
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def cause_of_death(self) -> str:
        """Tell in a phrase how a process ended that was not killed by us."""
        code = self.returncode
        if code < 0:
            hint = ", by the kernel if the machine's memory ran out" if -code == signal.SIGKILL else ""
            return f"was killed by {_signal_name(-code)}{hint}; see {self._log.name}"
        return f"ended with exit status {code} before its result was complete; {last_line(self._log)}"


def _start(
    command: list[str],
    descriptor: int,
    stdin: int | IO[bytes],
    log: Path,
    environment: Mapping[str, str],
    cwd: str | None,
) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=file,
            stderr=file,
            env=environment,
            cwd=cwd,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C then reaches only us
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
