"""The file of a shard: a line that says what it is, a line for each image, a line that says what they depend on.

It has its name once it is whole. This module imports no torch, so that a process without it can write the lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bench.data.ids import Id
from bench.errors import UserError
from bench.files.json_file import from_dict
from bench.passes.results import Results
from bench.passes.shards.division import Shard
from bench.schema.result import MEASUREMENT_VERSION, SHARDS

NAME = "shard.jsonl"

_FORM = 1
"""Raised when the form of the file changes; a file of another form is no shard."""

_LONGEST_TAIL = 1 << 22
"""Bytes: the last line of a file holds the digests of some thousand sources at most."""


@dataclass(frozen=True)
class Head:
    """What a shard is, which is known before it is predicted.

    key: a digest of all that its predictions depend on and that is known before: configuration, files, weights
    overlaps: the ways with overlaps under which it holds results
    images: how many it has
    """

    shard: Shard
    key: str
    overlaps: list[str]
    images: int
    form: int = _FORM


@dataclass
class Recorded:
    """What was written of a shard.

    sha256: of the lines of its images
    witness: digest of the lines of the images that another shard has too; None where there are none
    """

    images: int = 0
    detections: int = 0
    sha256: str = ""
    witness: str | None = None


@dataclass(frozen=True)
class Tail:
    """What is known of a shard when all its images are predicted.

    seconds: wall time of its pass
    sources: of the model, as a result has them
    machine: as a result has it
    """

    recorded: Recorded
    seconds: float
    sources: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    measurement_version: int = MEASUREMENT_VERSION


class ShardRecorder:
    """Writes the results of each image of a shard. It stands where a recorder of a whole data set does.

    images: how many the shard has; what is written beyond them are its witnesses, of which only a digest is kept
    """

    def __init__(self, file: BinaryIO, images: int) -> None:
        self._file, self._images = file, images
        self._recorded = Recorded()
        self._sha256, self._witness = hashlib.sha256(), hashlib.sha256()
        self._witnesses = 0

    def write(self, image_id: Id, results: Mapping[str, Results]) -> None:
        """Write the results of one image, under each way with overlaps."""
        line = json.dumps([image_id, results]).encode() + b"\n"
        if self._recorded.images == self._images:
            self._witness.update(line)
            self._witnesses += 1
            return
        self._file.write(line)
        self._sha256.update(line)
        self._recorded.images += 1
        self._recorded.detections += len(next(iter(results.values())))

    def evaluate(self, image_id: Id, results: dict[str, Results]) -> None:
        """Do nothing: the evaluation is of all shards together."""

    def complete(self, recorded: Recorded) -> list[str]:
        """Fill in what was written; give the notes for the row, of which there are none."""
        written = dataclasses.replace(
            self._recorded,
            sha256=self._sha256.hexdigest(),
            witness=self._witness.hexdigest() if self._witnesses else None,
        )
        vars(recorded).update(vars(written))
        return []


@contextlib.contextmanager
def shard_recording(path: Path, images: int) -> Iterator[ShardRecorder]:
    """Open the part of a shard's file that has begun (:func:`begin`), to write its images.

    Raises:
        OSError: the disk is full; the error names the file.
    """
    try:
        with open(_part(path), "ab") as file:
            yield ShardRecorder(file, images)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def begin(path: Path, head: Head) -> None:
    """Write the first line of a shard's file, under another name than its own."""
    _part(path).write_bytes(_line(head))


def finish(path: Path, head: Head, tail: Tail) -> None:
    """Write the last line, and give the file its name.

    Raises:
        RuntimeError: it does not hold as many images as it should: a bug of ours.
    """
    if tail.recorded.images != head.images:
        raise RuntimeError(f"{head.shard} has {head.images} images, and {tail.recorded.images} were predicted")
    with open(_part(path), "ab") as file:
        file.write(_line(tail))
        file.flush()
        os.fsync(file.fileno())
    os.replace(_part(path), path)


def path_of(folder: Path, shard: Shard) -> Path:
    """Give the path of a shard's file below the folder of its job."""
    return folder / SHARDS / shard.name / NAME


def ends_of(path: Path) -> tuple[Head, Tail]:
    """Give the first and the last line of a shard's file.

    Raises:
        UserError: there is no such file, or it is not whole.
    """
    try:
        with open(path, "rb") as file:
            first = file.readline(_LONGEST_TAIL)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_TAIL))
            last = file.read().removesuffix(b"\n").rpartition(b"\n")[2]
        head, tail = from_dict(Head, json.loads(first)), from_dict(Tail, json.loads(last))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path.parent.name}/{path.name}: no whole shard ({error})") from error
    if head.form != _FORM:
        raise UserError(f"{path.parent.name}/{path.name}: a shard of another version of maskbench")
    return head, tail


def lines_of(path: Path, head: Head, tail: Tail) -> Generator[bytes, None, None]:
    """Give the line of each image of a shard's file.

    Raises:
        UserError: the file does not hold what was written.
    """
    sha256, images = hashlib.sha256(), 0
    with open(path, "rb") as file:
        file.readline()
        while images < head.images and (line := file.readline()):
            sha256.update(line)
            images += 1
            yield line
    if sha256.hexdigest() != tail.recorded.sha256:
        name = f"{path.parent.name}/{path.name}"
        raise UserError(f"{name} has changed since it was written; the same command predicts it anew")


def entry_of(line: bytes) -> tuple[Id, dict[str, Results]]:
    """Give the id and the results of an image, under each way with overlaps, from its line."""
    image_id, results = json.loads(line)
    return image_id, results


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _line(value: Any) -> bytes:
    return json.dumps(dataclasses.asdict(value)).encode() + b"\n"
