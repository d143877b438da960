"""Locks on a folder of results, so that two commands do not write into it at once.

A lock is held by the operating system (``flock``) for as long as the process lives, so a process that is killed holds
none. Its file says who holds it, and is removed at the end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.errors import UserError

MEASURING = ".measuring.lock"
"""Held by a command from before it measures until its report is written."""

REPORTING = ".reporting.lock"
"""Held while the files of a report are written, also by the commands that only report."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_PATIENCE_SECONDS = 0.5
"""How often a command that waits looks whether the lock is free."""


@contextlib.contextmanager
def locked(
    folder: Path, name: str, tell: Callable[[str], None], *, key: str = "out", wait: bool = True, command: str = ""
) -> Iterator[None]:
    """Hold a lock on a folder, which is made where it is absent and removed at the end if it is empty then.

    name: :data:`MEASURING` or :data:`REPORTING`
    tell: prints a line for a person; called where another process holds the lock, before this one waits for it
    key: what the user calls the folder, for the messages
    wait: whether to wait for another process; without it the user is told who holds the lock
    command: what the user typed, for those who wait for this process; without it, how this process was started

    Raises:
        UserError: the folder cannot be written, or another process holds the lock and ``wait`` is false.
    """
    made = _make(folder, key)
    try:
        descriptor = _acquired(folder / name, key, tell, wait)
        try:
            _sign(descriptor, command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
            yield
        finally:
            # Removed while it is held: who waits for it then finds that it is no longer the file of this name.
            with contextlib.suppress(OSError):
                (folder / name).unlink()
            os.close(descriptor)
    finally:
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()


def _make(folder: Path, key: str) -> list[Path]:
    """Make the folder; give those that were absent, itself first."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, key, error) from error
    return absent


def _acquired(path: Path, key: str, tell: Callable[[str], None], wait: bool) -> int:
    """Give the descriptor of the lock's file, once this process holds the lock."""
    told = False
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # who made the folder has removed it since, as it was empty
            _make(path.parent, key)
            continue
        except OSError as error:
            raise _not_writable(path.parent, key, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if not wait:
                raise UserError(
                    f"{key}={path.parent}: in use by {holder}; wait for its end, or give another {key}="
                ) from error
            if not told:
                tell(f"{path.parent}: in use by {holder}; waiting for its end")
            told = True
            time.sleep(_PATIENCE_SECONDS)
            continue
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise _not_writable(path.parent, key, error) from error
            tell(f"{path.parent}: its file system has no locks; give it to one command at a time")
            return descriptor
        if _is_the_file_of(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last holder has removed it since it was opened


def _is_the_file_of(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int, command: str) -> None:
    """Write into the lock's file who holds it."""
    holder = {"process": os.getpid(), "host": platform.node(), "command": command}
    with contextlib.suppress(OSError):  # without room for it the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(descriptor: int) -> str:
    """Say who holds the lock of this file."""
    try:
        holder = json.loads(os.pread(descriptor, 65536, 0))
        return f"process {holder['process']} on {holder['host']} ({holder['command']})"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def _not_writable(folder: Path, key: str, error: OSError) -> UserError:
    return UserError(f"{key}={folder}: cannot be written ({error.strerror}); give a folder that can")
