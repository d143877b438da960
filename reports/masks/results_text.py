"""The detections of some images in a COCO results file of any size and from anybody, in bounded memory.

Our own files have a line for each detection; those of other tools are often a single line, or spread over many.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.ids import Id, as_id

PIECE_BYTES = 1 << 20
"""So much of a file is read at once, less where a line ends before."""

MOST_BYTES = 4 << 20
"""The longest text of a detection; a longer one is not read. A mask of 12 megapixels of noise has 6 MB."""

HEAD_BYTES = 1000
"""So much of a longer one is looked at for the image that it names."""

_IMAGE_ID = re.compile(rb'"image_id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)')
_OUTSIDE_TEXT, _INSIDE_TEXT = re.compile(rb'["{}]'), re.compile(rb'["\\\n]')


@dataclass(frozen=True)
class TooLong:
    """Stands for a detection whose text is longer than :data:`MOST_BYTES`, of which only the ``head`` is kept."""

    head: bytes


def detections(path: Path, image_ids: Collection[Id]) -> Iterator[dict[str, Any] | TooLong]:
    """Yield the JSON objects of a file that name one of the images; what is no JSON is left out.

    A last line that a kill cut off is no error.

    Raises:
        OSError: the file cannot be read.
    """
    names_wanted = _names_one_of(image_ids)
    with open(path, "rb") as file:
        for text in _objects(iter(functools.partial(file.readline, PIECE_BYTES), b""), names_wanted):
            if isinstance(text, TooLong):
                if names_wanted(text.head) or not _IMAGE_ID.search(text.head):
                    yield text
            elif names_wanted(text) and (entry := _parsed(text)) is not None:
                yield entry


def _names_one_of(image_ids: Collection[Id]) -> Callable[[bytes], bool]:
    wanted = frozenset(image_ids)

    @functools.lru_cache(maxsize=1024)  # the detections of an image stand together
    def is_wanted(number_or_text: bytes) -> bool:
        try:
            return as_id(json.loads(number_or_text)) in wanted
        except ValueError:
            return False

    return lambda text: any(is_wanted(found[1][:1000]) for found in _IMAGE_ID.finditer(text))


def _objects(pieces: Iterator[bytes], names_wanted: Callable[[bytes], bool]) -> Iterator[bytes | TooLong]:
    """Yield the texts of the outermost objects; a line that is an object by itself is skipped where it names no image
    that is wanted, which is most of the time."""
    scanner = _Scanner()
    begins_line = True
    for piece in pieces:
        by_itself = begins_line and piece.startswith(b"{") and piece.rstrip(b",\r\n ").endswith(b"}")
        begins_line = piece.endswith(b"\n")
        if by_itself:
            scanner = _Scanner()  # whatever came before was cut off
            if not names_wanted(piece):
                continue
        yield from scanner.feed(piece)


class _Scanner:
    """Finds the outermost objects in pieces of JSON, without parsing what is in them."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = False
        self._ahead = 0  # bytes of the next piece that belong to an escape at the end of this one
        self._parts: list[bytes] = []
        self._bytes = 0
        self._head = b""

    def feed(self, piece: bytes) -> Iterator[bytes | TooLong]:
        """Take the next piece, and yield the objects that end in it."""
        place, begin = self._ahead, 0
        while found := (_INSIDE_TEXT if self._in_text else _OUTSIDE_TEXT).search(piece, place):
            place, sign = found.end(), found[0]
            if sign == b"\\":
                place += 1
            elif self._in_text or sign == b'"':
                self._in_text = not self._in_text  # a text that its line cuts off has ended, too
            elif sign == b"{":
                begin = found.start() if self._depth == 0 else begin
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if self._depth == 0:
                    yield self._whole(piece[begin:place])
        self._ahead = max(0, place - len(piece))
        if self._depth:
            self._keep(piece[begin:])

    def _keep(self, part: bytes) -> None:
        self._head = self._head if self._bytes else part[:HEAD_BYTES]
        self._bytes += len(part)
        if self._bytes <= MOST_BYTES:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _whole(self, part: bytes) -> bytes | TooLong:
        self._keep(part)
        text = b"".join(self._parts) if self._bytes <= MOST_BYTES else TooLong(self._head)
        self._parts, self._bytes = [], 0
        return text


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
