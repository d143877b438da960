"""Paths that depend on who runs the command: ``~``, and the folder of what is fetched or generated once."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench.errors import UserError
from bench.private.texts import without_credentials


def expanded(path: str | Path, key: str = "") -> Path:
    """Give a path with its ``~`` replaced by the home folder.

    key: the name of the path for the message of an error, as ``out``

    Raises:
        UserError: it is an address, as ``s3://bucket/runs``, of which a folder ``s3:`` would be made here; or this
            user, or the user that is named, has no home folder, as in a container without a passwd entry.
    """
    if isinstance(path, str) and "://" in path:
        named = without_credentials(f"{key}={path}" if key else path)
        raise UserError(f"{named}: is an address, must be a path of this machine")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        named = f"{key}={path}" if key else str(path)
        raise UserError(f"{named}: ~ stands for a home folder, and there is none; give the whole path") from error


def path_argument(text: str) -> Path:
    """Take an argument of argparse as a path, and no address, of which a folder ``s3:`` would be made here."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{without_credentials(text)} is an address, must be a path of this machine")
    return Path(text)


def cache_folder(kind: str) -> Path:
    """Give ``$MASKBENCH_CACHE/KIND``, or ``~/.cache/maskbench/KIND``, whether it is there or not.

    Raises:
        UserError: MASKBENCH_CACHE is not set, and this user has no home folder.
    """
    if root := os.environ.get("MASKBENCH_CACHE"):
        return expanded(root, "MASKBENCH_CACHE") / kind
    try:
        return Path.home() / ".cache" / "maskbench" / kind
    except RuntimeError as error:
        raise UserError(
            "this user has no home folder to keep files in; set MASKBENCH_CACHE to a folder that can be written"
        ) from error
