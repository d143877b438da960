"""Test that a GitHub job's summary is as literally given, readable as Markdown, and cut to GitHub's limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from literal_findings import SLOWER, gate_report
from markdown_it import MarkdownIt

from bench.schema.gate_report import Finding, GateReport
from reports.ci.job_summary import LEGEND, append_to_github_summary, job_summary
from reports.ci.step_summary import LIMIT_BYTES

EXPECTED = r"""## ❌ 1 of 3 comparisons worse: solov2\_r50\_mmdet fps\_model

runs/ci against main (0123456789); 12 rounds a side; alpha 0.05 over all tests of the gate; what is ambiguous passes.

| Model | status | fps\_model | mask\_ap | peak\_allocated\_mb |
| --- | --- | --- | --- | --- |
| solov2\_r50\_mmdet | `=` | `-`&nbsp;**-5.20&nbsp;%**<br>\[-5.90,&nbsp;-4.60\] |  |  |
| mask\_rcnn\_r50\_torchvision |  |  | `~`&nbsp;-0.1&nbsp;points<br>\[-0.25,&nbsp;+0.05\] | `+`&nbsp;-10.00&nbsp;% |
| mask\_rcnn\_r50\_detectron2 | `!` |  |  |  |

LEGEND

### Worse

- solov2\_r50\_mmdet: fps\_model fell by 5.20 % \[4.60, 5.90\], from 21.3 to 20.19 images/s; threshold -2%

### Ambiguous

- mask\_rcnn\_r50\_torchvision: mask\_ap fell by 0.10 points \[-0.05, 0.25\]

### Not comparable

- mask\_rcnn\_r50\_detectron2: skipped in the head: detectron2 is not installed in \<python\> & so on""".replace(
    "LEGEND", LEGEND
)


def test_literal() -> None:
    text = job_summary(gate_report())
    assert text.startswith(EXPECTED.replace("LEGEND", LEGEND))
    details = text[text.index("<details>") :]
    assert (
        "| solov2\\_r50\\_mmdet | fps\\_model | 21.3 | 20.19 | images/s | -5.20 % | \\[-5.90, -4.60\\] | 0.0015 | -2% "
        "| worse |\n" in details
    )
    assert "1 MiB" not in text
    assert job_summary(replace(gate_report(), passed=True)).startswith("## ✅ ")


def test_a_markdown_reader_sees_the_table() -> None:
    """Every cell arrives whole, with its brackets and underscores."""
    html = MarkdownIt("gfm-like", {"linkify": False}).render(job_summary(gate_report()))
    assert html.startswith("<h2>❌ 1 of 3 comparisons worse: solov2_r50_mmdet fps_model</h2>")
    assert "<td><code>-</code>\u00a0<strong>-5.20\u00a0%</strong><br>[-5.90,\u00a0-4.60]</td>" in html
    assert "installed in &lt;python&gt; &amp; so on" in html
    assert html.count("<table>") == 2


def _many(models: int, metrics: int, verdict: str = "same", sentence: str = "as before") -> GateReport:
    findings = [
        replace(SLOWER, model=f"model_{m}", metric=f"metric_{k}", verdict=verdict, sentence=sentence)
        for m in range(models)
        for k in range(metrics)
    ]
    return replace(gate_report(), findings=[SLOWER, *findings])


def test_a_hundred_models_with_twelve_metrics_fit() -> None:
    """Every cell has a finding with a sentence of the longest kind."""
    sentence = SLOWER.sentence + " (bootstrap over 12 pairs of rounds, Holm over 1,200 tests)" * 3
    text = job_summary(_many(100, 12, "ambiguous", sentence))
    assert len(text.encode()) <= LIMIT_BYTES
    assert text.count("\n| model\\_") == 100 + 1200
    assert text.count("(bootstrap") == 3600


def test_what_is_left_out_first() -> None:
    report = _many(100, 12)
    whole = job_summary(report)
    assert whole.count("| same |") == 1200
    without_same = job_summary(report, len(whole.encode()) - 1)
    assert without_same.endswith(
        "takes summaries up to 1 MiB, so this one leaves out the values of what is the same.\n"
    )
    assert "| same |" not in without_same
    assert "| worse |" in without_same
    without_values = job_summary(report, len(without_same.encode()) - 1)
    assert without_values.endswith("leaves out the values of base and head.\n")
    assert "<details>" not in without_values
    assert without_values.count("\n| model\\_") == 100
    cut = job_summary(report, 20_000)
    assert 19_000 < len(cut.encode()) <= 20_000
    assert cut.startswith("## ❌ ")
    assert cut.endswith("and the rest of the lines.\n")
    assert job_summary(report, 10) == ""


def test_added_to_the_file_that_github_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary"
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert append_to_github_summary(gate_report()) is None
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    assert append_to_github_summary(gate_report()) == file
    assert file.read_text(encoding="utf-8") == job_summary(gate_report())
    file.write_text("x" * (LIMIT_BYTES - 500))
    append_to_github_summary(gate_report())
    assert LIMIT_BYTES - 500 < file.stat().st_size <= LIMIT_BYTES


def test_a_change_without_findings() -> None:
    report = GateReport("main", "head", True, "nothing of 1 comparison is worse", [])
    assert "<details>" not in job_summary(report)
    odd = Finding("a|b", "j", "fps_model", "same", "s", change=0.0)
    assert "| a\\|b | `=`&nbsp;+0.00&nbsp;% |" in job_summary(replace(report, findings=[odd]))
