"""Test in a browser that the page's filter and ``--where`` are one grammar, with the same answers and suggestions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from reports.page.controls import column_rules
from reports.table.columns import COLUMNS
from reports.table.condition import ALLOWED, DEEPEST, LONGEST, parse

GRAMMAR = Path(__file__).parents[3] / "reports/page/templates/grammar.js"

ROWS: list[dict[str, Any]] = [
    {"fps_model": 25.0, "mask_ap": 40.0, "batch_size": 1, "library": "mmdet", "peak_reserved_mb": None},
    {"fps_model": 3.78, "mask_ap": None, "batch_size": 4, "library": "it's", "peak_reserved_mb": 2000.0}
    | {"marks": "disturbed", "runtime": "onnxruntime CPU"},
    {"fps_model": None, "mask_ap": 37.2, "batch_size": 2, "library": None, "peak_reserved_mb": 1.5}
    | {"marks": "host-bound, disturbed"},
]
ENDS: list[dict[str, tuple[float, float]]] = [
    {"fps_model": (20.0, 31.0)},
    {"fps_model": (1.92, 128.34)},
    {"mask_ap": (35.7, 38.7)},
]

WRITTEN = [
    *("fps_model >= 25", "fps_model > 25", "20 <= fps_model < 25.5", "fps_model > -1 and mask_ap == 40"),
    *("library == 'mmdet' or fps_model > 100", "'mmdet' != library", "not library == 'mmdet'", "not (fps_model < 20)"),
    *("mask_ap > fps_model", "batch_size == 1.0", "fps_model >= 2_5", "peak_reserved_mb <= 2000", "fps_model >= 1e1"),
    *("not peak_reserved_mb <= 2000", "peak_reserved_mb <= 2000 or mask_ap == 40", "fps_model>=.5", "fps_model > - 5."),
    *("library == 'it\\'s'", 'library == "it\'s"', "((fps_model) >= (-(5)))", "1 < 2", "1 < 2 < mask_ap < 1e3"),
    *("not not fps_model > 3", "not fps_model > 3 and mask_ap > 1", "fps_model > 3 or mask_ap > 1 and batch_size == 7"),
    *("marks != 'disturbed'", "not marks == 'disturbed'", "marks == ''", "'host-bound' == marks", "marks == marks"),
    *("marks == library", "marks != 'few samples' and mask_ap > 1", "runtime != 'torch'", "runtime == ''"),
    # What neither takes.
    *("marks == 'distrubed'", "'few sample' != marks", "marks > 'disturbed'", "marks == 3", "marks == 'a, b'"),
    *("", "fps_model", "1", "not fps_model", "fps_model > 1 and", "fps_model > 1; mask_ap", "fps_model = 5", "a"),
    *(
        "fps_model in (1, 2)",
        "fps_model is 25",
        "fps_model + 1 > 2",
        "fps_model > True",
        "fps_model > 1e999",
        "-library",
    ),
    *("fps_model > 1j", "fps_model > 0x10", "f'a' == library", "'a' 'b' == library", "library > 'a'", "library == 3"),
    *(
        "fps_model > '3'",
        "fps_model > 007",
        "fps_model > 0_0",
        "fps_model > 1__0",
        "u'mmdet' == library",
        "fps_model >> 3",
    ),
    *(
        "fps_model > 3 > 'a'",
        "fps_modell > 3",
        "library == mmdet",
        "mask > 3",
        "FPS > 3",
        "latency_ms_p5 < 3",
        "xyz == 1",
    ),
    *(
        "fps_model >= 20 host_rss_mb < 8000",
        "(fps_model > 1",
        "fps_model > 1)",
        "(fps_model > 1) > 2",
        "'a\\n' == library",
    ),
    "(" * 51 + "fps_model > 1" + ")" * 51,
    "(" * 50 + "fps_model > 1" + ")" * 50,
    "not " * 450 + "fps_model > 1",
    "fps_model > 1" + " and fps_model > 1" * 200,
]


def _made_up(count: int) -> list[str]:
    """Give conditions at random: most of them can be parsed, and some have a word too many."""
    rng = random.Random(0)

    def operand(text: bool) -> str:
        numbers = ("fps_model", "mask_ap", "batch_size", "peak_reserved_mb", "25", "-3", "2e1", "37.2", "2000")
        return rng.choice(("library", "'mmdet'", '"it\'s"', "''")) if text else rng.choice(numbers)

    def condition(depth: int) -> str:
        kind = rng.random()
        if depth and kind < 0.5:
            return f" {rng.choice(('and', 'or'))} ".join(condition(depth - 1) for _ in range(rng.randint(2, 3)))
        if depth and kind < 0.7:
            return f"not {condition(depth - 1)}"
        if depth and kind < 0.85:
            return f"({condition(depth - 1)})"
        text = rng.random() < 0.25
        signs = ("==", "!=") if text else ("==", "!=", "<", "<=", ">", ">=")
        made = operand(text)
        for _ in range(rng.choice((1, 1, 1, 2))):
            made += f" {rng.choice(signs)} {operand(text)}"
        return made

    made = [condition(3) for _ in range(count)]
    return [
        text if rng.random() > 0.1 else text.replace(" ", rng.choice((" and ", " not ", " ( ")), 1) for text in made
    ]


def by_python(text: str) -> Any:
    """Give for each row whether it meets the condition, None where that is open; or the message."""
    try:
        condition = parse(text)
    except UserError as error:
        return str(error)
    return [condition.decided(row.get, ends.get) for row, ends in zip(ROWS, ENDS, strict=True)]


@pytest.fixture(scope="module")
def in_browser(browser: Any) -> Any:
    page = browser.new_page()
    page.add_script_tag(content=GRAMMAR.read_text(encoding="utf-8"))
    columns = {name: {"text": column.decimals is None} | column_rules(name) for name, column in COLUMNS.items()}
    rules = {"allowed": ALLOWED, "longest": LONGEST, "deepest": DEEPEST}
    given = {"columns": columns, "rules": rules, "rows": ROWS, "ends": ENDS}
    page.evaluate("given => { window.given = given; }", given)
    return page


_ANSWER = """texts => texts.map((text) => {
  const { columns, rules, rows, ends } = window.given;
  try {
    const condition = conditions.parse(text, columns, rules);
    return rows.map((row, n) => condition.decided((name) => row[name] ?? null, (name) => ends[n][name] ?? null));
  } catch (error) { return error.message; }
})"""


@pytest.mark.parametrize("texts", [WRITTEN, _made_up(400)], ids=["written", "made up"])
def test_the_page_and_python_give_one_answer(in_browser: Any, texts: list[str]) -> None:
    found = in_browser.evaluate(_ANSWER, texts)
    for text, answer in zip(texts, found, strict=True):
        expected = by_python(text)
        if isinstance(expected, str):
            assert isinstance(answer, str), (text, answer)
            if "no such column" in expected or "no such mark" in expected:
                assert answer == expected
        else:
            assert answer == expected, text


def test_the_conditions_have_every_kind_of_answer() -> None:
    answers = [by_python(text) for text in (*WRITTEN, *_made_up(400))]
    decided = [answer for answer in answers if isinstance(answer, list)]
    assert len(decided) > 200
    assert sum(isinstance(answer, str) for answer in answers) > 40
    assert all(sum(kind in answer for answer in decided) > 30 for kind in (True, False, None))


def test_nearest_names_are_those_of_difflib(in_browser: Any) -> None:
    from bench.errors import nearest

    rng = random.Random(1)
    names = list(COLUMNS)
    words = [_misspelt(rng.choice(names), rng) for _ in range(150)]
    found = in_browser.evaluate(
        "words => words.map((word) => conditions.nearest(word, Object.keys(given.columns)))", words
    )
    assert found == [nearest(word, COLUMNS) for word in words]
    assert json.dumps(found).count("did you mean") > 100


def _misspelt(name: str, rng: random.Random) -> str:
    letters = list(name)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(letters))
        letters[place : place + rng.randint(0, 1)] = rng.choice(("", "x", "_", "ap"))
        letters = letters or ["x"]
    return "".join(letters)
