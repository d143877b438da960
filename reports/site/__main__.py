"""This command writes a static site of the results of many runs and machines.

python -m reports.site DIR... --out public/        leaderboards, a page for each model and run, a search
maskbench site DIR... --out public/ --history history/      the trends of a history, too
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.errors import UserError, visible
from bench.files.folder_lock import REPORTING, locked
from bench.files.paths import path_argument
from reports.text.output import tolerant_output

_MOST_LINES = 10
"""Files that a line each is printed of."""


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m reports.site") -> int:
    """Run the command and give its exit status: 0, or 2 for wrong input."""
    options = _parser(program).parse_args(arguments)
    try:
        with locked(options.out, REPORTING, lambda line: print(visible(line), file=sys.stderr), key="--out"):
            _build(options)
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser(program: str) -> argparse.ArgumentParser:
    from reports.site.build import REPORTS

    parser = argparse.ArgumentParser(
        prog=program,
        description="Write a static site of results: a leaderboard for each data set and GPU, a page for each model "
        "and run, trends, and a search. It needs no server: open its index.html, or put the folder on any.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        type=path_argument,
        metavar="DIR",
        help="a run's folder, a folder of runs, or a result.json",
    )
    parser.add_argument("--out", type=path_argument, required=True, help="where to write it, as public/")
    parser.add_argument(
        "--history",
        type=path_argument,
        action="append",
        default=[],
        metavar="FILE",
        help="a history, for a page of its trends",
    )
    parser.add_argument(
        "--reports",
        choices=REPORTS,
        default="copy",
        help="of the runs: copy those that are there, which show images of your data set; draw all anew from the "
        "results; or none (default: %(default)s)",
    )
    return parser


def _build(options: argparse.Namespace) -> None:
    from reports.site.build import build_site

    built = build_site(options.sources, options.out, options.history, options.reports)
    left_out = built.gathered.left_out
    for file, why in left_out[:_MOST_LINES]:
        print(visible(f"warning: {file}: {why}; left out of the site"), file=sys.stderr)
    if lacking := len(left_out[_MOST_LINES:]):
        print(f"warning: {lacking} more are left out of the site, whose first page lists all", file=sys.stderr)
    if built.cleaned:
        print(f"{built.cleaned} results held paths or secrets, which the site leaves out", file=sys.stderr)
    site = built.site
    counts = [
        _count(len(site.comparison.rows), "result"),
        _count(len(site.boards), "leaderboard"),
        _count(len(site.models), "model"),
        _count(len(site.runs), "run"),
    ]
    more = f"; {built.gathered.copies} copies of them count once" if built.gathered.copies else ""
    print(f"{', '.join(counts)}{more}")
    without = len(site.runs) - built.reports
    if built.reports:
        shown = f"the reports of {_count(built.reports, 'run')} are in the site, with the images that they show"
        print(f"{shown}; --reports none leaves them out")
    if without and options.reports == "copy":
        print(f"{_count(without, 'run')} without a report of its own; --reports draw draws it")
    print(visible(str(built.page)))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
