"""Test the grammar of conditions: what it means, and that it holds nothing that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.schema import marks
from reports.table.best.input_sizes import NAME
from reports.table.condition import parse
from reports.table.limits import parse_limits

ROW = {"fps_model": 25.0, "mask_ap": 40.0, "batch_size": 1, "library": "mmdet", "peak_reserved_mb": None}


def met(text: str, **cells: Any) -> bool:
    return parse(text).met((ROW | cells).get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fps_model >= 25", True),
        ("fps_model > 25", False),
        ("20 <= fps_model < 25.5", True),
        ("fps_model > -1 and mask_ap == 40", True),
        ("library == 'mmdet' or fps_model > 100", True),
        ("'mmdet' != library", False),
        ("not library == 'mmdet'", False),
        ("not (fps_model < 20 or mask_ap < 30)", True),
        ("mask_ap > fps_model", True),
        ("batch_size == 1.0", True),
        ("fps_model >= 2_5", True),
        # What depends on an empty cell is not met, and its opposite is not either.
        ("peak_reserved_mb <= 2000", False),
        ("not peak_reserved_mb <= 2000", False),
        ("peak_reserved_mb <= 2000 or mask_ap == 40", True),
        ("not (peak_reserved_mb <= 2000 and mask_ap == 0)", True),
    ],
)
def test_meaning(text: str, expected: bool) -> None:
    assert met(text) is expected


def test_parts_and_columns() -> None:
    condition = parse(
        " fps_model > 1 and (mask_ap < 2 and library == 'x and y' or batch_size > 0) and not mask_ap > 3 "
    )
    assert [part.text for part in condition.parts] == [
        "fps_model > 1",
        "mask_ap < 2 and library == 'x and y' or batch_size > 0",
        "not mask_ap > 3",
    ]
    assert condition.columns == ["fps_model", "mask_ap", "library", "batch_size"]
    assert [part.text for part in parse("fps_model > 1 or mask_ap < 2").parts] == ["fps_model > 1 or mask_ap < 2"]


@pytest.mark.parametrize(
    "text",
    [
        "@pd.eval('1') > 0",
        "__import__('os').system('id') > 0",
        "fps_model.__class__ == 1",
        "library.str.contains('m')",
        "fps_model > (lambda: 1)()",
        "fps_model > [x for x in (1,)]",
        "fps_model > 9**9**9",
        "fps_model + 1 > 2",
        "fps_model in (1, 2)",
        "fps_model is 25",
        "(x := 1) > 0",
        "fps_model > True",
        "fps_model > 1e999",
        "fps_model > 1j",
        "f'{1}' == library",
        "library > 'a'",
        "library == 3",
        "fps_model > '3'",
        "fps_model",
        "1",
        "not fps_model",
        "fps_model > 1 and",
        "fps_model > 1; mask_ap",
        "(" * 5000 + "1" + ")" * 5000,
        "not " * 400 + "fps_model > 1" + " " * 2000 + "and mask_ap > 1",
        "fps_model > " + "9" * 1500 + "." + "9" * 600,
        "fps_model > 1\x00",
        "",
    ],
)
def test_everything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    said = str(caught.value)
    assert "as fps_model >= 20" in said or "at most 2000" in said or "words" in said


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(UserError, match="fps_modell: no such column; did you mean fps_model"):
        parse("fps_modell > 3")
    with pytest.raises(UserError, match=r"mmdet: no such column.*words stand in quotes"):
        parse("library == mmdet")


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf", "1e999"])
def test_a_limit_that_cannot_fail_or_cannot_hold_is_refused(bound: str) -> None:
    with pytest.raises(UserError, match="is no number"):
        parse_limits({"fps_model": f">= {bound}"})


@pytest.mark.parametrize(
    ("text", "unmarked", "disturbed", "both"),
    [
        ("marks != 'disturbed'", True, False, False),
        ("not marks == 'disturbed'", True, False, False),
        ("marks == 'disturbed'", False, True, True),
        ("marks == ''", True, False, False),
        ("marks != ''", False, True, True),
        ("marks != 'few samples' and 'disturbed' == marks", False, True, False),
    ],
)
def test_a_condition_on_marks_asks_for_one_of_them(text: str, unmarked: bool, disturbed: bool, both: bool) -> None:
    cells = (None, "disturbed", "disturbed, few samples")
    assert [met(text, marks=cell) for cell in cells] == [unmarked, disturbed, both]


@pytest.mark.parametrize("column", ["runtime", "input_size"])
def test_an_empty_cell_with_a_meaning_is_known_to_be_empty(column: str) -> None:
    assert met(f"{column} != 'other'", **{column: None})
    assert met(f"{column} == ''", **{column: None})
    assert not met(f"{column} != 'other'", **{column: "other"})


def test_an_unknown_mark_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"distrubed: no such mark; did you mean disturbed\?"):
        parse("mask_ap > 1 and marks != 'distrubed'")
    with pytest.raises(UserError, match=r"few sample: no such mark; did you mean few samples\?"):
        parse_limits({"marks": "!= few sample"})


def test_every_mark_has_its_name_in_the_list() -> None:
    source = Path(marks.__file__).read_text(encoding="utf-8")
    assert {*re.findall(r'yield Mark\(\s*"([^"]+)"', source), NAME} == set(marks.MARK_NAMES)
