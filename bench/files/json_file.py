"""Dataclasses as JSON files with a schema version: written whole or not at all, refused in one clear line."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import stat
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from bench.errors import UserError
from bench.files.bounds import Agreeing
from bench.files.plain import as_dict
from bench.private.texts import publishable

T = TypeVar("T")

MOST_BYTES = 256 * 2**20
"""The largest file that is read, 256 MiB. A result of ten thousand batches has 2 MB."""


def write(value: Any, path: Path) -> None:
    """Write a dataclass atomically: a reader sees the old file or the new one, never a part of it.

    Such files are published, so their texts are written as :func:`bench.private.texts.publishable` gives them. Half of
    a UTF-16 pair, as a name of a file in another encoding has, is no text, and becomes a question mark.
    """
    content = publishable(as_dict(value))
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode(errors="replace"))


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of at most :data:`MOST_BYTES`.

    Raises:
        UserError: it cannot be read, is larger, or is no file, such as a folder or a pipe, which may never end.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path}: not a regular file; remove it")
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: has more than {MOST_BYTES >> 20} MiB, which no file of ours has; delete it")
    return content


def parse(cls: type[T], name: str, content: bytes, where: str, version: int) -> T:
    """Parse a dataclass from the bytes of a file, which may have been damaged or edited since it was written.

    Types, ranges and lengths are held as the fields of the dataclass say (:mod:`bench.files.bounds`). A process that
    reads what its own program has just written takes :func:`parse_own`.

    Args:
        name: the name of such files, as ``result.json``, for the messages of errors
        where: where these bytes are from, for the messages too
        version: the ``schema_version`` that it must have

    Raises:
        UserError: the content is not JSON, is of another schema version, or is not what the dataclass says.
    """
    # Imported here, since msgspec may be absent in the environment of a worker, which never calls this.
    from bench.files.validation import check_types, parse_json

    try:
        data = parse_json(content)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); delete it and run again") from error
    _check_version(data, name, where, version)
    try:
        check_types(cls, data)
        return from_dict(cls, data)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: not a {name} of this schema: {error}; give an undamaged copy, or delete it and run again"
        ) from error


def parse_own(cls: type[T], name: str, content: bytes, where: str, version: int) -> T:
    """Parse as :func:`parse`, what this program has just written, by the standard library alone.

    Raises:
        UserError: the content is of another schema version.
        ValueError, TypeError: it is no such dataclass.
    """
    data = json.loads(content)
    _check_version(data, name, where, version)
    return from_dict(cls, data)


def _check_version(data: Any, name: str, where: str, version: int) -> None:
    theirs = data.get("schema_version") if isinstance(data, dict) else None
    if theirs != version:
        raise UserError(
            f"{where}: schema_version {_short(theirs)}, this maskbench reads {version}; give a {name} of this version"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to ``path`` as :func:`write_atomically` writes bytes."""
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write to ``path`` by way of a temporary file beside it, as :func:`opened_atomically` says."""
    with opened_atomically(path) as file:
        file.write(content)


@contextlib.contextmanager
def opened_atomically(path: Path) -> Iterator[BinaryIO]:
    """Give a temporary file beside ``path``, which takes its place, flushed to the disk, where the block ends well.

    An older file stays until then. What is no file, such as ``/dev/stdout`` or a pipe, is written into: to replace it
    would destroy it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        with open(path, "wb") as stream:
            yield stream
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # that a disk is full is known without the name of a file
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
    """Make a dataclass from parsed JSON, and the dataclasses in its fields, lists and dicts.

    Raises:
        ValueError: the dataclass lacks a key, or fields contradict each other.
        TypeError: a field without default is missing.
    """
    makers = _makers(cls)  # type: ignore[arg-type]
    if unknown := set(data) - set(makers):
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
    made = cls(**{name: value if value is None else makers[name](value) for name, value in data.items()})
    if isinstance(made, Agreeing):
        made.check()
    return made


@functools.cache
def _makers(cls: Any) -> dict[str, Callable[[Any], Any]]:
    """Give for each field of a dataclass what makes its value of parsed JSON that is not null."""
    hints = typing.get_type_hints(cls)
    return {field.name: _maker(hints[field.name]) for field in dataclasses.fields(cls)}


def _maker(hint: Any) -> Callable[[Any], Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return functools.partial(from_dict, hint)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return functools.partial(_made_list, _maker(inner[0]))
    if origin is dict:
        return functools.partial(_made_dict, _maker(inner[1]))
    return _as_it_is


def _made_list(make: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, list):
        return value
    # Samples are long lists of numbers.
    return value.copy() if make is _as_it_is else [item if item is None else make(item) for item in value]


def _made_dict(make: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: item if item is None else make(item) for key, item in value.items()}


def _as_it_is(value: Any) -> Any:
    return value
