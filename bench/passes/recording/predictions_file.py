"""A COCO results file that is written while the predictions are made."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO


class PredictionsFile:
    """A COCO results file that is written as the predictions are made, one detection a line.

    If the process is killed, the file lacks its closing bracket and may end within a detection
    (:func:`close_after_death`).
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._sha256 = file, hashlib.sha256()
        self.count = 0
        self._put("[\n")

    @property
    def sha256(self) -> str:
        """Give the SHA-256 of all that was written, of the whole file once it is closed: lower-case hexadecimal."""
        return self._sha256.hexdigest()

    def write(self, results: Sequence[dict[str, Any]]) -> None:
        """Write the results of one image.

        Raises:
            OSError: the disk is full, or broken; the error names the file.
        """
        with _naming(self._file.name):
            for result in results:
                self._put((",\n" if self.count else "") + json.dumps(result))
                self.count += 1
            self._file.flush()

    def close(self) -> None:
        """Close the array and the file.

        Raises:
            OSError: see :meth:`write`.
        """
        with _naming(self._file.name), self._file:
            self._put("\n]\n")

    def _put(self, text: str) -> None:
        content = text.encode("ascii")  # json.dumps escapes everything else
        self._sha256.update(content)
        self._file.write(content)


@contextlib.contextmanager
def open_predictions(path: Path) -> Iterator[PredictionsFile]:
    """Open a results file for writing; the array is closed when the block ends, also by an exception."""
    file = PredictionsFile(open(path, "wb"))  # noqa: SIM115 - closed below, where an error names the file
    try:
        yield file
    finally:
        file.close()


def close_after_death(path: Path) -> None:
    """Close the array of a file whose writer was killed, after its last whole detection."""
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        end = _last_line_end(file)
        file.seek(max(0, end - 2))
        if file.read(2) == b"]\n" or not end:
            return
        file.seek(end - 2)
        file.truncate(end - 2 if file.read(2) == b",\n" else end - 1)
        file.seek(0, os.SEEK_END)
        file.write(b"\n]\n")


def _last_line_end(file: BinaryIO) -> int:
    """Give the place after the last newline; 0 where there is none."""
    block, place = 1 << 16, file.seek(0, os.SEEK_END)
    while place:
        start = max(0, place - block)
        file.seek(start)
        if (found := file.read(place - start).rfind(b"\n")) >= 0:
            return start + found + 1
        place = start
    return 0


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Have an error of writing name the file, as one of opening does."""
    try:
        yield
    except OSError as error:
        error.filename = name
        raise
