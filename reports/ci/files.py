"""Write every file that CI reads, from a gate's findings and the results that it judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.errors import UserError
from bench.files.json_file import write_text_atomically
from bench.schema.gate_report import GateReport
from bench.schema.row import Row, read_rows
from reports.ci.action_benchmark import write_action_benchmark
from reports.ci.job_summary import append_to_github_summary, job_summary
from reports.ci.junit import write_junit
from reports.ci.pytest_benchmark import write_pytest_benchmark
from reports.parts import Parts

T = TypeVar("T")


def write_all(report: GateReport | None, results: Path, out: Path, *, warn: bool = True) -> list[Path]:
    """Write the files into ``out``, give their paths, and add the summary to ``$GITHUB_STEP_SUMMARY``.

    The files are ``junit.xml``, ``summary.md``, ``bigger_is_better.json``, ``smaller_is_better.json`` and
    ``pytest_benchmark.json``.

    report: the findings of a gate; with None only the last three files are written
    results: the folder of the results that were judged, those of the head
    warn: tell on stderr of results that cannot be read; False where the gate has told already

    A file that cannot be written is left out, with a line on stderr.

    Raises:
        UserError: there is no such folder, no result in it can be read, or ``out`` cannot be made.
    """
    rows = rows_of([results], warn=warn)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: what CI reads cannot be written: {error}") from error
    with Parts("what CI reads") as parts:
        written: list[Path | None] = []
        if report is not None:
            written.append(parts.run("junit.xml", _written, out / "junit.xml", write_junit, report))
            written.append(parts.run("summary.md", _written, out / "summary.md", _write_summary, report))
            parts.run("$GITHUB_STEP_SUMMARY", append_to_github_summary, report)
        written += parts.run("what github-action-benchmark reads", write_action_benchmark, rows, out) or []
        path = out / "pytest_benchmark.json"
        written.append(parts.run(path.name, _written, path, write_pytest_benchmark, rows))
    return [path for path in written if path is not None]


def _written(path: Path, write: Callable[[T, Path], None], content: T) -> Path:
    write(content, path)
    return path


def _write_summary(report: GateReport, path: Path) -> None:
    write_text_atomically(path, job_summary(report))


def rows_of(sources: Sequence[Path], *, warn: bool = True) -> list[Row]:
    """Read every result in the folders, in the order of their paths, without those that cannot be read.

    A line on stderr tells of each of these if ``warn``.

    Raises:
        UserError: a folder does not exist, or no result in them can be read.
    """
    from reports.table.comparison import find_results

    paths, places = find_results(sources), ", ".join(str(source) for source in sources)
    return read_rows([path.resolve() for path in paths], places, "left out of what CI reads" if warn else None)
