"""Test the tables in Markdown, in LaTeX and for the terminal."""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import pytest
from rich.console import Console

import reports
from reports.__main__ import main
from reports.table.comparison import load
from reports.text import latex, markdown


@pytest.fixture
def run(tmp_path, make_result, write_run):
    results = [
        make_result("Mask R-CNN", mask_ap=0.40, model_ms=[100.0]),
        make_result("My_|*net*|", library="own<lib>", mask_ap=0.30, model_ms=[50.0]),
        make_result("SOLO", status="timeout", reason="not done after 3600 s"),
        make_result("PointRend", library="detectron2", status="skipped", reason="detectron2 is not installed"),
    ]
    return write_run(tmp_path / "run", results)


def test_markdown_table(run, tmp_path):
    comparison = load([run], tmp_path)
    markdown.write_markdown(comparison, tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text()
    header, rule, *rows = text.split("\n\n")[1].splitlines()
    pipes = [len(re.findall(r"(?<!\\)\|", line)) for line in (header, rule, *rows)]
    assert len(set(pipes)) == 1
    assert len(rows) == 3
    assert r"| **40.0 \[38.5, 41.5\]** |" in rows[0]
    assert r"My\_\|\*net\*\|" in rows[1]
    assert r"own\<lib\>" in rows[1]
    assert "| **20.00** |" in rows[1]
    assert "## Not finished\n\n- **SOLO R50-FPN · torchvision**: timeout: not done after 3600 s" in text
    assert "## Skipped\n\n- **PointRend R50-FPN · detectron2**: skipped: detectron2 is not installed" in text


def test_no_figure_without_its_conditions(run, tmp_path):
    markdown.write_markdown(load([run], tmp_path), tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text()
    for fact in (
        "AMD EPYC 9354, 16 of 32 cores, 16 torch threads, 128.0 GB host memory, NVIDIA H200, 150.0 GB, driver 580.65, "
        "power limit 500 W (default 700 W), Debian",
        "Python 3.11.9, torch 2.14.1",
        "commit 0123456789 with changes",
        "TF32 in matrix products off, TF32 in convolutions on",
        "CUDA events",
        "4 batches, until they took no less time",
        "3 rounds, interleaved, each in a process of its own; until the 95 % interval of the median latency",
        "images over the summed time",
        "427x640 to 640x480",
        "800x1088 to 800x1216",
        "12.0 (6 to 20)",
        "all 59",
        "fp32, batch size 1",
    ):
        assert markdown.escape(fact) in text, fact


def test_conditions_say_first_n_of_m(tmp_path, make_result, write_run):
    result = make_result(dataset={"limit": 2})
    result.accuracy.images_evaluated = 2
    markdown.write_markdown(load([write_run(tmp_path, [result])], tmp_path), tmp_path / "comparison.md")
    assert "first 2 of 59" in (tmp_path / "comparison.md").read_text()


def test_latex_escapes():
    assert latex.escape(r"a_b & 50% #1 {x} $y$ ~ ^ \z") == (
        r"a\_b \& 50\% \#1 \{x\} \$y\$ \textasciitilde{} \textasciicircum{} \textbackslash{}z"
    )
    assert latex.escape("SOLO · mmdet ≥ 日") == r"SOLO $\cdot$ mmdet $\geq$ ?"


def test_latex_table(run, tmp_path):
    latex.write_latex(load([run], tmp_path), tmp_path / "comparison.tex")
    text = (tmp_path / "comparison.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 3
    assert rows[0].startswith(r"Model & Backbone & Library & AP & AP$_{50}$")
    assert len({line.count(" & ") for line in rows}) == 1
    assert r"& \textbf{40.0} {\scriptsize [38.5, 41.5]} &" in rows[1]
    assert rows[2].startswith(r"My\_$|$*net*$|$ & R50-FPN & own$<$lib$>$ & 30.0 {\scriptsize [28.5, 31.5]} &")
    assert "% not in the table: SOLO R50-FPN · torchvision: timeout: not done after 3600 s" in text
    assert "device cuda:0, fp32, batch size 1" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(run, tmp_path):
    latex.write_latex(load([run], tmp_path), tmp_path / "comparison.tex")
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\usepackage{graphicx}"
        r"\begin{document}\input{comparison}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


def test_terminal_table_fits_and_says_why(run):
    output = io.StringIO()
    Console(file=output, width=120).print(reports.terminal_table(run))
    lines = output.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 120
    (row,) = [line for line in lines if line.startswith("Mask R-CNN R50-FPN")]
    assert "40.0 ± 1.5*" in row
    assert "10.00 " in row
    assert any("SOLO R50-FPN · torchvision: timeout: not done after 3600 s" in line for line in lines)
    assert any("PointRend R50-FPN · detectron2: skipped: detectron2 is not installed" in line for line in lines)


def test_command_writes_every_file(run, tmp_path, capsys):
    assert main([str(run), "--out", str(tmp_path / "report")]) == 0
    for kind in ("md", "csv", "tex", "html", "json"):
        assert (tmp_path / "report" / f"comparison.{kind}").stat().st_size > 0
    assert str(tmp_path / "report" / "comparison.html") in capsys.readouterr().out


def test_command_tells_a_mistake_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "absent")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "absent" in error


def test_an_out_that_cannot_be_written(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(run), "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
