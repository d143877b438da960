"""Test the table on real terminals of 60 to 120 columns, over rows with the names of the demo study."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result, with_replicates
from python_path import python_path
from rich.cells import cell_len

from reports.text.output import output_width

ROWS = (
    *(("PointRend", "R18/4-FPN64", "mmdet", 95.0), ("Mask R-CNN", "R18/4-FPN48", "onnxruntime", 34.2)),
    *(("Mask R-CNN", "R18/4-FPN48", "torchvision", 42.7), ("Mask2Former", "R18/4", "transformers", 50.0)),
    ("Conditional DETR", "CSPNeXt-tiny-long", "transformers", 1.3),
)
FPS = ("10.53", "29.24", "23.42", "20.00", "769.23")

PRINT = """
import fcntl, struct, sys, termios
from pathlib import Path
from rich.console import Console
import reports
from reports.text.output import output_width
for width in map(int, sys.argv[2:]):
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    print(f"== {width}", flush=True)
    Console(width=output_width()).print(reports.terminal_table(Path(sys.argv[1])), crop=False)
"""

WIDTHS = (40, 60, 80, 90, 120)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """Give the lines that a terminal of each width gets."""
    from bench.schema.result import write_result

    folder = tmp_path_factory.mktemp("run")
    rows: list[Any] = [build_result(*names, model_ms=[ms] * 40, mask_ap=0.5) for *names, ms in ROWS]
    rows = [with_replicates(row, [0.48, 0.5, 0.52] * 10, [0.4] * 30) for row in rows]
    rows.append(build_result("Mask R-CNN", "R50/4-FPN64", "detectron2", status="skipped", reason="not installed"))
    rows.append(build_result("PointRend", "R50/4-FPN64", "detectron2", status="crashed", reason="killed"))
    for number, row in enumerate(rows):
        write_result(row, folder / "jobs" / f"job{number}" / "result.json")
    text = on_a_terminal([sys.executable, "-c", PRINT, str(folder), *map(str, WIDTHS)])
    parts = re.split(r"^== (\d+)\n", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text), flags=re.MULTILINE)
    return {int(width): part.splitlines() for width, part in zip(parts[1::2], parts[2::2], strict=True)}


def on_a_terminal(command: list[str]) -> str:
    """Run a command whose stdout is a terminal; give what it writes there."""
    reading, writing = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm", "PYTHONPATH": python_path(Path(__file__).resolve().parents[3])}
    with subprocess.Popen(command, stdout=writing, stdin=writing, stderr=writing, env=environment) as process:
        os.close(writing)
        written = b""
        while True:
            try:
                data = os.read(reading, 65536)
            except OSError:  # Linux says so that the other end is closed
                break
            if not data:
                break
            written += data
    os.close(reading)
    assert process.returncode == 0, written.decode()
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("width", WIDTHS)
def test_names_states_and_figures_stay_whole(width: int, printed: dict[int, list[str]]) -> None:
    lines = printed[width]
    assert max(map(cell_len, lines)) <= width
    heads = next(number for number, line in enumerate(lines) if line.startswith("Model"))
    end = next(number for number, line in enumerate(lines) if line.startswith("left out") or line.startswith("*"))
    table = "\n".join(lines[heads + 1 : end])
    for family, backbone, library, _ in ROWS:
        for word in (*family.split(), backbone, library):
            assert re.search(rf"(?<!\S){re.escape(word)}(?!\S)", table), f"{word} is cut:\n{table}"
    for figure in FPS:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}\*?(?![\d.])", table), f"{figure} is cut:\n{table}"
    assert len(re.findall(r"50\.0 ± 1\.5", table)) == len(ROWS)
    for status in ("crashed", "skipped"):
        assert status in table


def test_what_a_narrow_terminal_leaves_out_is_said(printed: dict[int, list[str]]) -> None:
    told = {width: " ".join(" ".join(lines).split()) for width, lines in printed.items()}
    assert "left out, since the terminal is narrow: Host RSS, p95, Peak allocated" in told[80]
    assert "a row is ok where its name says nothing else" not in told[80]
    assert "a row is ok where its name says nothing else" in told[40]
    assert "Status" in told[80].split("left out")[0]


@pytest.mark.parametrize(("given", "width"), [("80", 80), ("", 120), ("wide", 120), ("0", 120)])
def test_a_pipe_has_the_width_that_columns_says(given: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", given)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert output_width() == width
