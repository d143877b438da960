"""The origin of a result: the commit and the branch of the user's own repository. This module imports no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from bench.device.commands import git
from bench.schema.result import Origin

COMMIT_VARIABLES = ("GITHUB_SHA", "CI_COMMIT_SHA")
BRANCH_VARIABLES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME")
"""Variables that GitHub and GitLab set; the first that is set and not empty counts. ``GITHUB_HEAD_REF`` is the branch
of a pull request, whose ``GITHUB_REF_NAME`` is only ``12/merge``."""


def find_origin(folder: Path = Path(), environment: Mapping[str, str] = os.environ) -> Origin:
    """Return the origin of what is measured in ``folder``.

    The commit is the one that is checked out there, since a CI job may check out another one than it was started for.
    The branch is first asked of the CI system, since it checks out a commit without its branch.
    """
    commit = git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    changes = None if commit is None else git(folder, "status", "--porcelain", "--untracked-files=no")
    return Origin(
        commit or _first(environment, COMMIT_VARIABLES),
        _first(environment, BRANCH_VARIABLES) or git(folder, "symbolic-ref", "--short", "--quiet", "HEAD"),
        None if changes is None else changes != "",
        _digest(git(folder, "diff", "--binary", "HEAD", timeout_s=None)) if changes else None,
    )


def _digest(changes: str | None) -> str | None:
    return hashlib.sha256(changes.encode(errors="replace")).hexdigest()[:16] if changes else None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
