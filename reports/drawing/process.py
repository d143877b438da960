"""Draw in another process, whose death costs one picture and not the report.

What is drawn was written by others: polygons, masks and photographs go to native code, which ends its process where it
does not take them. And matplotlib reads settings of the user from files and variables; in the other process there are
none.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

from reports.parts import PartFailedError
from reports.plots.user_settings import environment_without_user_settings

DRAWINGS = "reports.drawing.sections:Drawings"

LIMIT_SECONDS = 300.0
"""The longest time that one answer may take."""

LIMIT_BYTES = 8 << 30
"""The most memory that the process may ask for."""

MOST_DEATHS = 5
"""So many processes may die of one method; then it is asked no more, since it would kill most of the next ones too."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of the process: a thread of linear algebra takes address space for each core, and has nothing to do."""

_CHILD = Path(__file__).with_name("child.py")


class DrawingProcess:
    """Asks an object in another process, which is started anew after it has died.

    drawings: the object's class, as ``module:name``
    limit_seconds, limit_bytes: the most time that an answer may take, and the most memory
    """

    def __init__(
        self,
        drawings: str = DRAWINGS,
        limit_seconds: float = LIMIT_SECONDS,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._drawings, self._seconds, self._bytes = drawings, limit_seconds, limit_bytes
        self._arguments: tuple[Any, ...] = ()
        self._deaths: Counter[str] = Counter()
        self._ready = self._begun = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> DrawingProcess:
        """Start the process, which imports its libraries while this one does something else."""
        self._folder = tempfile.TemporaryDirectory(prefix="maskbench-drawing-")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(patience_seconds=0)  # every answer that has come is on the disk
        self._folder.cleanup()

    def begin(self, *arguments: Any) -> None:
        """Say what the arguments of the class are, before the first question; every new process gets them."""
        self._arguments = arguments

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object and give what it gives.

        Raises:
            PartFailedError: it raised an exception, took too much time or memory, or ended its process.
        """
        if self._deaths[method] >= MOST_DEATHS:
            raise PartFailedError(f"not drawn, since the process that draws has died {MOST_DEATHS} times")
        try:
            if self._connection is None:
                self._start()
            if not self._ready:
                self._reply()
                self._ready = True
            if not self._begun:
                self._question("", *self._arguments)
                self._begun = True
            return self._question(method, *arguments)
        except TimeoutError as error:
            self._deaths[method] += 1
            self._end(patience_seconds=0)
            raise PartFailedError(f"not done after {self._seconds:g} s") from error
        except (EOFError, OSError) as error:
            self._deaths[method] += 1
            raise PartFailedError(self._end(patience_seconds=1)) from error

    def _question(self, method: str, *arguments: Any) -> Any:
        assert self._connection is not None
        self._connection.send((method, arguments))
        well, answer = self._reply()
        if not well:
            raise PartFailedError(answer)
        return answer

    def _reply(self) -> Any:
        assert self._connection is not None
        if not self._connection.poll(self._seconds):
            raise TimeoutError
        return self._connection.recv()

    def _start(self) -> None:
        ours, theirs = Pipe()
        command = [sys.executable, str(_CHILD), str(theirs.fileno()), self._drawings, str(self._bytes), os.getcwd()]
        self._ready = self._begun = False
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment_without_user_settings(os.environ) | _ONE_THREAD,
                cwd=self._folder.name,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C reaches this process, which then ends that one
            )
        finally:
            theirs.close()
        self._connection = ours

    def _end(self, patience_seconds: float) -> str:
        """End the process with whatever it has started, and say how it ended."""
        process, self._process = self._process, None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if process is None:
            return "there is no process that draws"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return f"the process that draws {_ending(process.wait())}"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit status {code}"
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL, as a system does where memory runs out"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
