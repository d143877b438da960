"""SHA-256 of files, each computed once by a command: weights and results files have gigabytes, and many rows name one.

Of the thousands of image files of a data set a sample of each is read (:func:`samples_sha256`), also once by a command.

A file is taken for unchanged while its device, inode, size, time of change and time of change of the inode are what
they were when it was read. No program can set the last of these back, so a copy that keeps the others is noticed too.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20

WHOLE_BYTES = 64 << 10
"""The largest file that :func:`samples_sha256` reads whole."""

SAMPLE_BYTES = 4 << 10
"""How much it reads of a larger file at the beginning, in the middle and at the end."""

_AT_REST_SECONDS = 2.0
"""How old the last change of a file must be. Within the smallest step of a file system's clock, which is 2 s at most, a
second change would have the same times."""


@dataclass(frozen=True)
class Digest:
    """The SHA-256 of a file, in lower-case hexadecimal, and the state of the file in which it was read."""

    sha256: str
    state: list[int]


_known: dict[str, Digest] = {}


def sha256_of(path: Path | str) -> str:
    """Return the file's SHA-256 in lower-case hexadecimal; the file is read where it is not known to be unchanged.

    Raises:
        OSError: the file cannot be read.
    """
    where = os.path.abspath(path)
    known = _known.get(where)
    if known is not None and known.state == _state(os.stat(where)):
        return known.sha256
    began = time.time()
    digest = hashlib.sha256()
    with open(where, "rb") as file:
        before = os.fstat(file.fileno())
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
        after = os.fstat(file.fileno())
    sha256 = digest.hexdigest()
    _known.pop(where, None)
    if _state(before) == _state(after) and _at_rest(before, began):
        _known[where] = Digest(sha256, _state(before))
    return sha256


def samples_sha256(paths: Sequence[Path]) -> str:
    """Return a SHA-256 of the sizes of files and of samples of their contents, in this order; their names do not count.

    A file of at most :data:`WHOLE_BYTES` is read whole, and of a larger one the first, the middle and the last
    :data:`SAMPLE_BYTES`. Nothing is read where all the files are known to be unchanged.

    Raises:
        OSError: a file cannot be read, or is none: a pipe would be waited for.
    """
    began = time.time()
    states = [os.stat(path) for path in paths]
    known_as = f"samples {hashlib.sha256(repr([_state(one) for one in states]).encode()).hexdigest()}"
    if (known := _known.get(known_as)) is not None:
        return known.sha256
    digest, same = hashlib.sha256(), True
    for path, state in zip(paths, states, strict=True):
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{path}: is no file")
        with open(path, "rb", buffering=0) as file:
            opened = os.fstat(file.fileno())
            digest.update(f"{opened.st_size}\n".encode())
            _add_sample(digest.update, file, opened.st_size)
            same &= _state(state) == _state(opened) == _state(os.fstat(file.fileno())) and _at_rest(state, began)
    if same:
        _known[known_as] = Digest(digest.hexdigest(), [])
    return digest.hexdigest()


def _add_sample(add: Callable[[bytes], None], file: io.FileIO, size: int) -> None:
    if size <= WHOLE_BYTES:
        add(file.read(size))
        return
    for start in (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
        file.seek(start)
        add(file.read(SAMPLE_BYTES))


def known_digests() -> dict[str, Digest]:
    """Give what this process knows, to be handed to another process: by the absolute path, or by the states of many
    files, whose digest has no state of its own.
    """
    return dict(_known)


def take_over(digests: dict[str, Digest]) -> None:
    """Take over what another process knows; a file that has changed since is read again."""
    _known.update(digests)


def _at_rest(state: os.stat_result, now: float) -> bool:
    return max(state.st_mtime, state.st_ctime) < now - _AT_REST_SECONDS


def _state(of: os.stat_result) -> list[int]:
    return [of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns]
