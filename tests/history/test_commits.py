"""Tests that a figure is filed under the commit at which it was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.cli.outputs import keep
from bench.history.commits import of_one_commit
from bench.history.store import History
from bench.schema.gate_report import GateReport
from bench.schema.parts.costs import MemoryResult
from bench.schema.result import Origin, Result, write_result

OLD, NEW = Origin("a" * 40, "main", False), Origin("b" * 40, "fix", False)
PASSED = GateReport("base", "head", True, "because", [])


def store(
    out: Path, name: str, origin: Origin | None, *, status: str = "ok", started: str = "2026-11-22T10:00"
) -> None:
    memory = MemoryResult(1, 1) if status == "ok" else None
    measured = Result(status, {"model": {"name": name}}, origin=origin, memory=memory, started=f"{started}:00+00:00")
    write_result(measured, out / "jobs" / name / "result.json")


def names(paths: list[Path]) -> list[str]:
    return [path.parent.name for path in paths]


def test_all_of_todays_commit(tmp_path: Path) -> None:
    store(tmp_path, "a", NEW)
    store(tmp_path, "b", NEW)
    store(tmp_path, "failed", OLD, status="failed")
    chosen = of_one_commit(tmp_path, NEW)
    assert (names(chosen.paths), chosen.origin, chosen.left_out) == (["a", "b", "failed"], NEW, [])


def test_what_was_measured_before_is_not_filed_under_todays_commit(tmp_path: Path) -> None:
    store(tmp_path, "a", OLD)
    store(tmp_path, "b", NEW)
    chosen = of_one_commit(tmp_path, NEW)
    assert (names(chosen.paths), chosen.origin) == (["b"], NEW)
    assert chosen.left_out == [
        "1 of the results was measured at commit aaaaaaaaaa and not at bbbbbbbbbb, so not filed under it"
    ]


def test_all_measured_before(tmp_path: Path) -> None:
    store(tmp_path, "a", OLD)
    store(tmp_path, "b", OLD)
    chosen = of_one_commit(tmp_path, NEW)
    assert (names(chosen.paths), chosen.origin, chosen.left_out) == (["a", "b"], OLD, [])


def test_the_command_files_under_the_commit_of_the_figures(tmp_path: Path) -> None:
    """A second command that measures nothing, at a newer commit, adds no run of that commit."""
    console, out, history = Console(record=True, width=200), tmp_path / "out", str(tmp_path / "h.sqlite")
    store(out, "a", OLD)
    keep(history, out, console, PASSED)
    [run] = History(Path(history)).runs()
    assert (run.commit, run.branch, run.gate) == (OLD.commit, "main", "passed")
    keep(history, out, console)
    assert len(History(Path(history)).runs()) == 1
    store(out, "b", NEW, started="2026-11-23T10:00")
    keep(history, out, console, PASSED)
    run = History(Path(history)).runs()[-1]
    assert (run.commit, run.models, run.gate) == (NEW.commit, ("b",), None)
    assert "measured at commit aaaaaaaaaa and not at bbbbbbbbbb" in console.export_text()


def test_figures_of_a_changed_working_tree_are_not_those_of_the_clean_commit(tmp_path: Path) -> None:
    """`@aaaa` was code that the commit never had, where the newest run of it was measured with changes."""
    history, clean, changed = History(tmp_path / "h.sqlite"), tmp_path / "clean", tmp_path / "changed"
    store(clean, "a", OLD)
    store(changed, "a", replace(OLD, changed=True), started="2026-11-23T10:00")
    for out in (clean, changed):
        chosen = of_one_commit(out, replace(OLD, changed=True))
        history.append(chosen.paths, chosen.origin)
    first, second = history.runs()
    assert (first.name, second.name) == ("main@aaaaaaaaaa", "main@aaaaaaaaaa-dirty")
    assert history.find("main@aaaa").id == first.id
    assert history.find("main@latest").id == second.id
