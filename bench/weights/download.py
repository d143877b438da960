"""Download of trained weights into a cache: resumed when it was cut off, verified, safe with several processes.

What enters the cache is the file that ``sha256`` names, or at least a whole file of weights. This module imports no
torch, so that the command can fetch weights before any worker starts.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.errors import UserError
from bench.files.digests import CHUNK_BYTES, sha256_of
from bench.private.texts import without_credentials
from bench.weights import cache as folders
from bench.weights.connection import CutOffError, RejectedError, connect, hidden
from bench.weights.form import check_form, looks_like, read_head
from bench.weights.inert import FormError
from bench.weights.limits import MAX_GB, RESERVE_BYTES, Pace, max_bytes
from bench.weights.part import Part, Version

Progress = Callable[[int, "int | None"], None]

ATTEMPTS = 5
"""How many attempts in a row may bring no new byte before a download is given up."""

BACKOFF_S = 0.5
"""Pause before the second attempt, in seconds; it is doubled before each further one."""


def fetch(url: str, sha256: str | None, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """Download the file behind ``url`` once, and return its path, ``cached_path(url, cache)``.

    A download that was cut off goes on where it stopped, in the same call and in a later one. Processes that want
    the same file wait for one another.

    Args:
        sha256: the file's digest in hexadecimal, or its first digits, which the zoos write into their file names.
            Without it, the file must be a whole file of weights (zip, safetensors or pickle).
        progress: called with (bytes so far, bytes in all or None where the server does not say).

    Raises:
        UserError: there is no such file, no network or no room, it is too large or too slow, or it is not what it
            should be. No message holds a user, a password or a query of ``url``.
    """
    shown = without_credentials(url)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{shown}: weights are downloaded over http or https only; for a file give its path as weights")
    expected = _digest_prefix(sha256)
    path = cached_path(url, cache)
    try:
        folders.prepare_folder(path.parent)
        lock = path.with_name(f"{path.name}.lock")
        folders.remove_planted(lock)
        with FileLock(lock):
            if path.exists():
                _verify(path, expected, path, shown)
            else:
                _fetch(url, expected, path, progress)
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot write the download of {shown}: {error.strerror or error}; "
            f"set MASKBENCH_CACHE to a folder with room"
        ) from error
    return path


def _fetch(url: str, expected: str | None, path: Path, progress: Progress | None) -> None:
    """Download to ``path``, where a file only ever is that has been verified."""
    part = Part(path.with_name(f"{path.name}.part"))
    _download(url, part, path, progress)
    try:
        _verify(part.path, expected, path, without_credentials(url))
    except UserError:
        part.forget()
        raise
    os.replace(part.path, path)
    part.forget()


def cached_path(url: str, cache: Path | None = None) -> Path:
    """Return where the file behind ``url`` is once it was fetched, and where a user may put it by hand.

    ``cache`` defaults to ``$MASKBENCH_CACHE/weights`` or ``~/.cache/maskbench/weights``.
    """
    return (cache or folders.cache_folder()) / folders.file_name(url)


def _digest_prefix(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    digits = sha256.strip().lower()
    if not 6 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
        raise UserError(f"model.zoo.sha256={sha256!r}: must be 6 to 64 hexadecimal digits")
    return digits


def _verify(path: Path, expected: str | None, final: Path, shown: str) -> None:
    """Raise where the file is not the expected one; without an expected digest, where it is no weights.

    A file of any form is taken where the digest says that it is the right one; one with another digest is deleted.
    """
    try:
        head = read_head(path)
        if expected is None:
            check_form(path, head)
            return
    except FormError as error:
        origin = f"{final}: the file" if path == final else f"{shown}: what was downloaded"
        remedy = "delete it" if path == final else "run again"
        raise UserError(
            f"{origin} is no whole file of weights ({error}); {remedy}, correct model.zoo.url, or give "
            f"model.zoo.sha256 for a file of another form"
        ) from error
    if (actual := sha256_of(path)).startswith(expected):
        return
    Part(path).forget()
    page = f" (it is {looks_like(head)})" if looks_like(head).startswith("a web page") else ""
    raise UserError(
        f"{final}: sha256 {actual} of the downloaded file{page} does not begin with {expected}; the file was deleted: "
        f"run again, or correct model.zoo.sha256"
    )


def _download(url: str, part: Part, final: Path, progress: Progress | None) -> None:
    """Download the whole file into ``part``, over as many connections as it takes."""
    failures, furthest = 0, 0
    receiver = _Receiver(url, part, progress)
    while True:
        try:
            receiver.one_connection()
            return
        except CutOffError as error:
            size = part.size()
            failures = 1 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{without_credentials(url)}: cannot be downloaded ({error}); run again to go on, or put the file "
                    f"by hand at {final}"
                ) from error
            time.sleep(BACKOFF_S * 2 ** (failures - 1))


class _Receiver:
    """Receives one file, and bounds its size, the room that it takes, and how slow it may be."""

    def __init__(self, url: str, part: Part, progress: Progress | None) -> None:
        self._url, self._shown = url, without_credentials(url)
        self._part, self._progress = part, progress
        self._pace, self._most = Pace(), max_bytes()

    def one_connection(self) -> None:
        """Receive the rest of the file over one connection.

        Raises:
            CutOffError: another connection may bring the rest.
            UserError: none will.
        """
        known = self._part.version()
        have = self._part.size() if known.validator else 0
        if have and have == known.total:
            return
        with self._answer(have, known) as response:
            version = Version(
                response.headers.get("ETag"),
                response.headers.get("Last-Modified"),
                _integer(response.headers.get("Content-Length")),
            )
            if response.status == 206:
                version = self._continued(response, have, version, known)
            else:
                have = 0
            if version.total is not None:
                self._refuse(version.total, room=version.total - have)
            # The old bytes must be gone before the new notes are written, which would describe them.
            with folders.open_part(self._part.path, have) as file:
                self._part.note(version)
                size = self._append(response, file, have, version.total)
        if version.total is not None and size != version.total:
            raise CutOffError(f"the connection ended after {size} of {version.total} bytes")

    def _answer(self, have: int, known: Version) -> Any:
        headers = {"User-Agent": "maskbench", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": known.validator or ""}
        try:
            return connect(self._url, headers)
        except RejectedError as error:
            self._part.forget()
            raise CutOffError(str(error)) from error

    def _continued(self, response: Any, have: int, version: Version, known: Version) -> Version:
        """Give the version of the file that an answer 206 goes on with."""
        start, version.total = _content_range(response.headers.get("Content-Range", ""))
        # A server may obey Range and not If-Range. Then the file has changed, and the old bytes are worthless.
        if not have or start != have or version.contradicts(known):
            self._part.forget()
            raise CutOffError("the server continued with another file, or from another byte, than asked for")
        return version.completed(known)  # an answer 206 may leave out what the first answer said

    def _append(self, response: Any, file: Any, size: int, total: int | None) -> int:
        """Write the response's body behind the ``size`` bytes already there; return the new size."""
        while True:
            try:
                # read1 returns what has arrived, so that a reset of the connection loses nothing.
                chunk = response.read1(CHUNK_BYTES)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise CutOffError(hidden(str(error) or type(error).__name__, self._url)) from error
            if not chunk:
                return size
            size += len(chunk)
            if total is None:
                self._refuse(size, room=RESERVE_BYTES)
            elif size > total:
                self._part.forget()
                raise CutOffError(f"the server sent more than the {total} bytes that it spoke of")
            file.write(chunk)
            if slow := self._pace.too_slow(len(chunk)):
                raise UserError(f"{self._shown}: given up, {slow}; run again to go on")
            if self._progress is not None:
                self._progress(size, total)

    def _refuse(self, size: int, room: int) -> None:
        """Refuse a file of more bytes than the limit, or where fewer than ``room`` are free on the disk."""
        free = folders.free_bytes(self._part.path.parent)
        if size > self._most:
            problem = f"has {size / 1e9:.3g} GB or more, the limit is {self._most / 1e9:.3g}; {MAX_GB}=... raises it"
        elif free < room:
            problem = f"has no room: {free / 1e9:.3g} GB are free; set MASKBENCH_CACHE to another disk"
        else:
            return
        self._part.forget()
        raise UserError(f"{self._shown}: {problem}")


def _content_range(header: str) -> tuple[int | None, int | None]:
    """Return start and full length from a header like ``bytes 100-199/200``."""
    span, _, total = header.removeprefix("bytes").strip().partition("/")
    return _integer(span.partition("-")[0]), _integer(total)


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() and len(text) < 20 else None
