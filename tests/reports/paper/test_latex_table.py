"""Tests the table for a paper: what is in it, what is bold, what is refused, and that LaTeX takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from literal_results import build_result, with_few_samples, with_replicates

from bench.schema.result import Result
from reports.__main__ import main

WriteRun = Callable[[Path, Sequence[Result]], Path]

DOCUMENT = r"""
\documentclass{article}
\usepackage{booktabs}
\usepackage{siunitx}
\begin{document}
\input{table}
\end{document}
"""


def body(path: Path) -> list[list[str]]:
    """Give the cells of each row, without blanks at their ends; a rule between rows is one cell."""
    inside = path.read_text(encoding="utf-8").partition(r"\midrule" + "\n")[2].partition(r"\bottomrule")[0]
    return [[cell.strip() for cell in line.removesuffix(r" \\").split(" & ")] for line in inside.splitlines()]


def write(run: Path, *arguments: str) -> Path:
    path = run / "table.tex"
    assert main([str(run), "--latex", str(path), *arguments]) == 0
    return path


def test_the_columns_and_rows_that_were_asked_for_with_intervals_as_literal_numbers(
    tmp_path: Path, write_run: WriteRun
) -> None:
    rows = [build_result(mask_ap=0.372), build_result("SOLO", mask_ap=0.311), build_result("SOLOv2", mask_ap=0.25)]
    run = write_run(tmp_path, rows)
    columns = ("--columns", "model,mask_ap,parameters_m", "--rows", "mask_ap > 30")
    assert body(write(run, *columns)) == [
        ["Mask R-CNN", r"\bfseries 37.2", r"$\pm\,1.5$", "44.40"],
        ["SOLO", "31.1", r"$\pm\,1.5$", "44.40"],
    ]
    small = body(write(run, *columns, "--intervals", "small"))
    assert small[0][1:3] == [r"\bfseries 37.2", r"{\scriptsize [35.7, 38.7]}"]
    assert body(write(run, *columns, "--intervals", "none"))[1] == ["SOLO", "31.1", "44.40"]


def test_pm_is_the_further_end_of_an_interval_that_is_not_symmetric(tmp_path: Path, write_run: WriteRun) -> None:
    result = build_result(mask_ap=0.372)
    assert result.accuracy is not None
    result.accuracy.confidence_interval = [0.352, 0.382]
    path = write(write_run(tmp_path, [result]), "--columns", "model,mask_ap")
    assert body(path) == [["Mask R-CNN", "37.2", r"$\pm\,2.0$"]]
    assert "the distance to the further end" in path.read_text()


def test_the_best_is_that_of_the_rows_in_the_table(tmp_path: Path, write_run: WriteRun) -> None:
    rows = [build_result(name, mask_ap=ap) for name, ap in (("A", 0.5), ("B", 0.4), ("C", 0.3))]
    run = write_run(tmp_path, rows)
    assert body(write(run, "--columns", "model,mask_ap", "--rows", "model != 'A'", "--intervals", "none")) == [
        ["B", r"\bfseries 40.0"],
        ["C", "30.0"],
    ]


def test_what_cannot_be_told_from_the_best_is_bold_too_and_the_caption_says_so(
    tmp_path: Path, write_run: WriteRun
) -> None:
    rng = np.random.default_rng(0)
    near = [0.37 + rng.normal(0, 0.01, 200), 0.369 + rng.normal(0, 0.01, 200), 0.2 + rng.normal(0, 0.001, 200)]
    figures = (("A", 0.37), ("B", 0.369), ("C", 0.2))
    rows = [
        with_replicates(build_result(name, mask_ap=ap), values.tolist())
        for (name, ap), values in zip(figures, near, strict=True)
    ]
    path = write(write_run(tmp_path, rows), "--columns", "model,mask_ap", "--intervals", "none")
    assert body(path) == [["A", r"\bfseries 37.0"], ["B", r"\bfseries 36.9"], ["C", "20.0"]]
    assert "of mask AP also those not distinguishable from the best" in path.read_text()


def test_rows_that_are_not_comparable_are_divided_by_a_rule(tmp_path: Path, write_run: WriteRun) -> None:
    rows = [build_result("A"), build_result("B", mask_ap=0.3), build_result("A", precision="fp16", mask_ap=0.38)]
    run = write_run(tmp_path, rows)
    path = write(run, "--columns", "model,precision,mask_ap", "--intervals", "none")
    lines = body(path)
    assert lines.count([r"\midrule"]) == 1
    assert ["A", "fp16", "38.0"] in lines
    assert ["A", "fp32", r"\bfseries 37.2"] in lines
    assert "Rows that a rule divides are not comparable" in path.read_text()


def test_rows_that_would_look_alike_are_told_apart(tmp_path: Path, write_run: WriteRun) -> None:
    rows = [build_result("A", library="mmdet"), build_result("A", library="torchvision", mask_ap=0.3)]
    lines = body(write(write_run(tmp_path, rows), "--columns", "model,mask_ap", "--intervals", "none"))
    assert [line[0] for line in lines] == [r"A $\cdot$ mmdet", r"A $\cdot$ torchvision"]


def test_a_mark_of_a_row_stands_behind_its_name_and_in_the_caption(tmp_path: Path, write_run: WriteRun) -> None:
    rows = [build_result("A"), with_few_samples(build_result("B", mask_ap=0.3))]
    path = write(write_run(tmp_path, rows), "--columns", "model,mask_ap", "--intervals", "none")
    assert [line[0] for line in body(path)] == ["A", r"B$^{\dagger}$"]
    assert r" Rows bear marks: $^{\dagger}$ few samples" in path.read_text()


def test_what_was_not_measured_is_a_dash_and_failed_rows_are_not_in_it(tmp_path: Path, write_run: WriteRun) -> None:
    rows = [build_result("A"), build_result("B", weights="random", mask_ap=None), build_result("C", status="crashed")]
    lines = body(write(write_run(tmp_path, rows), "--columns", "model,mask_ap"))
    assert lines == [["A", "37.2", r"$\pm\,1.5$"], [r"\midrule"], [r"B$^{\dagger}$", "{--} &"]]
    assert not any("C" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--columns", "model,mask_app"], "--columns mask_app: no such column; did you mean mask_ap"),
        (["--rows", "fps_modell > 3"], "--rows fps_modell: no such column; did you mean fps_model"),
        (["--rows", "mask_ap > 99"], "--rows mask_ap > 99: no row meets it"),
        (["--rows", "mask_ap >"], "--rows 'mask_ap >': cannot be read"),
    ],
)
def test_a_wrong_column_or_condition_is_told_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, [build_result()])
    assert main([str(run), "--latex", str(run / "table.tex"), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not (run / "table.tex").exists()


def test_an_option_of_the_table_needs_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--columns", "model"])
    assert "--columns: of a table for a paper; give --latex FILE, too" in capsys.readouterr().err


@pytest.mark.parametrize("intervals", ["pm", "small", "none"])
def test_latex_takes_the_table(intervals: str, tmp_path: Path, write_run: WriteRun) -> None:
    """Compiled by pdfLaTeX; what the page shows is read back by the position of its words, where pdftotext is there."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex: install texlive-latex-base and texlive-science")
    if subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True, check=False).returncode:
        pytest.skip("LaTeX without siunitx: install texlive-science")
    rows = [build_result(r"50% A_B & \C {x} $#^~ é·[", mask_ap=0.372), build_result("[SOLO", mask_ap=0.311)]
    run = write_run(tmp_path, rows)
    path = write(run, "--intervals", intervals, "--caption", r"5 % of \LaTeX & $x_1$", "--label", r"tab:a}\x")
    assert r"\label{tab:ax}" in path.read_text()
    (run / "paper.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=run, capture_output=True, text=True, errors="replace", check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout
    if reader := shutil.which("pdftotext"):
        text = subprocess.run(
            [reader, "-layout", "paper.pdf", "-"], cwd=run, capture_output=True, text=True, check=True
        )
        [line] = [line for line in text.stdout.splitlines() if "[SOLO" in line]
        assert re.search(r"31\.1", line)
        assert ("1.5" in line) == (intervals == "pm")
        assert ("[29.6, 32.6]" in line) == (intervals == "small")
