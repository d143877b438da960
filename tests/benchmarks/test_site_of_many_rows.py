"""Measure a site of many results, with fabricated ones as large as real ones.

python -m pytest tests/benchmarks/test_site_of_many_rows.py -m slow
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated_study import write_study

from reports.site.__main__ import main


@pytest.mark.slow
def test_a_thousand_results_are_a_site_within_a_minute(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    write_study(tmp_path / "runs" / "many", 1000)
    began = time.perf_counter()
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "public")]) == 0
    seconds = time.perf_counter() - began
    record_property("seconds", float(f"{seconds:.3g}"))
    assert seconds < 60
    assert (tmp_path / "public" / "index.html").stat().st_size < 1e6
