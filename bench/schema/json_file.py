"""Dataclasses as JSON files with a schema version: written whole or not at all, refused in one clear line."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UserError
from bench.private.texts import publishable

T = TypeVar("T")


def write(value: Any, path: Path) -> None:
    """Write a dataclass atomically: a reader sees the old file or the new one, never a part of it.

    Such files are published, so their texts are written as :func:`bench.private.texts.publishable` gives them.
    """
    content = publishable(dataclasses.asdict(value))
    write_text_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def parse(cls: type[T], name: str, content: bytes, where: str, version: int) -> T:
    """Parse a dataclass from the bytes of a file whose ``schema_version`` must be ``version``.

    Args:
        name: the name of such files, as ``result.json``, for the messages of errors
        where: where these bytes are from, for the messages too

    Raises:
        UserError: the content is not JSON, is of another schema version, or lacks a field.
    """
    try:
        data = json.loads(content)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); delete it and run again") from error
    theirs = data.get("schema_version") if isinstance(data, dict) else None
    if theirs != version:
        raise UserError(
            f"{where}: schema_version {theirs!r}, this maskbench reads {version}; give a {name} of this version"
        )
    try:
        return from_dict(cls, data)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: not a {name} of this schema: {error}") from error


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to ``path`` as :func:`write_atomically` writes bytes."""
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write to ``path`` by way of a temporary file beside it, flushed to the disk; an older file stays until then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
    """Make a dataclass from parsed JSON, and the dataclasses in its fields, lists and dicts.

    Raises:
        ValueError: the dataclass lacks a key.
        TypeError: a field without default is missing.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := set(data) - known:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
    return cls(**{name: _as_hinted(hints[name], value) for name, value in data.items()})


def _as_hinted(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(hint, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value)
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is list and isinstance(value, list):
        return [_as_hinted(inner[0], item) for item in value]
    if typing.get_origin(hint) is dict and isinstance(value, dict):
        return {key: _as_hinted(inner[1], item) for key, item in value.items()}
    return value
