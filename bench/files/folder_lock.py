"""Locks on a folder of results, so that two commands do not write into it at once.

Its file is removed at the end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.errors import UserError
from bench.files.lock_file import LockFile, sign

MEASURING = ".measuring.lock"
"""Held by a command from before it measures until its report is written."""

REPORTING = ".reporting.lock"
"""Held while the files of a report are written, also by the commands that only report."""


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
        try:
            descriptor = _lock_in(folder, name, key).acquire(tell, wait)
        except OSError as error:
            raise _not_writable(folder, key, error) from error
        try:
            sign(descriptor, command)
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


def _lock_in(folder: Path, name: str, key: str) -> LockFile:
    def opened(path: Path) -> int:
        while True:
            try:
                return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # who made the folder has removed it since, as it was empty
                _make(path.parent, key)

    return LockFile(folder / name, f"{folder}", f"{key}={folder}", f"give another {key}=", opened)


def _not_writable(folder: Path, key: str, error: OSError) -> UserError:
    return UserError(f"{key}={folder}: cannot be written ({error.strerror}); give a folder that can")
