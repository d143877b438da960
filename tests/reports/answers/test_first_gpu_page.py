"""Test on the results of the first run on a GPU that the first screen tells what must not be taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from first_gpu_results import SOURCE, write_first_gpu_results

from reports.answers.sentences import answers
from reports.page.comparison_page import Pictures, write_html
from reports.table.comparison import load


@pytest.mark.skipif(not SOURCE.is_dir(), reason=f"no results in {SOURCE}")
def test_host_bound_rows_random_weights_and_the_failed_rows_are_told_first(tmp_path: Path) -> None:
    comparison = load([write_first_gpu_results(tmp_path)], tmp_path)
    [beware] = [answer.text for answer in answers(comparison) if answer.title == "Beware"]
    assert beware.startswith("2 rows failed; all rows are perhaps host-bound")
    assert "all rows have random weights and no mask AP" in beware
    [fastest] = [answer.text for answer in answers(comparison) if answer.title == "Fastest"]
    assert "29.55 FPS [28.12, 31.13]), not distinguishable from SOLO R50-FPN · mmdet · fp16" in fastest
    page = write_html(comparison, Pictures(), {}, tmp_path / "page.html").read_text(encoding="utf-8")
    first = page[page.index('id="answers"') : page.index('id="table"')]
    assert "NVIDIA H200, driver 580.159.04" in first
    assert re.search(r'href="#filter=host-bound%3F">all rows are perhaps host-bound', first)
    assert page.index('id="answers"') < page.index('id="main"')
