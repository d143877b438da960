"""Test the comparison of two runs of a study on literal results whose intervals have a closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from reports.table.comparison import load
from reports.text.again import answer, repeats

SPREAD = [9.0, 11.0, 9.0, 11.0]
"""Mean 10 ms, so 100 FPS. Half of Student's interval with 3 degrees of freedom: 3.182446 * sqrt(4/3) / 2 = 1.837386 ms,
so at most 1000 / (10 - 1.837386) = 122.510 FPS."""
SLOWER = [10.0, 12.0, 10.0, 12.0]
"""Mean 11 ms, 90.909 FPS, as wide: at most 1000 / (11 - 1.837386) = 109.139 FPS."""


@pytest.fixture
def runs(tmp_path: Path, make_result: Any, write_run: Any) -> tuple[Path, Path]:
    """Write two runs: a model repeats, one is slower, one is out of memory, one is only in the first run."""
    first = [
        make_result("A", model_ms=SPREAD),
        make_result("B", model_ms=SPREAD),
        make_result("C", model_ms=SPREAD),
        make_result("D", model_ms=SPREAD),
    ]
    lost = make_result("C", status="out_of_memory", reason="16 GiB", model_ms=None)
    second = [make_result("A", model_ms=SLOWER), make_result("B", model_ms=[20.0, 20.0, 20.0, 20.0]), lost]
    return write_run(tmp_path / "first", first), write_run(tmp_path / "second", second)


def test_differences_and_intervals(runs: tuple[Path, Path], tmp_path: Path) -> None:
    compared = repeats(*(load([run], tmp_path) for run in runs))
    same, slow = compared.rows
    assert (same.label, slow.label) == ("A R50-FPN · torchvision", "B R50-FPN · torchvision")
    assert (same.first, same.second) == pytest.approx((100.0, 90.909090909))
    assert same.difference == pytest.approx(-0.0909090909)
    # The root of 22.510^2 + (109.139 - 90.909)^2, of 100 FPS.
    assert same.interval == pytest.approx(0.28966, abs=1e-4)
    assert same.inside
    # Batches that all take 20 ms have an interval of no width.
    assert (slow.difference, slow.interval) == pytest.approx((-0.5, 0.22510), abs=1e-4)
    assert not slow.inside
    assert compared.share_inside == 0.5
    assert compared.left_out == [
        ("C R50-FPN · torchvision", "not timed in the second run: out_of_memory, 16 GiB"),
        ("D R50-FPN · torchvision", "only in the first run"),
    ]


def test_the_table_and_the_verdict(runs: tuple[Path, Path], tmp_path: Path) -> None:
    text = answer(repeats(*(load([run], tmp_path) for run in runs)))
    assert "| A R50-FPN · torchvision | 100.00 | 90.91 | -9.09 | ± 28.97 | yes |" in text
    assert "| B R50-FPN · torchvision | 100.00 | 50.00 | -50.00 | ± 22.51 | NO |" in text
    assert "- left out: C R50-FPN · torchvision: not timed in the second run: out\\_of\\_memory, 16 GiB" in text
    assert text.endswith(
        "1 of 2 rows (50 %) differ by no more than the intervals of the two runs allow; 95 % are wanted."
    )


def test_the_command(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first, second = runs
    assert main([str(first), "--again", str(second)]) == 1
    assert "1 of 2 rows (50 %)" in capsys.readouterr().out
    assert main([str(first), "--again", str(first)]) == 0
    assert "4 of 4 rows (100 %)" in capsys.readouterr().out
    assert main([str(first), "--again", str(tmp_path / "absent")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([str(first), "--again", str(second), "--best", "mask_ap"])
    assert ended.value.code == 2


def test_one_batch_has_no_interval_and_is_not_inside(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    runs = [write_run(tmp_path / name, [make_result("A", model_ms=[10.0])]) for name in ("one", "two")]
    [row] = repeats(*(load([run], tmp_path) for run in runs)).rows
    assert (row.difference, row.interval, row.inside) == (0.0, None, False)
