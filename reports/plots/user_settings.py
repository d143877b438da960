"""Import matplotlib as if its user had set nothing: a backend that is not installed, or a broken file, stops it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path


def environment_without_user_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Give an environment in which matplotlib has its own default settings."""
    kept = {name: value for name, value in environment.items() if name not in ("MPLBACKEND", "MATPLOTLIBRC")}
    found = importlib.util.find_spec("matplotlib")
    if found and found.origin:  # where this file is named, the one in the home folder is not read
        kept["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
    return kept


@contextlib.contextmanager
def without_user_settings() -> Iterator[None]:
    """Let what is imported inside find no settings of the user in the environment."""
    before = dict(os.environ)
    ours = environment_without_user_settings(before)
    try:
        os.environ.pop("MPLBACKEND", None)
        os.environ.update(ours)
        yield
    finally:
        for name in ("MPLBACKEND", "MATPLOTLIBRC"):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
