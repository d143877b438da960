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
NARROW, NEARLY = [9.9, 10.1, 9.9, 10.1], [10.0, 10.2, 10.0, 10.2]
"""A tenth as wide, 0.183739 ms: 100 FPS, at most 1000 / 9.816261 = 101.872; and 99.010 FPS, at most
1000 / 9.916261 = 100.844."""


@pytest.fixture
def runs(tmp_path: Path, make_result: Any, write_run: Any) -> tuple[Path, Path]:
    """Write two runs: A is timed badly, B is slower, E repeats, C is out of memory, D is only in the first run."""
    first = [
        make_result("A", model_ms=SPREAD),
        make_result("B", model_ms=SPREAD),
        make_result("E", model_ms=NARROW),
        make_result("C", model_ms=SPREAD),
        make_result("D", model_ms=SPREAD),
    ]
    lost = make_result("C", status="out_of_memory", reason="16 GiB", model_ms=None)
    slower = [make_result("A", model_ms=SLOWER), make_result("B", model_ms=[20.0, 20.0, 20.0, 20.0])]
    second = [*slower, make_result("E", model_ms=NEARLY), lost]
    return write_run(tmp_path / "first", first), write_run(tmp_path / "second", second)


def test_differences_and_intervals(runs: tuple[Path, Path], tmp_path: Path) -> None:
    compared = repeats(*(load([run], tmp_path) for run in runs))
    wide, slow, same = compared.rows
    assert [row.label[0] for row in compared.rows] == ["A", "B", "E"]
    assert (wide.first, wide.second) == pytest.approx((100.0, 90.909090909))
    assert wide.difference == pytest.approx(-0.0909090909)
    # The root of 22.510^2 + (109.139 - 90.909)^2, of 100 FPS: a model that is a quarter slower would be inside, too.
    assert wide.interval == pytest.approx(0.28966, abs=1e-4)
    assert wide.inside is None
    # The root of 1.872^2 + (100.844 - 99.010)^2, of 100 FPS.
    assert (same.difference, same.interval) == pytest.approx((-0.0099010, 0.026210), abs=1e-5)
    assert same.inside is True
    # Batches that all take 20 ms have an interval of no width.
    assert (slow.difference, slow.interval) == pytest.approx((-0.5, 0.22510), abs=1e-4)
    assert slow.inside is False, "what lies outside of a wide interval is known to differ"
    assert compared.share_inside == pytest.approx(1 / 3)
    assert compared.left_out == [
        ("C R50-FPN · torchvision", "not timed in the second run: out_of_memory, 16 GiB"),
        ("D R50-FPN · torchvision", "only in the first run"),
    ]


def test_the_table_and_the_verdict(runs: tuple[Path, Path], tmp_path: Path) -> None:
    text = answer(repeats(*(load([run], tmp_path) for run in runs)))
    assert "| A R50-FPN · torchvision | 100.00 | 90.91 | -9.09 | ± 28.97 | not known well enough |" in text
    assert "| B R50-FPN · torchvision | 100.00 | 50.00 | -50.00 | ± 22.51 | NO |" in text
    assert "| E R50-FPN · torchvision | 100.00 | 99.01 | -0.99 | ± 2.62 | yes |" in text
    assert "- left out: C R50-FPN · torchvision: not timed in the second run: out\\_of\\_memory, 16 GiB" in text
    assert text.endswith(
        "1 of 3 rows (33 %) differ by no more than the intervals of the two runs allow; 95 % are wanted. Of 1 that is "
        "not known well enough: their intervals are absent or wider than ± 10 %; time them for longer with "
        "protocol.min_samples, protocol.max_seconds or protocol.rounds."
    )


def test_the_command(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first, second = runs
    assert main([str(first), "--again", str(second)]) == 1
    assert "1 of 3 rows (33 %)" in capsys.readouterr().out
    assert main([str(first), "--again", str(first)]) == 1
    assert "1 of 5 rows (20 %)" in capsys.readouterr().out
    assert main([str(first / "jobs/job2"), "--again", str(second / "jobs/job2")]) == 0
    assert "1 of 1 rows (100 %)" in capsys.readouterr().out
    assert main([str(first), "--again", str(tmp_path / "absent")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([str(first), "--again", str(second), "--best", "mask_ap"])
    assert ended.value.code == 2


def test_one_batch_has_no_interval_and_is_not_inside(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    runs = [write_run(tmp_path / name, [make_result("A", model_ms=[10.0])]) for name in ("one", "two")]
    [row] = repeats(*(load([run], tmp_path) for run in runs)).rows
    assert (row.difference, row.interval, row.inside) == (0.0, None, None)


@pytest.mark.parametrize(
    ("samples", "interval", "inside"),
    [
        # Two batches: Student's t with one degree of freedom is 12.706, so FPS may be anything.
        ([9.0, 11.0], None, None),
        # Half of the interval is 3.182446 * 0.577350 / 2 = 0.918693 ms: at most 1000 / 9.081307 = 110.116 FPS; twice.
        ([9.5, 10.5, 9.5, 10.5], 0.143063, None),
        # 0.612462 ms: at most 1000 / 9.387538 = 106.524 FPS, and the root of twice 6.524^2 is 9.226.
        ([9.0 + 2 / 3, 10.0 + 1 / 3, 9.0 + 2 / 3, 10.0 + 1 / 3], 0.092264, True),
    ],
)
def test_equal_runs_agree_only_within_an_interval_that_says_something(
    tmp_path: Path, make_result: Any, write_run: Any, samples: list[float], interval: float | None, inside: bool | None
) -> None:
    """The FPS of both runs is the same to the last digit; ± 100 % would have been called the same."""
    runs = [write_run(tmp_path / name, [make_result("A", model_ms=samples)]) for name in ("one", "two")]
    compared = repeats(*(load([run], tmp_path) for run in runs))
    [row] = compared.rows
    assert row.difference == 0.0
    if interval is not None:
        assert row.interval == pytest.approx(interval, abs=1e-5)
    assert row.inside is inside
    assert compared.share_inside == (1.0 if inside else 0.0)
