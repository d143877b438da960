"""A data set in a bucket, or anywhere else that fsspec reads: copied once into this machine's cache, and read there.

Nothing is read from the bucket while a model runs. A copy lies under a digest of its address and of what is listed
there (names, sizes, and the bucket's own digests or times of change), so a file that has changed is another copy. What
was copied is checked before each use by the samples of :func:`bench.files.digests.samples_sha256`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bench.errors import UserError, no_room
from bench.files.digests import samples_sha256
from bench.files.json_file import write_text_atomically
from bench.files.paths import cache_folder
from bench.private.texts import without_credentials

KIND = "datasets"
"""The folder of the copies in the cache."""

COPIED = "copied.json"
"""Stands in a copy that is whole, and has the digest of its samples, and the address where no query is part of it."""

RESERVE_BYTES = 2**30
"""Room on the disk that a copy leaves."""

FILES_AT_ONCE = 256
"""How many files fsspec is asked for in one call. It gets them side by side, where the bucket's file system can."""

Progress = Callable[[int, int], None]

_CHANGES = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "blob_id", "created")
"""What file systems call the digest of a file, or its time of change; the first that is there is taken."""


@dataclass(frozen=True)
class Listed:
    """A file in a bucket.

    remote: its path there
    name: its path below the address that was given; the file's own name where that is the file
    size: in bytes
    change: the bucket's digest of it, or when it was changed
    """

    remote: str
    name: str
    size: int
    change: str


def is_address(path: Any) -> bool:
    """Tell whether this is an address, as ``s3://bucket/coco/val2017``, and no path of this machine."""
    return isinstance(path, str) and "://" in path


def local_copy(address: str, key: str, *, folder: bool, progress: Progress = lambda done, total: None) -> Path:
    """Give the copy of a file or a folder, with all files below it, which is made where it is not there yet.

    A copy that was interrupted goes on. Processes that want the same one wait for one another.

    key: that of the configuration, for messages
    folder: whether a folder must lie there, or else a file
    progress: is told of a copy that is made, in bytes: how many are there, of how many

    Raises:
        UserError: nothing is there, or something else; it cannot be read, as without the package for it; there is
            no room; or the copy is no longer what was copied.
    """
    from filelock import FileLock  # a set on this machine does without it, and without fsspec

    shown = f"{key}={without_credentials(address)}"
    with _told(shown):
        system, root = _opened(address)
        listed = _listed(system, root, folder, shown)
    harmless = without_credentials(address).rstrip("/")
    place, name = cache_folder(KIND) / _digest(harmless, listed)[:32], _own_name(root)
    paths = [place / name / file.name if folder else place / file.name for file in listed]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f".{place.name}.lock")):
            if not (place / COPIED).exists():
                _copy(system, listed, place, paths, shown, progress, {} if "?" in address else {"address": harmless})
        _check(place, paths, shown)
    except OSError as error:
        raise UserError(
            f"{shown}: cannot be copied to {error.filename or place}: {error.strerror or error}; set MASKBENCH_CACHE "
            f"to a folder with room"
        ) from error
    return place / name if folder else paths[0]


@contextlib.contextmanager
def _told(shown: str) -> Iterator[None]:
    """Tell in one line what goes wrong with a bucket, whose file system has errors of its own kinds."""
    try:
        yield
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"{shown}: needs a package that is not here: pip install {str(error.name).partition('.')[0]}"
        ) from error
    except FileNotFoundError as error:
        raise UserError(f"{shown}: no such file, folder or bucket") from error
    except Exception as error:
        if isinstance(error, OSError) and no_room(error):
            raise
        text = without_credentials(" ".join(str(error).split()))[:300]
        raise UserError(f"{shown}: cannot be read: {text or type(error).__name__}") from error


def _opened(address: str) -> tuple[Any, str]:
    """Give fsspec's file system of an address, and the path in it."""
    from fsspec.core import url_to_fs

    system, root = url_to_fs(address)
    system.invalidate_cache()
    return system, str(root).rstrip("/")


def _listed(system: Any, root: str, folder: bool, shown: str) -> list[Listed]:
    """Give the files by name."""
    about = system.info(root)
    if (about["type"] == "file") is folder:
        raise UserError(f"{shown}: is a {'file' if folder else 'folder'}, must be a {'folder' if folder else 'file'}")
    if not folder:
        return [_file(root, _own_name(root), about)]
    found: Mapping[str, Mapping[str, Any]] = system.find(root, detail=True)
    files = [
        _file(path, PurePosixPath(path).relative_to(root).as_posix(), info)
        for path, info in sorted(found.items())
        if info["type"] == "file" and not path.endswith("/")
    ]
    if not files:
        raise FileNotFoundError(root)
    return files


def _own_name(root: str) -> str:
    """Give the name of a file or a folder in a bucket, without the query of an address, which may hold a signature."""
    path = urlsplit(root).path if "://" in root else root
    return PurePosixPath(path).name or "file"


def _file(remote: str, name: str, about: Mapping[str, Any]) -> Listed:
    if not isinstance(about.get("size"), int):
        raise ValueError(f"it does not say how many bytes {name} has")
    if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute() or name == COPIED:
        raise ValueError(f"{name} is no name for a file of a copy")
    change = next((str(about[key]) for key in _CHANGES if about.get(key) is not None), "")
    if not change:
        raise ValueError(f"it gives neither a digest of {name} nor when it was changed, so a change would not be seen")
    return Listed(remote, name, about["size"], change)


def copied_from(path: Any) -> str | None:
    """Give the address that a file or a folder is the copy of, without user and password.

    It is None of whatever is no copy, and where the address has a query, which may be what names the file: it is a
    secret, and so nowhere kept.
    """
    if not isinstance(path, str) or not path:
        return None
    try:
        told = json.loads((Path(path).parent / COPIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    address = told.get("address") if isinstance(told, dict) else None
    return address if isinstance(address, str) else None


def _digest(address: str, listed: Sequence[Listed]) -> str:
    content = [address, [(file.name, file.size, file.change) for file in listed]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _copy(
    system: Any,
    listed: Sequence[Listed],
    place: Path,
    paths: Sequence[Path],
    shown: str,
    progress: Progress,
    about: Mapping[str, str],
) -> None:
    """Copy all files into a folder beside ``place``, which takes its name once all are there.

    about: is kept in :data:`COPIED`, beside the digest
    """
    part = place.with_name(f".{place.name}.part")
    targets = [part / path.relative_to(place) for path in paths]
    left = [(file, target) for file, target in zip(listed, targets, strict=True) if _size(target) != file.size]
    needed, room = sum(file.size for file, _ in left), max(0, _room(place.parent) - RESERVE_BYTES)
    if needed > room:
        raise UserError(
            f"{shown}: has {needed / 1e9:.1f} GB, and {place.parent} has room for {room / 1e9:.1f} GB; set "
            f"MASKBENCH_CACHE to a folder with room"
        )
    for target in {target.parent for target in targets}:
        target.mkdir(parents=True, exist_ok=True)
    total, done = sum(file.size for file in listed), sum(file.size for file in listed) - needed
    for start in range(0, len(left), FILES_AT_ONCE):
        some = left[start : start + FILES_AT_ONCE]
        progress(done, total)
        with _told(shown):
            system.get([file.remote for file, _ in some], [str(target) for _, target in some])
        done += sum(file.size for file, _ in some)
    for file, target in left:
        if (size := _size(target)) != file.size:
            raise UserError(f"{shown}: {file.name} has {file.size} bytes there, and {size} were copied; run again")
    write_text_atomically(part / COPIED, json.dumps({**about, "samples_sha256": samples_sha256(targets)}))
    shutil.rmtree(place, ignore_errors=True)  # without COPIED, which somebody has removed
    os.replace(part, place)


def _check(place: Path, paths: Sequence[Path], shown: str) -> None:
    try:
        copied = json.loads((place / COPIED).read_text(encoding="utf-8"))["samples_sha256"]
        if copied == samples_sha256(paths):
            return
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        pass
    raise UserError(f"{shown}: {place} is no longer what was copied; delete that folder and run again")


def _size(path: Path) -> int:
    """Give the size of a file; -1 where it is absent."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _room(folder: Path) -> int:
    return shutil.disk_usage(folder).free
