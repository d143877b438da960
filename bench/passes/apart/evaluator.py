"""The process that makes RLE, writes the predictions file, and evaluates."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.data.ids import Id
from bench.passes.apart.messages import Messages
from bench.passes.apart.process import Process
from bench.passes.recording.evaluation import Evaluation, Given
from bench.passes.recording.recorder import Recorder, recording
from bench.passes.results import Found
from bench.passes.shards.file import ShardRecorder, shard_recording

MOST_WAITING_BYTES = 1 << 24
"""Run starts that may wait while the process starts: about 150 images of photographs, and less than one of noise."""

_LEAVE_SECONDS = 5
"""How long it may take to finish its image and close the file, when the pass ends early."""

R = TypeVar("R")


@dataclass(frozen=True)
class Task:
    """What the process is to do.

    given: what an evaluation needs; ``evaluates`` says whether there is one
    predictions: the file to write
    overlaps: the ways with overlaps under which results are made
    of_shard: how many images a shard has, if that is what it is to write (:class:`bench.passes.shards.file`)
    """

    given: Given
    evaluates: bool
    predictions: Path
    overlaps: Sequence[str]
    of_shard: int | None = None


def _recording(task: Task) -> AbstractContextManager[Recorder | ShardRecorder]:
    if task.of_shard is not None:
        return shard_recording(task.predictions, task.of_shard)
    evaluation = Evaluation(task.given) if task.evaluates else None
    return recording(task.predictions, evaluation, task.given.config.overlap)


def work(messages: Messages) -> None:
    """Take a task, then what was found in each image, then the result to complete; give that with its notes."""
    task: Task = messages.receive()
    labels: Sequence[Id | None] = task.given.labels
    with _recording(task) as recorder:
        while isinstance(message := messages.receive(), Found):
            results = message.results(labels, task.overlaps)
            recorder.write(message.image_id, results)
            recorder.evaluate(message.image_id, results)
    notes = recorder.complete(message)
    messages.send((message, notes))


class EvaluatorApart:
    """The process that makes RLE, writes the predictions file, and evaluates."""

    def __init__(self, task: Task) -> None:
        self._process = Process("evaluator", "evaluates")
        self._waiting: list[Task | Found] = [task]
        self._waiting_bytes = 0

    @property
    def pid(self) -> int:
        """Give the id of the process."""
        return self._process.pid

    def take(self, found: Found) -> None:
        """Send what was found in an image; it waits while the process is busy and has enough to do.

        Raises:
            Exception: what the process has raised meanwhile.
            ProcessDiedError: it has ended.
        """
        self._waiting.append(found)
        self._waiting_bytes += sum(starts.bounds.nbytes for starts in found.starts.values())
        if self._process.started() or self._waiting_bytes > MOST_WAITING_BYTES:
            self._send_all()

    def complete(self, result: R) -> tuple[R, list[str]]:
        """Have the result completed by the recorder; give it, and what the row must say of it, a line each.

        Raises:
            Exception: what the process has raised meanwhile.
            ProcessDiedError: it has ended.
        """
        self._send_all()
        self._process.send(result)
        completed, notes = self._process.receive()
        return completed, notes

    def close(self) -> None:
        """End the process. It writes what was found so far, and closes the file, also where the pass ends early."""
        with contextlib.suppress(Exception):  # if it has died, that was told already
            self._send_all()
        self._process.close(_LEAVE_SECONDS)

    def _send_all(self) -> None:
        for value in self._waiting:
            self._process.send(value)
        self._waiting.clear()
        self._waiting_bytes = 0
