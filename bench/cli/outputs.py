"""What a command writes: its folder is made, locked and probed before anything is measured, its report comes after.

After measuring nothing but the verdict may change the exit status. So whatever fails here is named in a line.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.files.folder_lock import MEASURING, REPORTING, locked
from bench.files.paths import expanded
from bench.schema.gate_report import GATE_FILE, GateReport, write_report
from reports.parts import Parts

if TYPE_CHECKING:
    from rich.console import Console

    from bench.jobs.job import ComposedJob


@contextlib.contextmanager
def output_folder(jobs: Sequence[ComposedJob], command: str, say: Callable[[str], None]) -> Iterator[Path]:
    """Give the folder for the results, ``out=`` or a new one under ``runs/``, and hold its lock.

    A folder that is made for nothing is removed at the end.

    command: what the user typed, for another command that finds the folder in use
    say: prints a line for a person

    Raises:
        UserError: the folder cannot be written; or another command holds the lock, and ``wait=false``.
    """
    config = jobs[0].config
    with contextlib.ExitStack() as stack:
        if config.out:
            folder = expanded(config.out, "out")
        else:
            folder = stack.enter_context(_new_folder(Path("runs", f"{config.study or 'run'}-{_now()}")))
        stack.enter_context(locked(folder, MEASURING, say, wait=config.wait, command=command))
        yield folder


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that nobody else has made: of this name, or with a number behind it."""
    for number in itertools.count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); give out=DIR") from error
    try:
        yield folder
    finally:
        for empty in (folder, folder.parent):
            with contextlib.suppress(OSError):
                empty.rmdir()


def _now() -> str:
    return f"{datetime.now():%Y-%m-%d-%H%M%S}"


def check_history(history: str | None) -> None:
    """Raise a UserError where ``history=`` names no history, or one that cannot be written, before hours are spent."""
    if history is None:
        return
    from bench.history.store import History

    kept = History(expanded(history, "history"))
    kept.check()
    probe = kept.path.with_name(f".{kept.path.name}.writable-{os.getpid()}")
    try:
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()  # SQLite writes a journal beside the history
        probe.unlink()
        if kept.path.exists():
            with open(kept.path, "r+b"):
                pass
    except OSError as error:
        raise UserError(f"history={history}: cannot be written ({error.strerror}); give a path that can") from error


def report(results: Path, out: Path, console: Console, verdicts: GateReport | None = None) -> None:
    """Write the report of every result under ``results`` into ``out``, and show its table.

    In GitHub's CI its answers stand on the job's page, too.

    verdicts: what a gate found; it is written too, with the files that CI reads
    """
    import reports
    from reports.ci.files import write_all
    from reports.ci.step_summary import append_answers

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    with Parts() as parts, contextlib.ExitStack() as stack:
        parts.run("its lock", stack.enter_context, locked(out, REPORTING, say))
        judged = parts.run(GATE_FILE, _write_verdicts, verdicts, out) if verdicts else None
        page = parts.run("the report", reports.build, [results], out, judged)
        parts.run("its table", lambda: console.print(reports.terminal_table(results), crop=False))
        if page:
            say(f"report: {page}")
        if verdicts:
            parts.run("what CI reads", write_all, verdicts, results, out)
        if page:
            append_answers([results])


def _write_verdicts(verdicts: GateReport, out: Path) -> Path:
    write_report(verdicts, out / GATE_FILE)
    return out / GATE_FILE


def keep(history: str | None, results: Path, console: Console, gate: GateReport | None = None) -> None:
    """Append the results of this run to the history that ``history=`` names, if any."""
    if history is None:
        return
    with Parts("what is kept") as parts:
        for line in parts.run(f"history={history}", _append, history, results, gate) or ():
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _append(history: str, results: Path, gate: GateReport | None) -> list[str]:
    from bench.device.origin import find_origin
    from bench.history.commits import of_one_commit
    from bench.history.store import History

    chosen = of_one_commit(results, find_origin())
    if not chosen.paths:
        return chosen.left_out
    # A gate judged all of the results together, so its verdict is not that of a part of them.
    appended = History(Path(history)).append(chosen.paths, chosen.origin, None if chosen.left_out else gate)
    return [f"history: {history}, run {appended.run.id}", *chosen.left_out, *appended.notes]
