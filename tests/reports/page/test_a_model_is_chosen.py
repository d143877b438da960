"""Test in a browser, from end to end, what a person does who chooses a model; each step has tests of its own elsewhere.

The least FPS is set, the answer read, the best point clicked, its masks held against the second best model's, the
command copied; and the command gives the same answer.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from masks_study import write_masks_study

import reports
from reports.__main__ import main

POINTS = "figure[data-chart=tradeoff] .live svg .mark-symbol.role-mark path"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of four models of 5, 20, 25 and 50 FPS, whose mask AP is 50, 40, 30 and 20."""
    run = write_masks_study(tmp_path_factory.mktemp("choice"), 4, ms=[200.0, 50.0, 40.0, 20.0])
    reports.build([run], run)
    return run


@pytest.fixture
def page(browser: Any, run: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((run / "comparison.html").as_uri())
    yield page
    assert problems == []
    context.close()


def test_from_a_limit_to_the_masks_and_the_command(page: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page.fill('[data-limit="fps_model"]', "10")
    assert page.inner_text("#count") == "3 of 4 rows"
    assert page.inner_text("#within dd").startswith("Model 1 R50-FPN · torchvision (Mask AP 40.0 points)")
    assert (
        page.locator("#fallen li")
        .all_inner_texts()[0]
        .startswith("Model 0 R50-FPN · torchvision: fps_model >= 10: 5.0")
    )

    figure = page.locator("figure[data-chart=tradeoff]").first
    figure.scroll_into_view_if_needed()
    figure.locator(".live svg").first.wait_for()
    points = page.locator(POINTS)
    points.first.wait_for()
    tops = [point.bounding_box()["y"] for point in points.all()]
    assert len(tops) == 3, "the row that fell out of the table is no point"
    points.nth(tops.index(min(tops))).click()  # the highest point is of the best mask AP
    figure.get_by_role("link", name="Masks").click()
    assert page.locator("#viewer-left option:checked").inner_text().startswith("Model 1")
    page.select_option("#viewer-right", label=page.locator("#viewer-right option", has_text="Model 2").inner_text())
    listed = [
        page.locator(f"#viewer-list-{side} caption, #viewer-list-{side} h3").inner_text() for side in ("left", "right")
    ]
    assert [text.split(" R50")[0] for text in listed] == ["Model 1", "Model 2"]

    page.locator("#table").scroll_into_view_if_needed()
    words = shlex.split(page.inner_text("#command"))
    assert words[:3] == ["python", "-m", "reports"]
    assert main(words[3:]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("  Model 1 R50-FPN · torchvision: mask_ap 40.0 points")
