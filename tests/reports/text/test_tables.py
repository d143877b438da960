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
from reports.table.selection import answer
from reports.text import latex, markdown, terminal


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
    header, rule, *rows = text.split("\n\n")[3].splitlines()
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


@pytest.fixture
def noisy(tmp_path, make_result, write_run):
    """Two untrained rows and two trained ones, all with both figures that masks of noise spoil."""
    results = [
        make_result(
            "Fast", weights="random", mask_ap=None, model_ms=[10.0], stages_ms=(3.0, 20.0, 4.0), ends_ms=(2.0, 15.0)
        ),
        make_result(
            "Slow", weights="random", mask_ap=None, model_ms=[90.0], stages_ms=(3.0, 70.0, 4.0), ends_ms=(2.0, 37.0)
        ),
        make_result("Good", model_ms=[20.0], stages_ms=(3.0, 20.0, 4.0), ends_ms=(2.0, 5.0)),
        make_result("Better", model_ms=[30.0], stages_ms=(3.0, 30.0, 4.0), ends_ms=(2.0, 6.0)),
    ]
    return load([write_run(tmp_path / "run", results)], tmp_path)


def rows_of(comparison, family):
    [row] = [number for number, row in enumerate(comparison.rows) if row.setting("model", "family") == family]
    return row


def test_masks_of_noise_are_never_best_and_their_figures_are_kept(noisy):
    for family, column, best in (
        ("Fast", "fps_end_to_end", False),
        ("Fast", "encode_ms", False),
        ("Fast", "fps_model", True),
        ("Fast", "network_ms", True),
        ("Good", "fps_end_to_end", True),
        ("Good", "encode_ms", True),
    ):
        assert ((rows_of(noisy, family), column) in noisy.best) is best, (family, column)
    assert noisy.cell(rows_of(noisy, "Fast"), "encode_ms") == 15.0
    assert "encode_ms" in noisy.measured()


def test_one_trained_row_is_best_of_nothing_beside_noise(tmp_path, make_result, write_run):
    untrained = make_result("X", weights="random", mask_ap=None, ends_ms=(4.0, 90.0))
    comparison = load([write_run(tmp_path, [make_result(ends_ms=(4.0, 9.0)), untrained])], tmp_path)
    assert not any(column == "encode_ms" for _, column in comparison.best)


def test_masks_of_noise_in_markdown(noisy, tmp_path):
    markdown.write_markdown(noisy, tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text()
    lines = text.splitlines()
    fast, good = (next(line for line in lines if line.startswith(f"| {name} ")) for name in ("Fast", "Good"))
    assert "| *15.0* ‡ |" in fast
    assert "| **5.0** |" in good
    assert "‡" not in good
    assert "‡ FPS end-to-end and Encode, not to be compared: with random weights the masks are noise, whose RLE" in text
    conditions = next(line for line in text.splitlines() if line.startswith("- **Masks of noise:**"))
    assert "Fast" in conditions
    assert "Good" not in conditions


def test_masks_of_noise_in_latex_and_a_terminal(noisy, tmp_path):
    latex.write_latex(noisy, tmp_path / "comparison.tex")
    text = (tmp_path / "comparison.tex").read_text()
    fps = noisy.text(rows_of(noisy, "Fast"), "fps_end_to_end")
    assert rf"\textit{{{fps}}}" in text
    assert "in italics: FPS end-to-end, not to be compared" in text
    console = Console(width=160, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(terminal.terminal_table([tmp_path / "run"]))
    shown = console.file.getvalue()
    assert f"\x1b[2m({fps})\x1b[0m" in shown
    assert "in brackets: FPS end-to-end, not to be compared: with random weights" in " ".join(
        re.sub(r"\x1b\[\d*m", "", shown).split()
    )


def test_trained_rows_have_no_word_about_noise(run, tmp_path):
    comparison = load([run], tmp_path)
    markdown.write_markdown(comparison, tmp_path / "comparison.md")
    latex.write_latex(comparison, tmp_path / "comparison.tex")
    for name in ("comparison.md", "comparison.tex"):
        assert "with random weights the masks are noise" not in (tmp_path / name).read_text()


def test_no_row_whose_masks_are_noise_is_chosen(noisy, tmp_path):
    text, _ = answer(noisy, None, "encode_ms")
    best, _, fallen = text.partition("fell out:")
    assert "Fast" not in best
    assert "Good" in best
    assert "encode_ms 15.0: not to be compared: with random weights" in fallen
