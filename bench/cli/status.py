"""``maskbench status OUT`` says how far a study is: its queue, what runs where, and what failed.

It reads the study's folder alone, while the study runs and after, also from another machine that sees the folder.
``python -m bench.cli.status`` is the same.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone

from bench.cli.arguments import filled_path
from bench.errors import UserError, visible
from bench.jobs.status.board import AtWork
from bench.jobs.status.state import (
    AT_WORK,
    IN_PART,
    STOPPED,
    TO_BE_TIMED,
    UNREADABLE,
    WAITING,
    WAS_INTERRUPTED,
    JobState,
    StudyState,
    counts,
    study_state,
)
from reports.text.output import tolerant_output

WIDTH = 80

SHOWN = 20
"""Jobs of one kind that are listed; of others the number is told."""

_NO_STATUS = (IN_PART, STOPPED, TO_BE_TIMED, WAS_INTERRUPTED, AT_WORK, WAITING, UNREADABLE)
"""States that are the title of their list, and no status of a result."""

_INDENT = "  "


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m bench.cli.status") -> int:
    """Run the command; give the exit status: 0, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog=program, description="Say how far a study is; it may be running.")
    parser.add_argument("out", type=filled_path, metavar="OUT", help="the out= folder of a study")
    parser.add_argument("--all", action="store_true", help=f"list every job, not {SHOWN} of a kind")
    options = parser.parse_args(arguments)
    try:
        state = study_state(options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if sys.stdout.isatty() else WIDTH
    most = None if options.all else SHOWN
    for line in status_lines(state, str(options.out), most, max(40, width), datetime.now(timezone.utc)):
        print(line)
    return 0


def status_lines(state: StudyState, out: str, most: int | None, width: int, now: datetime) -> Iterator[str]:
    """Give the lines of a status, none of them wider than ``width`` but for a word that is, and the command.

    out: the folder of the study, as the user calls it
    most: jobs of one kind that are listed; None for all
    """
    numbers = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts(state.jobs))
    yield from _wrapped(f"{len(state.jobs):,} job{'' if len(state.jobs) == 1 else 's'}: {numbers}", width)
    if state.planned:
        yield from _wrapped(f"planned {_ago(state.planned, now)}" + (" by" if state.command else ""), width)
        if state.command:  # in one line, so that it can be pasted
            yield _INDENT + visible(f"{state.command} out={shlex.quote(out)}")
    ended_ill = [job for job in state.jobs if job.state not in ("ok", *_NO_STATUS)]
    for title, jobs in (
        ("at work", _of(state, AT_WORK)),
        ("stopped without a word; the same command with the same out= goes on", _of(state, STOPPED)),
        ("interrupted; the same command with the same out= goes on", _of(state, WAS_INTERRUPTED)),
        ("failed or skipped", ended_ill),
        ("cannot be read", _of(state, UNREADABLE)),
        ("timed in part, more rounds to come", _of(state, IN_PART)),
        ("measured in part, to be timed when nothing else runs", _of(state, TO_BE_TIMED)),
        ("waiting, the next one first", _of(state, WAITING)),
    ):
        if jobs:
            yield ""
            yield from _wrapped(title, width)
            yield from _listed(jobs, most, width, now)


def _of(state: StudyState, name: str) -> list[JobState]:
    return [job for job in state.jobs if job.state == name]


def _listed(jobs: Sequence[JobState], most: int | None, width: int, now: datetime) -> Iterator[str]:
    for job in jobs[:most]:
        head = " ".join(filter(None, (job.job.model, job.job.setting)))
        told = [] if job.state in _NO_STATUS else [job.state.replace("_", " ")]
        told += [job.reason] if job.reason else []
        told += [_place(job.at_work, now)] if job.at_work else []
        yield from _wrapped(": ".join([head, *told]), width, _INDENT)
    if most is not None and len(jobs) > most:
        yield from _wrapped(f"and {len(jobs) - most:,} more (--all lists them)", width, _INDENT)


def _place(working: AtWork, now: datetime) -> str:
    return f"{working.where} on {working.host}, process {working.process}, began {_ago(working.began, now)}"


def _ago(moment: str, now: datetime) -> str:
    """Say how long ago a moment was: ``3 min ago``."""
    try:
        seconds = max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    except (ValueError, TypeError):
        return "at an unknown time"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _wrapped(text: str, width: int, indent: str = "") -> Iterable[str]:
    return textwrap.wrap(
        visible(" ".join(text.split())),
        width,
        initial_indent=indent,
        subsequent_indent=indent + _INDENT if indent else "",
    )


if __name__ == "__main__":
    sys.exit(main())
