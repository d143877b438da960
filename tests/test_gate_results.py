"""Test that the tables of docs/results/gate are made from the comparisons beside them and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

GATE = Path(__file__).resolve().parent.parent / "docs" / "results" / "gate"


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_table", GATE / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_tables_say_what_the_comparisons_say(table: ModuleType) -> None:
    assert table.tables(table.read(GATE / "comparisons.csv")) == (GATE / "tables.md").read_text(encoding="utf-8")


def test_shares_changes_and_the_other_gates_of_four_comparisons(table: ModuleType) -> None:
    lines = []
    for number, (verdict, change, base, head) in enumerate(
        [
            ("same", "0.01", "100", "104"),
            ("worse", "-0.03", "100", "106"),  # 6 % more than its own base
            ("ambiguous", "-0.01", "98", "100"),
            ("same", "0.03", "98", "104"),  # 6.1 % more than its own, and than the base of the one before
        ]
    ):
        place = ("monday", "aa", f"{number:03d}")
        lines.append(table.Line(*place, "fps_model", verdict, "30", "30", change))
        lines.append(table.Line(*place, table.BATCH_MEAN, "", base, head))
    text = table.tables(lines)
    # Wilson's interval of 1 in 4: (1/4 + z²/8 ± z √(3/64 + z²/64)) / (1 + z²/4) with z = 1.96
    assert "| no fault | 4 | 25.0 % [4.6, 69.9] | 25.0 % [4.6, 69.9] | fps_model +0.00 % |" in text
    assert "| pytest-benchmark, mean:5% | of the same comparison | 50.0 % [15.0, 85.0] |  |  |  |" in text
    assert "| pytest-benchmark, mean:5% | of the comparison before | 66.7 % [20.8, 93.9] |  |  |  |" in text
    assert "| github-action-benchmark, alert-threshold 110 % | of the same comparison | 0.0 % [0.0, 49.0] |" in text


def test_a_comparison_is_not_compared_with_one_of_another_run(table: ModuleType) -> None:
    lines = [
        table.Line("monday", "aa", "000", table.BATCH_MEAN, "", "50", "50"),
        table.Line("tuesday", "aa", "000", table.BATCH_MEAN, "", "100", "100"),
        table.Line("tuesday", "aa", "001", table.BATCH_MEAN, "", "100", "100"),
    ]
    assert table.alarms(lines, lambda base, head: head > base, stored=True) == table.share(0, 1)
