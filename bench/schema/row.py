"""One result among others: a row of every table, of a report and of a gate alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.schema.facts import machine, untrained, weights_name, within
from bench.schema.result import PASSES, Result, read_result


@dataclass(frozen=True)
class Row:
    """One ``result.json``: its path, its content, and the path that a report prints (``shown``)."""

    path: Path
    result: Result
    shown: str = ""

    @property
    def job(self) -> str:
        """Give the name of the job's folder, which is spelled from the job's settings."""
        return self.path.parent.name

    @property
    def model(self) -> str:
        """Give the model's option name."""
        return str(self.setting("model", "name") or "model")

    @property
    def weights(self) -> str:
        """Give ``random``, ``zoo``, ``own``, ``fine-tuned`` or the path of a file."""
        return weights_name(self.result)

    @property
    def random_weights(self) -> bool:
        """Tell whether the model is untrained, so that its AP is noise."""
        return untrained(self.result)

    def setting(self, *keys: str, default: Any = None) -> Any:
        """Give a value of the job's configuration; ``default`` where it is absent or null."""
        value = within(self.result.config, keys)
        return default if value is None else value


def identity(job: str, result: Result) -> tuple[Any, ...] | None:
    """Give what two files share that tell of one measurement; None where a file does not say when it was made.

    job: the name of the job's folder
    """
    speed = result.speed
    began = speed.rounds[0].started if speed and speed.rounds else result.started
    if began is None or not result.measured:
        return None
    facts = (machine("cpu", "name")(result), machine("gpu", "name")(result))
    return job, began, *map(str, facts)


def same_measurement(one: Row, other: Row) -> bool:
    """Tell whether two rows are of one measurement and hold the same figures, as copies of a file do."""
    known = identity(one.job, one.result)
    if known is None or known != identity(other.job, other.result):
        return False
    return all(getattr(one.result, name) == getattr(other.result, name) for name in PASSES)


def each_once(rows: Sequence[Row], warn: bool) -> list[Row]:
    """Give the rows without those that are copies of one before them, each with a line on stderr if ``warn``."""
    found: list[Row] = []
    alike: dict[Any, list[Row]] = {}
    for row in rows:
        known = identity(row.job, row.result)
        others = alike.setdefault(known, []) if known is not None else []
        first = next((other for other in others if same_measurement(other, row)), None)
        if first is None:
            others.append(row)
            found.append(row)
        elif warn:
            print(f"warning: {row.path}: the same measurement as {first.path}; it counts once", file=sys.stderr)
    return found


def read_rows(
    paths: Sequence[Path], where: str, left_out: str | None, keep: Callable[[Result], Result] = lambda result: result
) -> list[Row]:
    """Read results, in the order of their paths, without those that cannot be read.

    where: the folders that they are in, for the message of the error
    left_out: what the line on stderr says of each that cannot be read, as ``left out of the report``; None is no line
    keep: gives what is kept of a result once it is read, since thousands of results are large

    Raises:
        UserError: none can be read.
    """
    rows: list[Row] = []
    problems: list[UserError] = []
    for path in paths:
        try:
            rows.append(Row(path, keep(read_result(path))))
        except UserError as error:
            problems.append(error)
    if len(paths) == len(problems) == 1:
        raise problems[0]
    for problem in problems if left_out else ():
        print(f"warning: {problem}; {left_out}", file=sys.stderr)
    if not rows:
        raise UserError(f"{where}: no readable result.json in it; give the out= folder of a finished run")
    return rows
