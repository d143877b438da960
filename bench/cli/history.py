"""``maskbench history list|trend|export|prune HISTORY`` shows, exports and prunes a history.

``python -m bench.cli.history`` is the same.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import pairwise

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from bench.cli.arguments import filled, filled_path
from bench.errors import UserError, visible
from bench.files.json_file import write_text_atomically
from bench.history.runs import Run, clock_notes, prunable, short
from bench.history.store import History
from reports.text.output import tolerant_output

CSV_COLUMNS = ("run", "time", "branch", "commit", "machine", "model", "setting", "metric", "value", "low", "high")

SHOWN_RUNS = 200
"""Runs on the trend page: more dots than this would touch each other."""


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m bench.cli.history") -> int:
    """Run the command; give the exit status: 0, 1 where the history holds no run, 2 for wrong input."""
    parser = _parser(program)
    options = parser.parse_args(arguments)
    if options.command == "export" and bool(options.run) != bool(options.out):
        parser.error("export: --run NAME and --out DIR go together")
    if options.command == "prune" and options.keep is None and options.before is None:
        parser.error("prune: say what may go, with --keep N or --before DATE")
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    history = History(options.history)
    try:
        if not history.runs():
            console.print(f"{history.path}: holds no run", markup=False)
            return 1
        commands = {"list": _list, "trend": _trend, "export": _export, "prune": _prune}
        commands[options.command](history, options, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Look at a history, export or prune it.")
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("list", help="the runs, in the order in which they were appended")
    trend = commands.add_parser("trend", help="a page of every figure over the runs, with the steps that it made")
    export = commands.add_parser("export", help="all figures as CSV, or the results of one run as a folder")
    prune = commands.add_parser("prune", help="remove old runs; the last good run of a branch stays")
    for command in (shown, trend, export, prune):
        command.add_argument(
            "history", type=filled_path, metavar="HISTORY", help="the file, or the folder that it is in"
        )
    for command in (shown, trend):
        command.add_argument("--branch", type=filled, help="only the runs of this branch")
    trend.add_argument("--model", type=filled, help="only the results of this configuration")
    trend.add_argument(
        "--last", type=_count, default=SHOWN_RUNS, metavar="N", help="the newest N; default: %(default)s"
    )
    trend.add_argument("--out", type=filled_path, metavar="FILE", help="default: trend.html beside the history")
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--csv", type=filled_path, metavar="FILE", help="a line for every figure of every result; - is stdout"
    )
    what.add_argument(
        "--run", type=filled, metavar="NAME", help="a run's results: main@latest, last-good, main@0123abc"
    )
    export.add_argument("--out", type=filled_path, metavar="DIR", help="the folder that --run is written into")
    prune.add_argument("--keep", type=_count, metavar="N", help="keep the newest N runs of every branch")
    prune.add_argument("--before", type=_date, metavar="DATE", help="remove only what was appended before, UTC")
    prune.add_argument("--dry-run", action="store_true", help="only say which runs would go")
    prune.add_argument("--force", action="store_true", help="remove also the last good run of a branch")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; give 1 or more")
    return int(text)


def _date(text: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write it as 2026-11-22") from None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _list(history: History, options: argparse.Namespace, console: Console) -> None:
    runs = history.runs()
    shown = history.runs(options.branch) if options.branch else runs
    console.print(_table(shown))
    ids = {run.id for run in shown}
    for before, run in pairwise([None, *runs]):
        for note in clock_notes(run, before) if run and run.id in ids else ():
            console.print(visible(f"note: {note}"), markup=False, soft_wrap=True)


def _table(runs: Sequence[Run]) -> Table:
    table = Table(Column("run", justify="right"), "measured", "branch", "commit", "models", "gate", "machine")
    for run in runs:
        time = (run.measured or run.appended)[:16].replace("T", " ")
        models = ", ".join(run.models[:3]) + (f" and {len(run.models) - 3} more" if len(run.models) > 3 else "")
        commit = short(run.commit)
        cells = (str(run.id), time, run.branch or "", commit, models, run.gate or "", run.machine)
        table.add_row(*(escape(visible(cell)) for cell in cells))
    return table


def _trend(history: History, options: argparse.Namespace, console: Console) -> None:
    from reports.page.trend import share_text, without_step, write_trend

    out = options.out or history.path.with_name("trend.html")
    trends = write_trend(history, out, options.branch, options.model, options.last)
    if not any(trend.steps for trend in trends):
        console.print(without_step(trends), markup=False, soft_wrap=True)
    for trend in trends:
        for step in trend.steps:
            run, verdict = trend.points[step.index].run, trend.verdict(step)
            text = f"{trend.series.label}: {trend.metric} {share_text(step)} at {run.name} (run {run.id})"
            console.print(visible(text) + (f", {verdict}" if verdict else ""), markup=False, soft_wrap=True)
    console.print(str(out), markup=False, soft_wrap=True)


def _export(history: History, options: argparse.Namespace, console: Console) -> None:
    if options.run:
        folder = history.checkout(history.find(options.run), options.out)
        console.print(str(folder), markup=False, soft_wrap=True)
        return
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_csv_rows(history))
    if str(options.csv) == "-":
        print(table.getvalue(), end="")
        return
    try:
        write_text_atomically(options.csv, table.getvalue())
    except OSError as error:
        raise UserError(f"{options.csv}: cannot be written: {error.strerror or error}") from error
    console.print(str(options.csv), markup=False, soft_wrap=True)


def _csv_rows(history: History) -> Iterator[tuple[object, ...]]:
    from reports.page.series import FIGURES, read_series
    from reports.table.spreadsheet import plain_cell

    for series in read_series(history, history.runs()):
        for metric in FIGURES:
            for point in series.points(metric):
                run = point.run
                where = (run.id, run.measured or run.appended, run.branch, run.commit, run.machine)
                named = map(plain_cell, (*where, series.label, series.setting, metric))
                yield (*named, point.value, point.low, point.high)


def _prune(history: History, options: argparse.Namespace, console: Console) -> None:
    runs = prunable(history.runs(), options.keep, options.before, last_good=options.force)
    if runs:
        console.print(_table(runs))
    if not options.dry_run:
        history.delete(runs)
    verb = "would be removed" if options.dry_run else "removed"
    console.print(f"{len(runs)} run{'s' if len(runs) != 1 else ''} {verb}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
