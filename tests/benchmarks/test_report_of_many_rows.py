"""Measure the report of many rows, with fabricated results as large as real ones, without predictions.

python -m pytest tests/benchmarks/test_report_of_many_rows.py -m slow     10,000 rows, which take a GB of disk
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated_study import write_study
from peaks import printed_by

MOST_MEGABYTES_OF_PAGE = 8

REPORT = """
import contextlib, io, resource
from peaks import peak_megabytes
from reports.__main__ import main

with contextlib.redirect_stdout(io.StringIO()):
    status = main([{run!r}, "--out", {out!r}])
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(status, peak_megabytes(), used[1].ru_maxrss * 1024 / 1e6, *(one.ru_utime + one.ru_stime for one in used))
"""


@pytest.mark.parametrize(
    ("rows", "models", "most_seconds", "most_megabytes"),
    [
        pytest.param(300, 300, 55, 700, id="300 comparable rows: every two are compared"),
        pytest.param(1500, 250, 80, 700, id="1500 rows of several settings", marks=pytest.mark.slow),
        pytest.param(10_000, 250, 240, 1200, id="10000 rows", marks=(pytest.mark.slow, pytest.mark.timeout(1800))),
    ],
)
def test_the_report_of_many_rows(
    rows: int,
    models: int,
    most_seconds: float,
    most_megabytes: float,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Processor time of the command and of its drawing process together, which run side by side on two cores.

    The bounds are twice and more of what was measured, since CI's machines are slower.
    """
    run, out = write_study(tmp_path / "run", rows, models=models), tmp_path / "out"
    status, command, drawing, own, of_drawing = printed_by(REPORT.format(run=str(run), out=str(out)))
    page = (out / "comparison.html").stat().st_size / 1e6
    for name, value in (
        ("command_mb", command),
        ("drawing_mb", drawing),
        ("command_processor_s", own),
        ("drawing_processor_s", of_drawing),
        ("page_mb", page),
    ):
        record_property(name, float(f"{value:.4g}"))
    assert status == 0
    assert page < MOST_MEGABYTES_OF_PAGE
    assert max(command, drawing) < most_megabytes
    assert own + of_drawing < most_seconds
    assert len((out / "comparison.csv").read_text().splitlines()) == rows + 1
