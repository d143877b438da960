"""What other programs print, above all git. This module imports no torch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def output(*command: str, timeout_s: float | None = 20.0) -> str | None:
    """Return what the command prints, or None where it is absent, fails or takes longer than ``timeout_s``."""
    # In a git hook, GIT_DIR and similar variables name another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def git(folder: Path, *arguments: str, timeout_s: float | None = 20.0) -> str | None:
    """Return what git prints about the repository that holds ``folder``, as :func:`output` does; git takes no lock."""
    return output("git", "--no-optional-locks", "-C", str(folder), *arguments, timeout_s=timeout_s)
