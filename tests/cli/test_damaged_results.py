"""A damaged result is left out of every command with one line; what is left of a run is reported and compared."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from damaged import damaged
from whole_result import whole_result

from bench.cli import gate, history
from bench.device.origin import Origin
from bench.errors import UserError
from bench.history.store import History
from bench.jobs.job import PlannedJob, passes_due, training_left
from bench.schema.config import BenchConfig, FinetuneConfig
from bench.schema.result import PASSES, read_result, write_result
from reports import __main__ as report
from reports.ci import __main__ as ci


@pytest.fixture(scope="module")
def damaged_files() -> list[str]:
    """84 damaged copies of a result in which everything was measured."""
    return [text for _, text in damaged(dataclasses.asdict(whole_result()), every=61)]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write_result(whole_result(), tmp_path / "good" / "jobs" / "job" / "result.json")
    return tmp_path / "good"


def _written(folder: Path, texts: Sequence[str]) -> Path:
    for number, text in enumerate(texts):
        job = folder / "jobs" / f"job-{number}"
        job.mkdir(parents=True)
        (job / "result.json").write_text(text)
    return folder


def _unreadable(folder: Path) -> int:
    count = 0
    for path in folder.glob("jobs/*/result.json"):
        try:
            read_result(path)
        except UserError:
            count += 1
    return count


def test_each_command_leaves_them_out(
    damaged_files: list[str], good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = _written(tmp_path / "mixed", damaged_files)
    write_result(whole_result(), mixed / "jobs" / "good" / "result.json")
    bad = _unreadable(mixed)
    assert 60 < bad < len(damaged_files) - 5
    commands = {
        "the report": lambda: report.main([str(mixed), "--out", str(tmp_path / "report")]),
        "what CI reads": lambda: ci.main([str(mixed), "--out", str(tmp_path / "ci")]),
        "the gate": lambda: gate.main([str(good), str(mixed), "--out", str(tmp_path / "gate")]),
    }
    for name, command in commands.items():
        # A gate of so many models may need more rounds than these results have, and says so.
        assert command() in ((0,) if name != "the gate" else (0, 2, 3)), name
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
        assert len(lines) == bad, name
        assert all(line.endswith(f"; left out of {name}") for line in lines)
    records = json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert len(records) == len(damaged_files) + 1 - bad


def test_nothing_but_damaged_files_is_wrong_input(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = str(_written(tmp_path / "two", ['{"schema_version": 1e999}', "{"]))
    one = str(_written(tmp_path / "one", ["{"]))
    for main, arguments in ((report.main, [two]), (ci.main, [two]), (gate.main, [str(good), two])):
        assert main(arguments) == 2
        assert "two: no readable result.json in it" in capsys.readouterr().err.splitlines()[-1]
    for main, arguments in ((report.main, [one]), (ci.main, [one]), (gate.main, [one, str(good)])):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "job-0/result.json: not JSON" in line


def test_the_same_command_again_reads_what_is_left(damaged_files: list[str], tmp_path: Path) -> None:
    """A configuration without ``passes`` ended it in a traceback."""
    job = PlannedJob(BenchConfig(finetune=FinetuneConfig()), {}, tmp_path / "job")
    without_passes = dataclasses.asdict(whole_result())
    without_passes["config"], without_passes["energy"] = {}, None
    (tmp_path / "job").mkdir()
    for text in [json.dumps(without_passes), *damaged_files]:
        job.result_path.write_text(text)
        with contextlib.suppress(UserError):
            assert set(passes_due(job, 1)) <= set(PASSES)
            assert training_left(job) in (True, False)


def test_a_history_of_damaged_results(
    damaged_files: list[str], good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h.sqlite"
    run = History(path).append(good, Origin("a" * 40, "main")).run.id
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for number, text in enumerate(damaged_files):
            digest = hashlib.sha256(text.encode()).hexdigest()
            connection.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (digest, zlib.compress(text.encode())))
            model = "mask_rcnn_r50_torchvision"
            connection.execute("INSERT INTO results VALUES (?, ?, ?, 'ok', ?)", (run, f"d{number}", model, digest))
        connection.commit()
    bad = _unreadable(_written(tmp_path / "files", damaged_files))
    for command in (["trend", str(path)], ["export", str(path), "--csv", str(tmp_path / "all.csv")]):
        assert history.main(command) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: run 1: history, d")]
        assert len(lines) == bad
    assert history.main(["list", str(path)]) == 0
    assert "│ aaaaaaaaaa │" in capsys.readouterr().out
