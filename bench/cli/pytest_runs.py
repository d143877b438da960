"""What the ``maskbench`` fixture does: run the command once for equal arguments, hold its figures against limits."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from bench.errors import UserError
from bench.schema.json_file import write_text_atomically

if TYPE_CHECKING:
    from reports.table.comparison import Comparison

COMMAND = Path(__file__).resolve().parents[2] / "run_bench.py"
"""Beside the ``bench`` package, in a checkout and where it is installed alike."""

_MARKER = "pytest_session.json"
_LOG = "command.log"
_LOG_LINES = 20
_STOP_SECONDS = 30


@dataclass
class Maskbench:
    """The fixture.

    root: holds a folder of results for each set of arguments
    device: for all checks that name none; session: what all workers of one pytest run share, new where None
    cwd: where the command runs, so that a user's own package can be imported
    folders: those of the results that were asked for so far
    """

    root: Path
    device: str | None = None
    session: str | None = None
    cwd: Path = field(default_factory=Path.cwd)
    folders: list[Path] = field(default_factory=list)
    _loaded: dict[Path, Comparison] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session = self.session or uuid.uuid4().hex

    def check(self, model: str, *overrides: str, **conditions: str) -> list[dict[str, Any]]:
        """Measure a model as ``python run_bench.py study=none model=MODEL OVERRIDES`` does, and fail the test unless
        every row keeps every condition.

        model: an option name, as ``solov2_r50_mmdet``; overrides: further arguments, as ``precision=fp16``
        conditions: columns of the comparison and what is asked of them, as ``fps_model=">= 20"``

        Equal arguments are measured once in a pytest run, whatever the number of its processes, and no two models at
        the same time. The test is skipped where the model's row is (its library is not installed). Gives the rows,
        columns by name, for whatever else a test may ask.
        """
        __tracebackhide__ = True
        from reports.table.limits import parse_limits

        refused = None
        try:
            limits = parse_limits(conditions)
            comparison = self.results(model, *overrides)
        except UserError as error:
            refused = f"maskbench: {error}"
        if refused:  # not within the except: pytest would print that exception too
            pytest.fail(refused, pytrace=False)
        failures, skipped = [], []
        for row, job in enumerate(comparison.rows):
            reason = comparison.text(row, "reason") or "no reason given"
            if job.result.status == "skipped":
                skipped.append(reason)
                continue
            broken = [text for limit in limits if (text := limit.broken(comparison, row))]
            if job.result.status != "ok":
                broken = [f"{job.result.status}: {reason}"]
            if broken:
                failures.append("\n".join([f"{comparison.labels[row]}:", *(f"  {b}" for b in broken), f"  {job.path}"]))
        if failures:
            pytest.fail("\n".join(failures), pytrace=False)
        if skipped:
            pytest.skip("; ".join(dict.fromkeys(skipped)))
        columns = [str(name) for name in comparison.frame]
        return [{name: comparison.cell(row, name) for name in columns} for row in range(len(comparison.rows))]

    def results(self, model: str, *overrides: str) -> Comparison:
        """The rows of these arguments, measured now or before in this pytest run.

        Raises:
            UserError: the command refused its arguments, died, or left no result.
        """
        from reports.table.comparison import load

        arguments = self._arguments(model, overrides)
        folder = self.root / _folder_name(model, arguments)
        if folder not in self._loaded:
            self._measure_once(arguments, folder)
            self._loaded[folder] = load([folder / "jobs"], folder)
            self.folders.append(folder / "jobs")
        return self._loaded[folder]

    def _arguments(self, model: str, overrides: Sequence[str]) -> list[str]:
        named = {override.lstrip("+").partition("=")[0] for override in overrides}
        if taken := named & {"out", "model"}:
            raise UserError(f"{sorted(taken)[0]}=: is given by check() itself; leave it out of the overrides")
        arguments = [] if "study" in named else ["study=none"]
        arguments.append(f"model={model}")
        if self.device and "device" not in named:
            arguments.append(f"device={self.device}")
        return [*arguments, *overrides]

    def _measure_once(self, arguments: Sequence[str], folder: Path) -> None:
        if (status := self._status(folder)) is None:
            with FileLock(measuring_lock()):
                # Another worker may have measured it while this one waited.
                if (status := self._status(folder)) is None:
                    status = self._measure(arguments, folder)
        if status not in (0, 1):
            raise UserError(_last_words(folder / _LOG, status))

    def _status(self, folder: Path) -> int | None:
        """How the command ended in this folder and this pytest run; None where it did not run or did not end."""
        marker = folder / _MARKER
        if not marker.exists():
            return None
        said = json.loads(marker.read_text(encoding="utf-8"))
        return said["status"] if said["session"] == self.session else None

    def _measure(self, arguments: Sequence[str], folder: Path) -> int:
        # What an earlier pytest run measured is of code that has changed since.
        if (folder / _MARKER).exists():
            shutil.rmtree(folder)
        elif folder.exists():
            raise UserError(f"{folder}: is in the way; delete it, or give another --maskbench-out")
        self._mark(folder, None)
        command = [sys.executable, str(COMMAND), *arguments, f"out={folder}"]
        with (folder / _LOG).open("w", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=self.cwd, stdout=log, stderr=subprocess.STDOUT)
            try:
                status = process.wait()
            except BaseException:
                # The command takes it as Ctrl-C and stops its worker, which holds the GPU.
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
                raise
        self._mark(folder, status)
        return status

    def _mark(self, folder: Path, status: int | None) -> None:
        write_text_atomically(folder / _MARKER, json.dumps({"session": self.session, "status": status}) + "\n")


def measuring_lock() -> str:
    """The file that a process of this user locks while it measures: no two models are timed at the same time, whatever
    the pytest run that asks for them."""
    return str(Path(tempfile.gettempdir()) / f"maskbench-measuring-{getuser()}.lock")


def _folder_name(model: str, arguments: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps(list(arguments)).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', model)[:60]}-{digest}"


def _last_words(log: Path, status: int) -> str:
    """The command's own line where it refused, else the end of what it said."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    refusals = [line.removeprefix("maskbench: ") for line in lines if line.startswith("maskbench: ")]
    if status == 2 and refusals:
        return refusals[-1]
    return f"run_bench.py ended with status {status} ({log}): " + " | ".join(lines[-_LOG_LINES:])
