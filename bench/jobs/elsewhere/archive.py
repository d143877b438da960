"""A job's folder as the bytes of an archive: so it goes to a node that shares no files, and comes back."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from bench.files.json_file import write_atomically

WEIGHTS = (".pt", ".pth", ".safetensors", ".ckpt")
"""Ends of the names of files of weights, which only a training leaves in a job's folder."""


def packed(home: Path, below: str = ".", weights: bool = True) -> bytes:
    """Give the files of a folder of results as one archive, under their names relative to it.

    below: the folder in it whose files are wanted
    weights: whether files of weights are in it

    A file that is gone meanwhile is left out. Those that are still written are hidden, as is what only tells how far a
    study is: no hidden file or folder is in it.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder, folders, names in os.walk(home / below):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith(".") or path.is_symlink() or (not weights and path.suffix in WEIGHTS):
                    continue
                _add(archive, path, path.relative_to(home).as_posix())
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        content = path.read_bytes()
    except OSError:
        return
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


Parts = tuple[str, ...]


def unpack(content: bytes, home: Path, placed: Callable[[Parts], Parts] = lambda parts: parts) -> None:
    """Write the files of an archive below a folder, each whole or not at all.

    ``result.json`` files are written last: one that a reader sees has its predictions beside it.

    placed: gives the parts of the path of a file by those of its name; all are asked before any is written

    Raises:
        ValueError: a name leads out of the folder, or something is no file.
    """
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name.endswith("result.json"))
        for member in members:
            parts = PurePosixPath(member.name).parts
            if not member.isfile() or not parts or ".." in parts or PurePosixPath(member.name).is_absolute():
                raise ValueError(f"no file of a folder of results: {member.name!r:.80}")
        paths = [home.joinpath(*placed(PurePosixPath(member.name).parts)) for member in members]
        for path, member in zip(paths, members, strict=True):
            file = archive.extractfile(member)
            assert file is not None
            write_atomically(path, file.read())
