"""A history: the results of every run with their commit, in one SQLite file to which many CI jobs may append.

    history = History(Path("history"))
    history.append(Path("runs/mine"), find_origin(), gate)
    baseline = history.checkout(history.find("main@latest"), folder)

The whole ``result.json`` is kept, raw samples included, so that a run of the history can be a baseline like any folder
of results. Runs are in the order in which they were appended, whatever the clocks of their machines say.
``python -m bench.cli.history`` is the command. This module imports no torch.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.errors import UserError
from bench.files.json_file import MOST_BYTES, read_file, write_atomically
from bench.files.paths import expanded
from bench.files.validation import check_types
from bench.history.file import CONTENTS, FILE_NAME, RESULTS, RUNS, HistoryFile
from bench.history.runs import FAILED, PASSED, Run, clock_notes, find_run, of_branch
from bench.schema.gate_report import GateReport
from bench.schema.result import Origin, Result, parse_result


@dataclass(frozen=True)
class Appended:
    """What :meth:`History.append` has done.

    run: the run that now holds the results
    new: whether it was appended; False where it was there already, with the same results
    notes: sentences for the user
    """

    run: Run
    new: bool
    notes: list[str]


@dataclass(frozen=True)
class ArchivedResult:
    """One ``result.json`` of the history.

    job: the name of its folder
    packed: its bytes, compressed by zlib
    sha256: the digest of its bytes
    """

    job: str
    packed: bytes
    sha256: str

    @classmethod
    def of(cls, job: str, content: bytes) -> ArchivedResult:
        """Pack the bytes of a ``result.json``."""
        return cls(job, zlib.compress(content), hashlib.sha256(content).hexdigest())

    def unpack(self) -> bytes:
        """Give the bytes as they were appended.

        Raises:
            UserError: what the history holds is something else: damaged, changed, or more than
                :data:`bench.files.json_file.MOST_BYTES`, to which it is not unpacked.
        """
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(self.packed, MOST_BYTES)
        except (zlib.error, TypeError) as error:
            raise UserError(f"history, {self.job}: damaged ({error})") from error
        if len(content) == MOST_BYTES:
            raise UserError(f"history, {self.job}: has {MOST_BYTES >> 20} MiB or more, which no result has")
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise UserError(f"history, {self.job}: damaged: it is not what was appended")
        return content

    def parse(self) -> Result:
        """Parse the result.

        Raises:
            UserError: it is damaged, or of another schema version.
        """
        return parse_result(self.unpack(), f"history, {self.job}")


class History:
    """The history at ``path``: a file, or a folder that holds ``history.sqlite``.

    A path that does not exist yet is a file where its name has a suffix, else a folder; the first :meth:`append` makes
    it.
    """

    def __init__(self, path: Path) -> None:
        path = expanded(path, "history")
        folder = path.is_dir() or (not path.exists() and not path.suffix)
        self.path = path / FILE_NAME if folder else path
        self._file = HistoryFile(self.path)
        self._warned: set[str] = set()

    def check(self) -> None:
        """See whether results could be appended: to a history, an empty file, or where there is no file yet.

        Raises:
            UserError: the file is something else.
        """
        self._file.check()

    def append(self, results: Path | Sequence[Path], origin: Origin, gate: GateReport | None = None) -> Appended:
        """Append the results of one run: all of them, or none where this process is killed.

        The same results of the same commit are not appended twice; the outcome of a gate is then written into the run
        that is there.

        Args:
            results: the folder of a run, or ``result.json`` files, each in a folder with the name of its job

        Raises:
            UserError: there is no result, one cannot be read, two are of one job, or the history cannot be used.
        """
        archived = [_read(path) for path in _files(results)]
        if doubled := {job for job, times in Counter(one.job for one in archived).items() if times > 1}:
            raise UserError(f"two results of the job {min(doubled)}; append one run at a time")
        parsed = [one.parse() for one in archived]
        outcome = None if gate is None else PASSED if gate.passed else FAILED
        digest = hashlib.sha256("".join(f"{one.job} {one.sha256}\n" for one in archived).encode()).hexdigest()
        with self._file.writing(create=True) as connection:
            same = sa.and_(RUNS.c.digest == digest, RUNS.c.commit.is_not_distinct_from(origin.commit))
            earlier = connection.execute(sa.select(RUNS.c.id).where(same)).scalar()
            if earlier is None:
                row = _row(parsed, origin) | {"digest": digest, "gate": outcome}
                number = _insert(connection, row, archived, parsed)
            else:
                number = int(earlier)
                if outcome is not None:
                    connection.execute(sa.update(RUNS).where(RUNS.c.id == number).values(gate=outcome))
            run, before = _last_two(self._sound(_runs(connection, RUNS.c.id <= number)))
        if earlier is not None:
            return Appended(run, False, [f"the same results of the same commit are run {number} of it already"])
        return Appended(run, True, clock_notes(run, before))

    def runs(self, branch: str | None = None) -> list[Run]:
        """Return all runs, or those of a branch, in the order of appending.

        A run whose row is damaged is left out, with a line on stderr.

        Raises:
            UserError: there is no such history, or no run of that branch.
        """
        with self._file.reading() as connection:
            runs = self._sound(_runs(connection))
        return runs if branch is None else of_branch(runs, branch, str(self.path))

    def find(self, name: str) -> Run:
        """Return the newest run of a name.

        ``latest`` is the newest of all, ``last-good`` the newest that passed its gate. ``BRANCH@latest``,
        ``BRANCH@last-good`` and ``BRANCH@COMMIT`` (its first digits) are those of a branch, ``@COMMIT`` of any branch.

        Raises:
            UserError: there is no such run; the message names the nearest names.
        """
        return find_run(self.runs(), name, str(self.path))

    def results(self, run: Run) -> list[ArchivedResult]:
        """Return the results of a run, sorted by the names of their jobs. None is unpacked yet."""
        query = (
            sa.select(RESULTS.c.job, CONTENTS.c.zlib, RESULTS.c.sha256)
            .join_from(RESULTS, CONTENTS)
            .where(RESULTS.c.run == run.id)
            .order_by(RESULTS.c.job)
        )
        with self._file.reading() as connection:
            return [ArchivedResult(str(job), packed, sha) for job, packed, sha in connection.execute(query)]

    def whole(self, run: Run) -> list[ArchivedResult]:
        """Return the results of a run, as :meth:`results`, for who needs all of them.

        Raises:
            UserError: one of them is damaged.
        """
        results = self.results(run)
        for one in results:
            try:
                one.unpack()
            except UserError as error:
                raise UserError(f"{self.path}: run {run.id}: {error}; name another run") from error
        return results

    def checkout(self, run: Run, folder: Path) -> Path:
        """Write every ``jobs/<job>/result.json`` of a run into ``folder``, and return the folder.

        Raises:
            UserError: the folder holds results already, or a result of the run is damaged.
        """
        if next(folder.glob("jobs/*/result.json"), None):
            raise UserError(f"{folder}: holds results already; give a new folder")
        for one in self.whole(run):
            if Path(one.job).name != one.job:
                raise UserError(f"{self.path}: run {run.id} has a job named {one.job!r}, which is no name of a folder")
            write_atomically(folder / "jobs" / one.job / "result.json", one.unpack())
        return folder

    def delete(self, runs: Collection[Run]) -> None:
        """Remove runs with their results, and give their space back."""
        with self._file.writing() as connection:
            # One by one, since SQLite limits the length of a list.
            for run in runs:
                connection.execute(sa.delete(RUNS).where(RUNS.c.id == run.id))
            used = sa.select(RESULTS.c.sha256)
            connection.execute(sa.delete(CONTENTS).where(CONTENTS.c.sha256.not_in(used)))
        self._file.vacuum()

    def _sound(self, rows: Sequence[dict[str, Any]]) -> list[Run]:
        """Make the runs of the rows of the table; tell once of each row that is damaged, and leave it out."""
        runs = []
        for row in rows:
            try:
                check_types(Run, row)
                run = Run(**row)
                run.check()
                runs.append(run)
            except ValueError as error:
                line = f"warning: {self.path}: run {row['id']}: damaged: {error}; left out"
                if line not in self._warned:
                    print(line, file=sys.stderr)
                self._warned.add(line)
        return runs


def _files(results: Path | Sequence[Path]) -> list[Path]:
    if not isinstance(results, Path):
        return sorted(results, key=lambda path: path.parent.name)
    files = sorted(results.glob("jobs/*/result.json"))
    if not files:
        raise UserError(f"{results}: no jobs/*/result.json in it; give the out= folder of a run")
    return files


def _read(path: Path) -> ArchivedResult:
    content = read_file(path)
    parse_result(content, str(path))
    return ArchivedResult.of(path.resolve().parent.name, content)


def _row(results: Sequence[Result], origin: Origin) -> dict[str, Any]:
    """Return the row of a run in the table, without its digest and its gate."""
    machines = [result.machine for result in results if result.machine]
    own: dict[str, Any] = next((part for machine in machines if (part := machine.get("maskbench"))), {})
    started = sorted(time for result in results if (time := _utc(result.started)))
    return {
        "appended": _text(datetime.now(timezone.utc)),
        "measured": _text(started[-1]) if started else None,
        "commit": origin.commit,
        "branch": origin.branch,
        "machine": "; ".join(dict.fromkeys(_machine_text(machine) for machine in machines)),
        "maskbench": own.get("version"),
    }


def _insert(
    connection: sa.Connection, row: dict[str, Any], archived: Sequence[ArchivedResult], parsed: Sequence[Result]
) -> int:
    connection.execute(sa.insert(RUNS).values(row))
    number = int(connection.execute(sa.select(sa.func.max(RUNS.c.id))).scalar_one())
    for one, result in zip(archived, parsed, strict=True):
        content = {"sha256": one.sha256, "zlib": one.packed}
        connection.execute(sa.insert(CONTENTS).prefix_with("OR IGNORE").values(content))
        model = str((result.config.get("model") or {}).get("name", ""))
        values = {"run": number, "job": one.job, "model": model, "status": result.status, "sha256": one.sha256}
        connection.execute(sa.insert(RESULTS).values(values))
    return number


def _runs(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    """Give the rows of the runs, with the fields of :class:`Run`."""
    models: dict[int, list[str]] = {}
    for number, model in connection.execute(sa.select(RESULTS.c.run, RESULTS.c.model).order_by(RESULTS.c.job)):
        models.setdefault(number, []).append(str(model))
    rows = connection.execute(sa.select(RUNS).where(*conditions).order_by(RUNS.c.id)).mappings()
    return [
        # The keys of a row are of a class of SQLAlchemy's own.
        {str(key): row[key] for key in row if key != "digest"}
        | {"models": tuple(dict.fromkeys(models.get(row["id"], ())))}
        for row in rows
    ]


def _last_two(runs: Sequence[Run]) -> tuple[Run, Run | None]:
    return runs[-1], runs[-2] if len(runs) > 1 else None


def _machine_text(machine: dict[str, Any]) -> str:
    cpu, gpu = machine.get("cpu") or {}, machine.get("gpu") or {}
    cores = cpu.get("usable_cores")
    return ", ".join(str(part) for part in (gpu.get("name"), cpu.get("name"), cores and f"{cores} cores") if part)


def _utc(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc) if text else None
    except (ValueError, OverflowError):
        return None


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
