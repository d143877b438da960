"""Tests that a run which was interrupted is no run of the history: it could be the baseline of later ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gate_cases import result

from bench.cli import outputs
from bench.cli import run as command
from bench.jobs import study
from bench.schema.result import write_result


@pytest.mark.parametrize(("status", "kept"), [(130, False), (0, True)])
def test_an_interrupted_run_is_not_appended(
    status: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_study(jobs: Any, run: Any) -> int:
        write_result(result(), run.out / "jobs" / "one" / "result.json")
        return status

    monkeypatch.setattr(study, "run_study", run_study)
    monkeypatch.setattr(outputs, "report", lambda *_: None)
    history = tmp_path / "history.sqlite"
    assert command.run(["study=none", f"out={tmp_path / 'out'}", f"history={history}"]) == status
    assert history.exists() == kept
    assert ("does not get this run, since it was interrupted" in capsys.readouterr().out.replace("\n", " ")) != kept
