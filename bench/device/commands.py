"""What other programs print, above all git. This module imports no torch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

_OTHER_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
)
"""In a git hook these name another repository: ``git rev-parse --local-env-vars``, without the variables that configure
git (``GIT_CONFIG_COUNT``, ...), by which a user may have allowed a repository of another owner."""


class Said(NamedTuple):
    """What a program printed; ``text`` is None where it failed, and ``reason`` is then its own."""

    text: str | None
    reason: str = ""


def output(*command: str, timeout_s: float | None = 20.0) -> str | None:
    """Return what the command prints, or None where it is absent, fails or takes longer than ``timeout_s``."""
    return _run(command, timeout_s).text


def git(folder: Path, *arguments: str, timeout_s: float | None = 20.0) -> str | None:
    """Return what git prints about the repository that holds ``folder``, as :func:`output` does; git takes no lock."""
    return ask_git(folder, *arguments, timeout_s=timeout_s).text


def ask_git(folder: Path, *arguments: str, timeout_s: float | None = 20.0) -> Said:
    """Return what git prints, as :func:`git` does, or why it failed."""
    return _run(("git", "--no-optional-locks", "-C", str(folder), *arguments), timeout_s)


def _run(command: tuple[str, ...], timeout_s: float | None) -> Said:
    environment = {key: value for key, value in os.environ.items() if key not in _OTHER_REPOSITORY}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=True)
    except subprocess.CalledProcessError as error:
        return Said(None, str(error.stderr).strip())
    except (OSError, subprocess.SubprocessError) as error:
        return Said(None, str(error))
    return Said(done.stdout.strip())
