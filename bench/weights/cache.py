"""The cache of downloaded weights: a folder of the user's own, and files in it that are never somebody else's.

Whoever else can write into the folder could put a link there, through which a download would overwrite another file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import urllib.parse
from pathlib import Path
from typing import BinaryIO

from bench.errors import UserError
from bench.files import paths

LONGEST_NAME = 100
"""Characters of the server's name of a file that are kept in the name of the cached one."""


def cache_folder() -> Path:
    """Give ``$MASKBENCH_CACHE/weights`` or ``~/.cache/maskbench/weights``."""
    return paths.cache_folder("weights")


def file_name(url: str) -> str:
    """Give the name in the cache for the file behind ``url``: a digest of the address, and the server's name for it.

    Many files are called model.safetensors; the digest keeps them apart.
    """
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "weights"
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-LONGEST_NAME:]
    return f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"


def prepare_folder(folder: Path) -> None:
    """Make the folder where it is absent, for this user alone.

    Raises:
        UserError: it belongs to another user, or every user may write into it.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = os.stat(folder)
    remedy = "set MASKBENCH_CACHE to a folder of your own"
    if os.geteuid() not in (0, found.st_uid):
        raise UserError(f"{folder}: the cache of weights belongs to another user; {remedy}")
    if found.st_mode & stat.S_IWOTH:
        raise UserError(f"{folder}: every user of this machine may write into the cache of weights; {remedy}")


def open_part(path: Path, have: int) -> BinaryIO:
    """Open the file of an unfinished download: behind its first ``have`` bytes, or empty where that is 0.

    A link, a pipe or a file with a second name, which somebody else may have put there, is replaced and never written
    through.

    Raises:
        OSError: it cannot be opened.
    """
    if not have or not is_own_file(path):
        path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | (0 if path.exists() else os.O_CREAT | os.O_EXCL)
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def is_own_file(path: Path) -> bool:
    """Say whether the path is a regular file with this one name, and no link."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def write_note(path: Path, text: str) -> None:
    """Write a small file beside a download; whatever has its name is replaced and not written through.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def remove_planted(path: Path) -> None:
    """Remove a link that lies where a lock is to be: an older filelock would empty the file behind it."""
    if path.is_symlink():
        path.unlink()


def free_bytes(folder: Path) -> int:
    """Give the bytes that are free for this user where the folder is."""
    return shutil.disk_usage(folder).free
