"""Test that text of others is shown and does nothing: in a terminal, Markdown, HTML, LaTeX and a spreadsheet."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from literal_findings import gate_report
from literal_results import build_result
from rich.console import Console

import reports
from bench.cli.history import main as history_command
from bench.errors import UserError, visible
from bench.history.store import History
from bench.schema.result import Origin, Result, write_result
from reports.ci.job_summary import job_summary
from reports.page.render import _shown
from reports.table.spreadsheet import plain_cell
from reports.text import latex, markdown
from reports.text.gate_table import gate_table

BELL_AND_RED = "\x07\x1b[31m"


def on_terminal(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of rows whose names are commands to a terminal, a spreadsheet, LaTeX and Markdown."""
    run = tmp_path_factory.mktemp("escapes")
    names = ["=cmd|'/c calc'!A0", "@SUM(1)", "+1", "-1", "[10pt]", "*", f"Red{BELL_AND_RED}\x9b"]
    results = [build_result(name, mask_ap=0.1 * n) for n, name in enumerate(names, start=1)]
    results.append(build_result("B", status="crashed", reason=f"died {BELL_AND_RED}"))
    for number, result in enumerate(results):
        write_result(result, run / "jobs" / f"job{number}" / "result.json")
    reports.build([run], run)
    return run


def test_visible() -> None:
    assert visible("\x1b[2J\x07\x7f\x9b\u202e\ud800") == "\\x1b[2J\\x07\\x7f\\x9b\\u202e\\ud800"
    assert visible("größe\n\t→ ✗ 中") == "größe\n\t→ ✗ 中"
    assert str(UserError("a\x1b[31m\nb")) == "a\\x1b[31m b"


def test_no_control_character_reaches_a_file_or_the_terminal(report: Path) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in report.iterdir() if path.is_file()}
    assert set(texts) >= {"comparison.html", "comparison.md", "comparison.tex", "comparison.csv", "comparison.json"}
    texts["terminal"] = on_terminal(reports.terminal_table(report))
    for name, text in texts.items():
        assert not {char for char in text if ord(char) < 32 or ord(char) == 127} - {"\n", "\t"}, name
        assert "\x9b" not in text or name == "comparison.json", name
    assert "died \\x07\\x1b[31m" in texts["terminal"]
    assert "died \\x07\\x1b[31m" in texts["comparison.html"]


def test_a_spreadsheet_computes_nothing(report: Path) -> None:
    with open(report / "comparison.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    models = {row["model"] for row in rows}
    assert models >= {"'=cmd|'/c calc'!A0", "'@SUM(1)", "'+1", "'-1", "[10pt]", "*"}
    assert sorted(float(row["mask_ap"]) for row in rows if row["mask_ap"])[0] == pytest.approx(10.0)
    assert json.loads((report / "comparison.json").read_text())[0]["model"] != "'"
    assert [plain_cell(value) for value in ("-3", -3, "a-3", None, "\tx")] == ["'-3", -3, "a-3", None, "'\tx"]


def test_a_row_of_latex_begins_with_no_argument(report: Path) -> None:
    lines = (report / "comparison.tex").read_text().splitlines()
    rows = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert not [row for row in rows if row.startswith(("[", "*"))]
    assert [row[:6] for row in rows if row.startswith("{}")] in (["{}[10p", "{}* & "], ["{}* & ", "{}[10p"])


def test_markdown_and_latex_show_what_they_are_given() -> None:
    assert markdown.escape("`a` | $x$ & &amp; \x1b") == r"\`a\` \| \$x\$ & \&amp; \\x1b"
    assert latex.escape("\x1b") == r"\textbackslash{}x1b"


def test_a_gate_and_a_page() -> None:
    name = f"A{BELL_AND_RED}"
    named = [dataclasses.replace(finding, sentence=name, model=name) for finding in gate_report().findings]
    report = dataclasses.replace(gate_report(), findings=named)
    for text in (on_terminal(gate_table(report)), job_summary(report)):
        assert "\x1b" not in text
        assert "x1b" in text
    assert _shown("a\x1b") == "a\\x1b"
    assert _shown(3) == 3


def test_a_history(
    tmp_path: Path,
    make_result: Callable[..., Result],
    write_run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A branch, whose name whoever opens a pull request chooses, is shown as well and does nothing."""
    history = History(tmp_path / "history.sqlite")
    for number, branch in enumerate((f"a{BELL_AND_RED}", "=cmd|'/c calc'!A0", "[/red]")):
        run = write_run(tmp_path / str(number), [make_result("A", model_ms=[10.0 + number])])
        history.append(run, Origin(f"{number}" * 40, branch))
    assert history_command(["list", str(history.path)]) == 0
    listed = capsys.readouterr().out
    assert "\x1b" not in listed
    assert "\\x07\\x1b[31m" in listed
    assert "[/red]" in listed
    assert history_command(["export", str(history.path), "--csv", "-"]) == 0
    branches = {row["branch"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert branches == {"a\\x07\\x1b[31m", "'=cmd|'/c calc'!A0", "[/red]"}
