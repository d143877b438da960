"""Test what a command writes: probed and locked before it measures, and without a say in its exit status afterwards."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from pathlib import Path

import pytest
from literal_findings import gate_report
from literal_results import build_result
from rich.console import Console

from bench.cli import outputs
from bench.errors import UserError
from bench.jobs.job import ComposedJob
from bench.schema.config import BenchConfig
from bench.schema.result import write_result


def composed(**config: object) -> ComposedJob:
    return ComposedJob(BenchConfig(**config), {})  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_result(build_result("A"), tmp_path / "run" / "jobs" / "job" / "result.json")
    return tmp_path / "run"


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def fails(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outputs, "_now", lambda: "2026-11-22-130000")
    with contextlib.ExitStack() as both:
        jobs = [composed(study="demo")]
        folders = [both.enter_context(outputs.output_folder(jobs, "", print)) for _ in range(3)]
        names = [f"demo-2026-11-22-130000{number}" for number in ("", "-2", "-3")]
        assert [str(folder) for folder in folders] == [f"runs/{name}" for name in names]
        (folders[1] / "result").write_text("measured")
    assert [path.name for path in Path("runs").iterdir()] == [names[1]], "a folder that stays empty is removed"


def test_one_out_has_one_command_at_a_time(tmp_path: Path) -> None:
    jobs = [composed(out=str(tmp_path / "out"), wait=False)]
    with (
        outputs.output_folder(jobs, "maskbench model=a", print),
        pytest.raises(UserError, match=r"in use by process \d+ .*\(maskbench model=a\)"),
        outputs.output_folder(jobs, "", print),
    ):
        pass
    with outputs.output_folder(jobs, "", print) as out:
        assert out == tmp_path / "out"


def test_a_history_that_cannot_be_written_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"history=.*: cannot be written"):
        outputs.check_history(str(tmp_path / "file" / "history"))
    outputs.check_history(str(tmp_path / "new" / "history.sqlite"))
    assert list((tmp_path / "new").iterdir()) == [], "the probe is removed"

    def read_only(self: Path, *_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(UserError, match="Read-only file system"):
        outputs.check_history(str(tmp_path / "new"))


@pytest.mark.parametrize("part", ["reports.build", "reports.terminal_table", "reports.ci.files.write_all"])
def test_whatever_fails_after_measuring_is_a_line(
    part: str,
    run: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(part, fails)
    outputs.report(run, run, console, gate_report())
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: left out of the report: ")
    assert line.endswith(": No space left on device")
    assert (run / "gate.json").exists()
    assert (run / "junit.xml").exists() == (part != "reports.ci.files.write_all")


def test_a_history_that_fails_after_measuring_is_a_line(
    run: Path, console: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs.keep(None, run, console)
    outputs.keep(str(run / "history"), run, console)
    assert isinstance(console.file, io.StringIO)
    assert "run 1" in console.file.getvalue()
    monkeypatch.setattr("bench.history.store.History.append", fails)
    outputs.keep(str(run / "history"), run, console)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: left out of what is kept: history=")


def test_a_full_disk_ends_a_study_in_one_line(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.files import json_file
    from bench.jobs import study
    from bench.jobs.job import PlannedJob
    from bench.jobs.local import LocalLauncher
    from bench.jobs.run import Run

    planned = PlannedJob(BenchConfig(passes=["flops"]), {}, tmp_path / "jobs" / "job")
    monkeypatch.setattr(study, "plan", lambda *_, **__: [planned])
    monkeypatch.setattr(json_file.os, "fsync", fails)
    status = study.run_study([composed(passes=["flops"])], Run(tmp_path, [], "", LocalLauncher(), console))
    assert status == 1
    assert isinstance(console.file, io.StringIO)
    [_, line] = console.file.getvalue().splitlines()  # after that of a job that begins
    assert line.startswith(f"{tmp_path}/jobs/job/result.json: No space left on device; stopped. What was measured is")
    assert not list(tmp_path.rglob("*.json"))


def test_a_full_disk_in_a_worker_is_the_reason_of_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.files import json_file
    from bench.jobs.worker.failures import classify

    monkeypatch.setattr(json_file.os, "fsync", fails)
    with pytest.raises(OSError, match="No space left") as caught:
        json_file.write_text_atomically(tmp_path / "predictions.json", "[]")
    ended = classify(caught.value, "toy_models.Blobs", "worker.log")
    assert ended == ("failed", "predictions.json could not be written: No space left on device"), "and no path"
