"""Test that a figure is printed with enough decimals for what is said of it."""

from __future__ import annotations

import pytest

from bench.schema.words import figure_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(22.0, "22"), (79.6, "79.6"), (79.96, "79.96"), (79.4, "79"), (80.0, "80"), (80.4, "80"), (79.999, "79.999")],
)
def test_the_text_is_on_the_same_side_of_80(value: float, text: str) -> None:
    assert figure_text(value, 0, lambda figure: figure < 80) == text


def test_a_difference_that_no_decimals_show_is_printed_whole() -> None:
    assert figure_text(0.30000000000000004, 1, lambda figure: figure == 0.3) == "0.30000000000000004"
