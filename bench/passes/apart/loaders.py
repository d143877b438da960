"""Processes that read images, and the pixels' way from them."""

from __future__ import annotations

import queue
from collections.abc import Sequence

import numpy as np

from bench.data.images import ImageRecord, read_images
from bench.passes.apart.messages import Messages
from bench.passes.apart.process import Failure, Process, ProcessDiedError


def work(messages: Messages) -> None:
    """Read images for the other end; an image that cannot be read fails the batch that asked for it."""
    while True:
        records = messages.receive()
        try:
            messages.send(read_images(records))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            messages.send(Failure.of(error))


class Loaders:
    """Processes that read images. Each is used by one thread at a time; the others wait for a free one."""

    def __init__(self, number: int) -> None:
        self._processes = [Process("loaders", "reads images") for _ in range(number)]
        self._free: queue.SimpleQueue[Process] = queue.SimpleQueue()
        for process in self._processes:
            self._free.put(process)

    @property
    def pids(self) -> list[int]:
        """Give the ids of the processes."""
        return [process.pid for process in self._processes]

    def read(self, records: Sequence[ImageRecord]) -> list[np.ndarray]:
        """Read the images of a batch as :func:`bench.data.images.read_images` does; each is memory of its own.

        Until the process has started, this thread reads them itself.

        Raises:
            UserError: an image cannot be read.
            ProcessDiedError: the process has ended.
        """
        process = self._free.get()
        try:
            if not process.started():
                return read_images(records)
            process.send(list(records))
            pixels: list[np.ndarray] = process.receive()
            return pixels
        except ProcessDiedError as error:
            names = ", ".join(record.path.name for record in records)
            raise ProcessDiedError(f"{error}, while it read {names}") from error
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close(patience=0)
