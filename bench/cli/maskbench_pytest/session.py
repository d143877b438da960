"""The ``maskbench`` fixture: it runs the command once for equal arguments and checks its figures."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from .answers import COMMAND, RefusedError, ask

_MARKER = "pytest_session.json"
_LOG = "command.log"
_LOG_LINES = 20
_STOP_SECONDS = 30


@dataclass
class Maskbench:
    """The value of the fixture.

    root: the folder in which each set of arguments has a folder of results
    device: the device of every check that names none
    session: a name that all workers of one pytest session share; None makes a new one
    cwd: the folder in which the command runs, so that it can import a user's own package
    folders: the folders of the results that tests have asked for so far
    """

    root: Path
    device: str | None = None
    session: str | None = None
    cwd: Path = field(default_factory=Path.cwd)
    folders: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = self.session or uuid.uuid4().hex

    def check(self, model: str, *overrides: str, **conditions: str) -> list[dict[str, Any]]:
        """Measure a model as ``python run_bench.py study=none model=MODEL OVERRIDES`` does, and fail the test where a
        row violates a condition.

        model: an option name, as ``solov2_r50_mmdet``
        overrides: further arguments, as ``precision=fp16``
        conditions: columns of the comparison with a condition each, as ``fps_model=">= 20"``
        Gives the rows, each a mapping of columns to values, for further assertions of the test.

        Equal arguments are measured once in a pytest session, also with several processes, and two models never at the
        same time. Where a row keeps its limits of speed, GPU busy or energy, but has a mark that says that these mean
        little, such as ``disturbed``, a warning says so. The test is skipped where the row is skipped because the
        model's library is not installed.
        """
        __tracebackhide__ = True
        refused = None
        try:
            ask(conditions=conditions)
            folder = self._measured(model, overrides)
            rows = ask(conditions=conditions, folder=str(folder), session=self.session)["rows"]
            if folder / "jobs" not in self.folders:
                self.folders.append(folder / "jobs")
        except RefusedError as error:
            refused = f"maskbench: {error}"
        if refused:  # not within the except: pytest would print that exception too
            pytest.fail(refused, pytrace=False)
        failures = [text for row in rows if (text := _failure(row))]
        if failures:
            pytest.fail("\n".join(failures), pytrace=False)
        for row in rows:
            for doubt in row["doubts"]:
                warnings.warn(f"maskbench: {row['label']}: {doubt}", stacklevel=2)
        skipped = [row["reason"] for row in rows if row["status"] == "skipped"]
        if skipped:
            pytest.skip("; ".join(dict.fromkeys(skipped)))
        return [row["cells"] for row in rows]

    def _measured(self, model: str, overrides: Sequence[str]) -> Path:
        """Give the folder with the results of these arguments, measured now or earlier in this pytest session.

        Raises:
            RefusedError: the command refused its arguments, or died.
        """
        arguments = self._arguments(model, overrides)
        folder = self.root / _folder_name(model, arguments)
        self._measure_once(arguments, folder)
        return folder

    def _arguments(self, model: str, overrides: Sequence[str]) -> list[str]:
        named = {override.lstrip("+").partition("=")[0] for override in overrides}
        if taken := named & {"out", "model"}:
            raise RefusedError(f"{sorted(taken)[0]}=: is given by check() itself; leave it out of the overrides")
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
            raise RefusedError(_last_words(folder / _LOG, status))

    def _status(self, folder: Path) -> int | None:
        """Give the command's exit status in this folder and session; None where it did not run or did not end."""
        marker = folder / _MARKER
        if not marker.exists():
            return None
        content = json.loads(marker.read_text(encoding="utf-8"))
        return content["status"] if content["session"] == self.session else None

    def _measure(self, arguments: Sequence[str], folder: Path) -> int:
        # The code may have changed since an earlier pytest session measured.
        if (folder / _MARKER).exists():
            shutil.rmtree(folder)
        elif folder.exists():
            raise RefusedError(f"{folder}: is in the way; delete it, or give another --maskbench-out")
        self._mark(folder, None)
        command = [sys.executable, str(COMMAND), *arguments, f"out={folder}"]
        with (folder / _LOG).open("w", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=self.cwd, stdout=log, stderr=subprocess.STDOUT)
            try:
                status = process.wait()
            except BaseException:
                # On SIGTERM the command stops its worker, which holds the GPU.
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
                raise
        self._mark(folder, status)
        return status

    def _mark(self, folder: Path, status: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / f"{_MARKER}.{os.getpid()}"
        written.write_text(json.dumps({"session": self.session, "status": status}) + "\n", encoding="utf-8")
        written.replace(folder / _MARKER)  # atomically: another worker may read it now


def _failure(row: dict[str, Any]) -> str | None:
    """Give the text of the failed test for a row; None where the row has no violation or was skipped."""
    failures = row["violations"]
    if row["status"] == "skipped":
        return None
    if row["status"] != "ok":
        failures = [f"{row['status']}: {row['reason']}"]
    if not failures:
        return None
    return "\n".join([f"{row['label']}:", *(f"  {text}" for text in (*failures, *row["marks"])), f"  {row['path']}"])


def measuring_lock() -> str:
    """Give the file that a process of this user locks while it measures, so that no two models are timed at once, even
    by different pytest sessions."""
    return str(Path(tempfile.gettempdir()) / f"maskbench-measuring-{os.getuid()}.lock")


def _folder_name(model: str, arguments: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps(list(arguments)).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', model)[:60]}-{digest}"


def _last_words(log: Path, status: int) -> str:
    """Give the command's own line where it refused its arguments, else the end of its output."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    refusals = [line.removeprefix("maskbench: ") for line in lines if line.startswith("maskbench: ")]
    if status == 2 and refusals:
        return refusals[-1]
    return f"run_bench.py ended with status {status} ({log}): " + " | ".join(lines[-_LOG_LINES:])
