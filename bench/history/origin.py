"""The origin of a result: the commit and the branch of the user's own repository."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.device.commands import git

COMMIT_VARIABLES = ("GITHUB_SHA", "CI_COMMIT_SHA")
BRANCH_VARIABLES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME")
"""Variables that GitHub and GitLab set; the first that is set and not empty counts. ``GITHUB_HEAD_REF`` is the branch
of a pull request, whose ``GITHUB_REF_NAME`` is only ``12/merge``."""


@dataclass(frozen=True)
class Origin:
    """A commit's full name and a branch; None where there is no repository, or no branch is checked out."""

    commit: str | None = None
    branch: str | None = None


def find_origin(folder: Path = Path(), environment: Mapping[str, str] = os.environ) -> Origin:
    """Return the origin of what is measured in ``folder``.

    The CI system is asked before git, since it checks out a commit without its branch.
    """
    return Origin(
        _first(environment, COMMIT_VARIABLES) or git(folder, "rev-parse", "--verify", "--quiet", "HEAD"),
        _first(environment, BRANCH_VARIABLES) or git(folder, "symbolic-ref", "--short", "--quiet", "HEAD"),
    )


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
