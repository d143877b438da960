"""Starts a process beside the model's, talks with it, and tells how it ended."""

from __future__ import annotations

import contextlib
import json
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.passes.apart.messages import Messages

STARTED = "started"
"""The first message of such a process."""

_START = Path(__file__).with_name("start.py")
_DEATH_SECONDS = 5
"""How long a process whose socket is closed may take to end, until it is asked how it ended."""


class ProcessDiedError(RuntimeError):
    """A process beside the model's has ended before its work was done. The message says which, and how."""


@dataclass(frozen=True)
class Failure:
    """An exception that has ended the work of a process."""

    error: Exception

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Give the failure of an exception; where it cannot be sent, another with its name and words stands for it."""
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(error)


class Process:
    """A process that runs ``work`` of a module of this package.

    It has what the worker has: its interpreter, its ``sys.path``, its cores, its log. It ends when the socket is
    closed, thus also with the worker, whose supervisor ends whatever the worker has started.

    module: the name of the module
    does: what it does, for messages: "the process that ``does``"
    """

    def __init__(self, module: str, does: str) -> None:
        ours, theirs = socket.socketpair()
        path = [entry for entry in sys.path if isinstance(entry, str)]  # imports leave out other entries too
        command = [sys.executable, str(_START), str(theirs.fileno()), module, json.dumps(path)]
        with theirs:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        self._messages = Messages(ours)
        self._does, self._started = does, False

    @property
    def pid(self) -> int:
        """Give the id of the process."""
        return self._process.pid

    def started(self) -> bool:
        """Tell whether it has come up, which takes some tenths of a second; until then nobody takes what is sent."""
        if not self._started and self._messages.waiting():
            self._next()
        return self._started

    def send(self, value: Any) -> None:
        """Send it an object.

        Raises:
            Exception: what its work has raised meanwhile.
            ProcessDiedError: it has ended.
        """
        if self._started and self._messages.waiting():
            self._next()
        try:
            self._messages.send(value)
        except ConnectionError:
            while True:
                self._next()  # raises the reason

    def receive(self) -> Any:
        """Give what it sends next.

        Raises:
            Exception: what its work has raised.
            ProcessDiedError: it has ended.
        """
        while (message := self._next()) is STARTED:
            pass
        return message

    def _next(self) -> Any:
        """Give its next message, and take notice that it has started."""
        try:
            message = self._messages.receive()
        except (EOFError, ConnectionError) as error:
            raise ProcessDiedError(f"the process that {self._does} {self._end()}") from error
        if isinstance(message, Failure):
            raise message.error
        if not self._started:  # the first message of all
            self._started = True
            return STARTED
        return message

    def close(self, patience: float) -> None:
        """Close the socket, and wait for the process's end; kill it after so many seconds."""
        self._messages.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end(self) -> str:
        try:
            status = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return "has closed its socket"
        if status >= 0:
            return f"ended with exit status {status} before its work was done"
        name = f"signal {-status}"
        with contextlib.suppress(ValueError):  # a real-time signal has no name
            name = signal.Signals(-status).name
        hint = ", by the kernel if the machine's memory ran out" if -status == signal.SIGKILL else ""
        return f"was killed by {name}{hint}"
