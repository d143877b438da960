"""The messages of a worker to the process that started it: one a line, as JSON, on a descriptor of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections import Counter
from dataclasses import dataclass

_INTERVAL_SECONDS = 0.2


@dataclass(frozen=True)
class Progress:
    """Tells how far a pass or a training is.

    done, total: of the pass, in a unit of its own
    images: the images since the pass began
    status: text beside the progress bar from now on
    line: text to print for the user
    """

    name: str
    done: float
    total: float
    images: int
    status: str | None = None
    line: str | None = None


@dataclass(frozen=True)
class Ready:
    """Tells that the worker waits for its next round."""


@dataclass(frozen=True)
class Complete:
    """Tells that all work of the worker is done and on disk."""


Message = Progress | Ready | Complete

_KINDS: dict[str, type[Message]] = {"progress": Progress, "ready": Ready, "complete": Complete}


def encode(message: Message) -> bytes:
    """Give the line of a message."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(message, cls))
    return json.dumps({"kind": kind, **dataclasses.asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Give the message of a line.

    Raises:
        ValueError: the line holds no message.
    """
    try:
        fields = json.loads(line)
        cls = _KINDS[fields.pop("kind")]
        return cls(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no message of a worker: {line[:80]!r}") from error


class Channel:
    """Sends the messages of a worker.

    A call sends progress: the name of the pass, how much is done, the total, and the number of images since the last
    call. At most five of these a second are sent, so that the parent takes no processor time from the timing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last = 0.0
        self._images: Counter[str] = Counter()

    def __call__(
        self,
        name: str,
        done: float,
        total: float,
        images: int,
        status: str | None = None,
        line: str | None = None,
    ) -> None:
        self._images[name] += images
        now = time.monotonic()
        if now - self._last < _INTERVAL_SECONDS and done < total and line is None:
            return
        self._last = now
        self.send(Progress(name, done, total, self._images[name], status, line))

    def send(self, message: Message) -> None:
        """Send a message at once."""
        with contextlib.suppress(OSError):  # a parent that has ended must not end the measurement too
            os.write(self._descriptor, encode(message))
