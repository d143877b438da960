"""What a worker says to the process that started it: one message a line, as JSON, on a descriptor of its own."""

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
    """How far a pass, or a training, is.

    done, total: of the pass, in its own unit
    images: how many it has gone through since it began
    status: text to stand beside the bar from now on; line: text for the user to read
    """

    name: str
    done: float
    total: float
    images: int
    status: str | None = None
    line: str | None = None


@dataclass(frozen=True)
class Ready:
    """The worker waits to be told its next round."""


@dataclass(frozen=True)
class Complete:
    """All that the worker was started for is done, and is on disk."""


Message = Progress | Ready | Complete

_KINDS: dict[str, type[Message]] = {"progress": Progress, "ready": Ready, "complete": Complete}


def encode(message: Message) -> bytes:
    """One line."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(message, cls))
    return json.dumps({"kind": kind, **dataclasses.asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line.

    Raises:
        ValueError: the line is none.
    """
    try:
        fields = json.loads(line)
        cls = _KINDS[fields.pop("kind")]
        return cls(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no message of a worker: {line[:80]!r}") from error


class Channel:
    """The worker's end. Of progress it sends at most five messages a second, so that the parent sleeps while it times.

    Called, it tells progress: name of the pass, how much is done, of how much, and how many more images are through.
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
        with contextlib.suppress(OSError):  # a parent that is gone must not end the measurement with a broken pipe
            os.write(self._descriptor, encode(message))
