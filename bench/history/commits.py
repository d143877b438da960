"""Chooses which results of a folder belong to one run of a history: those that were measured at one commit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import UserError
from bench.history.runs import DIRTY, short
from bench.schema.result import Origin, Result, read_result


@dataclass(frozen=True)
class OfOneCommit:
    """Results that were measured at one commit.

    paths: their ``result.json`` files
    origin: that commit, with the branch that was checked out
    left_out: sentences about the results of other commits
    """

    paths: list[Path]
    origin: Origin
    left_out: list[str]


def of_one_commit(results: Path, now: Origin) -> OfOneCommit:
    """Give the results of a folder that were measured at the commit of ``now``.

    Where none was, they are those of the commit of the newest result: a figure is filed under the commit at which it
    was measured, whatever is checked out when it is filed. A result that cannot be read is left out.
    """
    read: list[tuple[Path, Result]] = []
    left_out = []
    for path in sorted(results.glob("jobs/*/result.json")):
        try:
            read.append((path, read_result(path)))
        except UserError as error:
            left_out.append(f"not filed: {error}")
    commits = [_filed(_origin(result, now)) for _, result in read]
    commit = _filed(now)
    if commits and commit not in commits:
        commit = max(zip(commits, read, strict=True), key=lambda pair: pair[1][1].started or "")[0]
    chosen = [(path, result) for (path, result), of in zip(read, commits, strict=True) if of == commit]
    origin = replace(now if commit == _filed(now) else _origin(chosen[0][1], now), commit=commit)
    others = [of for of in commits if of != commit]
    left_out += [
        f"{others.count(of)} of the results {'were' if others.count(of) > 1 else 'was'} measured at commit "
        f"{short(of) or 'unknown'} and not at {short(commit) or 'none'}, so not filed under it"
        for of in dict.fromkeys(others)
    ]
    return OfOneCommit([path for path, _ in chosen], origin, left_out)


def _filed(origin: Origin) -> str | None:
    """Give the commit that a figure is filed under: with an ending, as of ``git describe``, where files differed."""
    return origin.commit + DIRTY if origin.commit and origin.changed else origin.commit


def _origin(result: Result, now: Origin) -> Origin:
    """Give the commit of a result; one that has no figure, as of a failed job, belongs to any commit."""
    return result.origin if result.origin is not None and result.measured else now
