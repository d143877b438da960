"""Download of trained weights into a cache: resumed when it was cut off, verified, safe with several processes.

This module imports no torch, so that the command can fetch weights before any worker starts.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.errors import UserError

Progress = Callable[[int, "int | None"], None]

ATTEMPTS = 5
"""How many attempts in a row may bring no new byte before a download is given up."""

BACKOFF_S = 0.5
"""Pause before the second attempt, in seconds; it is doubled before each further one."""

TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20


class _CutOffError(Exception):
    """The connection failed in a way that may not happen again at the next attempt."""


@dataclass
class _Part:
    """What is known of the file whose first bytes are in ``NAME.part``: its version, and its full length in bytes."""

    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """The value for If-Range, where RFC 9110 forbids weak ETags."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def contradicts(self, other: _Part) -> bool:
        """Say whether a field has a value in both, and not the same one."""
        mine, theirs = asdict(self), asdict(other)
        return any(mine[key] and theirs[key] and mine[key] != theirs[key] for key in mine)


def fetch(url: str, sha256: str | None, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """Download the file behind ``url`` once, and return its path, ``cached_path(url, cache)``.

    A download that was cut off goes on where it stopped, in the same call and in a later one. Processes that want
    the same file wait for one another.

    Args:
        sha256: the file's digest in hexadecimal, or its first digits, which the zoos write into their file names.
        progress: called with (bytes so far, bytes in all or None where the server does not say).

    Raises:
        UserError: there is no such file, no network or no room, or the checksum differs (the file is then deleted).
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{url}: weights are downloaded over http or https only; for a file give its path as weights")
    expected = _digest_prefix(sha256)
    path = cached_path(url, cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists():
                _verify(path, expected, path)
                return path
            part = path.with_name(f"{path.name}.part")
            _download(url, part, path, progress)
            _verify(part, expected, path)
            os.replace(part, path)
            _notes_path(part).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot write the download of {url}: {error.strerror or error}; "
            f"set MASKBENCH_CACHE to a folder with room"
        ) from error
    return path


def cached_path(url: str, cache: Path | None = None) -> Path:
    """Return where the file behind ``url`` is once it was fetched, and where a user may put it by hand.

    ``cache`` defaults to ``$MASKBENCH_CACHE/weights`` or ``~/.cache/maskbench/weights``.
    """
    if cache is None:
        home = os.environ.get("MASKBENCH_CACHE")
        cache = (Path(home) if home else Path.home() / ".cache" / "maskbench") / "weights"
    # Many files are called model.safetensors; the digest of the URL keeps them apart.
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "weights"
    return cache / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"


def sha256_of(path: Path | str) -> str:
    """Return the file's SHA-256 in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _digest_prefix(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    digits = sha256.strip().lower()
    if not 6 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
        raise UserError(f"zoo.sha256={sha256!r}: must be 6 to 64 hexadecimal digits")
    return digits


def _verify(path: Path, expected: str | None, final: Path) -> None:
    """Delete ``path`` and raise where its SHA-256 does not begin with ``expected``."""
    if expected is None or (actual := sha256_of(path)).startswith(expected):
        return
    _forget(path)
    raise UserError(
        f"{final}: sha256 {actual} of the downloaded file does not begin with {expected}; the file was deleted: "
        f"run again, or correct zoo.sha256"
    )


def _download(url: str, part: Path, final: Path, progress: Progress | None) -> None:
    """Download the whole file into ``part``, over as many connections as it takes."""
    failures, furthest = 0, 0
    while True:
        try:
            _one_connection(url, part, progress)
            return
        except _CutOffError as error:
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url}: cannot be downloaded ({error}); run again to go on, or put the file by hand at {final}"
                ) from error
            time.sleep(BACKOFF_S * 2 ** (failures - 1))


def _one_connection(url: str, part: Path, progress: Progress | None) -> None:
    known = _read_notes(part)
    have = part.stat().st_size if part.exists() and known.validator else 0
    if have and have == known.total:
        return
    with _open(url, part, have, known) as response:
        headers = response.headers
        notes = _Part(headers.get("ETag"), headers.get("Last-Modified"), _integer(headers.get("Content-Length")))
        if response.status == 206:
            start, notes.total = _content_range(headers.get("Content-Range", ""))
            # A server may obey Range and not If-Range. Then the file has changed, and the old bytes are worthless.
            if start != have or notes.contradicts(known):
                _forget(part)
                raise _CutOffError("the server continued with another file, or from another byte, than asked for")
            # An answer 206 may leave out what the first answer said.
            notes = _Part(**{key: value or getattr(known, key) for key, value in asdict(notes).items()})
        else:
            have = 0
            # The old bytes must be gone before the new notes are written, which would describe them.
            part.write_bytes(b"")
        _notes_path(part).write_text(json.dumps(asdict(notes)), encoding="utf-8")
        size = _append(response, part, have, notes.total, progress)
    if notes.total is not None and size != notes.total:
        raise _CutOffError(f"the connection ended after {size} of {notes.total} bytes")


def _open(url: str, part: Path, have: int, known: _Part) -> Any:
    headers = {"User-Agent": "maskbench", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known.validator or ""}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            _forget(part)
        elif error.code < 500 and error.code not in (408, 425, 429):
            raise UserError(f"{url}: the server answers {error.code} {error.reason}; correct zoo.url") from error
        raise _CutOffError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _CutOffError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _append(response: Any, part: Path, size: int, total: int | None, progress: Progress | None) -> int:
    """Write the response's body behind the ``size`` bytes already there; return the new size."""
    with open(part, "ab") as file:
        while True:
            try:
                # read1 returns what has arrived, so that a reset of the connection loses nothing.
                chunk = response.read1(CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _CutOffError(str(error) or type(error).__name__) from error
            if not chunk:
                return size
            file.write(chunk)
            size += len(chunk)
            if progress is not None:
                progress(size, total)


def _content_range(header: str) -> tuple[int | None, int | None]:
    """Return start and full length from a header like ``bytes 100-199/200``."""
    span, _, total = header.removeprefix("bytes").strip().partition("/")
    return _integer(span.partition("-")[0]), _integer(total)


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() else None


def _notes_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_notes(part: Path) -> _Part:
    try:
        return _Part(**json.loads(_notes_path(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return _Part()


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes_path(part).unlink(missing_ok=True)
