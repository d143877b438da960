"""The messages of a worker to the process that started it: one a line, as JSON, on a descriptor of their own.

A worker runs code of the user's, which can write anything to that descriptor. So the reader trusts nothing: a line has
at most :data:`LONGEST_LINE` bytes, and each field has the type of its dataclass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
import types
import typing
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.device.fingerprint import Fingerprint

_INTERVAL_SECONDS = 0.2

LONGEST_LINE = 1_000_000
"""Bytes. The longest honest message is a verdict that names the files which a class reads."""

_MOST = 1e15
"""No number of a message is greater."""


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
class Doing:
    """Tells what the worker does from now on.

    part: one of :data:`bench.schema.result.ALL_SECONDS_PARTS`
    untimed: whether this worker will time nothing any more, so that other processes may take the cores
    """

    part: str
    untimed: bool = False


@dataclass(frozen=True)
class Complete:
    """Tells that all work of the worker is done and on disk."""


@dataclass(frozen=True)
class Resolved:
    """The first message of a check: the device of its jobs, resolved."""

    device: str


@dataclass(frozen=True)
class Refused:
    """The first message of a check of jobs that none can run, with what is wrong of the command's input."""

    line: str


WRONG_INPUT = "wrong input"
"""The status in a verdict on a job whose command has an error of the user, which ``reason`` tells."""

OTHER_DEVICE = "other device"
"""The status in a verdict on a job whose model's runtime cannot use the device, as ``reason`` tells."""


@dataclass(frozen=True)
class Verdict:
    """A check's answer about one job; the answers come in the order of the jobs.

    status: ``ok``, :data:`WRONG_INPUT`, :data:`OTHER_DEVICE`, ``skipped``, or another of :data:`bench.schema.result.STATUSES` where the
        model's own code failed; ``reason`` says why where it is not ``ok``
    files: the paths of the files that its options name and its figures depend on, by the option
    now: what its figures would depend on beside those, as far as it is known
    reads_pixels: whether the model sees images; a class that replays results does not
    notes: what was found in a results file and will be a note of the row
    config_files: the paths of the files that ``model.config`` names or builds upon
    """

    status: str
    reason: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    now: Fingerprint = field(default_factory=Fingerprint)
    reads_pixels: bool = True
    notes: list[str] = field(default_factory=list)
    config_files: list[str] = field(default_factory=list)


Message = Progress | Ready | Doing | Complete | Resolved | Refused | Verdict

_KINDS: dict[str, type[Message]] = {
    "progress": Progress,
    "ready": Ready,
    "doing": Doing,
    "complete": Complete,
    "resolved": Resolved,
    "refused": Refused,
    "verdict": Verdict,
}


def encode(message: Message) -> bytes:
    """Give the line of a message."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(message, cls))
    return json.dumps({"kind": kind, **dataclasses.asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Give the message of a line.

    Raises:
        ValueError: the line holds no message: it is no JSON object, or it has a wrong key, or a value of another type.
    """
    try:
        fields = json.loads(line)
        cls = _KINDS[fields.pop("kind")]
        hints = typing.get_type_hints(cls)
        return cls(**{key: _typed(hints[key], value) for key, value in fields.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no message of a worker: {line[:80]!r}") from error


_PLAIN = (bool, int, float, str, dict, list)


def _nested(hint: Any, value: Any) -> Any:
    """Do what :func:`_typed` does for a dict, a list or a dataclass, down to each of its values."""
    if typing.get_origin(hint) is dict:
        _, of_value = typing.get_args(hint)
        return {key: _typed(of_value, item) for key, item in _typed(dict, value).items()}
    if typing.get_origin(hint) is list:
        [of_item] = typing.get_args(hint)
        return [_typed(of_item, item) for item in _typed(list, value)]
    hints = typing.get_type_hints(hint)
    return hint(**{key: _typed(hints[key], item) for key, item in _typed(dict, value).items()})


def _typed(hint: Any, value: Any) -> Any:
    """Give a value of a message where it has the type that its dataclass names, else raise a TypeError."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        [hint] = [option for option in typing.get_args(hint) if option is not types.NoneType]
    if hint not in _PLAIN:
        return _nested(hint, value)
    allowed = (int, float) if hint is float else hint
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{value!r} is no {hint}")
    if isinstance(value, (int, float)) and not 0 <= value <= _MOST:  # NaN is not either
        raise ValueError(f"{value!r} is not within 0 and {_MOST:g}")
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair can be neither printed nor stored
    return value


class Inbox:
    """Divides what comes from a worker into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._wrong: ValueError | None = None

    def receive(self, data: bytes) -> list[Message]:
        """Give the messages that are whole by now.

        Raises:
            ValueError: a line is no message, or has more than :data:`LONGEST_LINE` bytes. Messages that came with that
                line, before it, are given first, and the next call raises: how a pipe cuts what was sent decides
                nothing.
        """
        self.refuse()
        self._pending += data
        lines: list[bytearray] = []
        if b"\n" in data:
            *lines, self._pending = self._pending.split(b"\n")
        messages: list[Message] = []
        try:
            for line in lines:
                _refuse_too_long(line)
                messages.append(decode(bytes(line)))
            _refuse_too_long(self._pending)
        except ValueError as error:
            self._wrong = error
            if not messages:
                raise
        return messages

    def refuse(self) -> None:
        """Raise the ValueError of a line that has come and is no message."""
        if self._wrong is not None:
            raise self._wrong


def _refuse_too_long(line: bytearray) -> None:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"no message of a worker: a line of more than {LONGEST_LINE} bytes")


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
        data = encode(message)
        with contextlib.suppress(OSError):  # a parent that has ended must not end the measurement too
            while data:
                data = data[os.write(self._descriptor, data) :]
