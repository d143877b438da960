"""A lock that a process holds by a file: at most one holder at a time, and who waits is told for whom.

It is held by the operating system (``flock``) for as long as the process lives, so a process that is killed holds none.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import shlex
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_PATIENCE_SECONDS = 0.5
"""How often a command that waits looks whether the lock is free."""


@dataclass(frozen=True)
class LockFile:
    """One lock.

    path: its file, which says who holds it
    name: what it guards, in messages
    key: what the user calls that, in the message of a refusal
    remedy: what the user can do beside waiting, for that message
    opened: opens the file, makes it where it is absent, and gives its descriptor
    """

    path: Path
    name: str
    key: str
    remedy: str
    opened: Callable[[Path], int]

    def acquire(self, tell: Callable[[str], None], wait: bool) -> int:
        """Give the descriptor of the file once this process holds the lock; closing it sets the lock free.

        tell: prints a line for a person; called where another process holds the lock, before this one waits for it
        wait: whether to wait for another process

        Raises:
            UserError: another process holds the lock, and ``wait`` is false.
            OSError: the file cannot be opened or locked.
        """
        told = False
        while True:
            descriptor = self.opened(self.path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = _holder(descriptor)
                os.close(descriptor)
                if not wait:
                    raise UserError(f"{self.key}: in use by {holder}; wait for its end, or {self.remedy}") from error
                if not told:
                    tell(f"{self.name}: in use by {holder}; waiting for its end")
                told = True
                time.sleep(_PATIENCE_SECONDS)
                continue
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(descriptor)
                    raise
                tell(f"{self.name}: its file system has no locks; give it to one command at a time")
                return descriptor
            if _is_the_file_of(self.path, descriptor):
                return descriptor
            os.close(descriptor)  # its last holder has removed it since it was opened


def sign(descriptor: int, command: str = "") -> None:
    """Write into the file of a lock who holds it.

    command: what the user typed; without it, how this process was started
    """
    command = command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    holder = {"process": os.getpid(), "host": platform.node(), "command": command}
    with contextlib.suppress(OSError):  # without room for it, or the right to write, the lock holds all the same
        state = os.fstat(descriptor)
        if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:  # no link that another user made to a file of ours
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _is_the_file_of(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    """Say who holds the lock of this file."""
    try:
        holder = json.loads(os.pread(descriptor, 65536, 0))
        return f"process {holder['process']} on {holder['host']} ({holder['command']})"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
