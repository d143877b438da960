"""Test the charts of the page in a real browser: asked for, filtered, on a phone, in the dark, offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result, with_busy, with_details, with_disturbed_batches

import reports
from bench.schema.result import write_result

EVIL = '</script><img src=x onerror=alert("x")>'
FIGURES = ("tradeoff", "throughput", "latency", "stages", "memory")


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page of five rows: B beats A; C is beaten by none; D is the best of all and not trusted; E is a sweep."""
    folder = tmp_path_factory.mktemp("run")
    results = [
        with_busy(build_result("A", model_ms=[25.0] * 40, mask_ap=0.35, ends_ms=(5.0, 3.0)), 22),
        with_details(build_result("B", model_ms=[20.0] * 40, mask_ap=0.40)),
        build_result("C", library="mmdet", model_ms=[10.0] * 40, mask_ap=0.30),
        with_disturbed_batches(build_result(f"D{EVIL}", model_ms=[5.0] * 40, mask_ap=0.50)),
        build_result("C", library="mmdet", model_ms=[16.0] * 40, mask_ap=0.30, batch_size=2),
        build_result("F", status="failed", reason="no", model_ms=None, mask_ap=None),
    ]
    for number, result in enumerate(results):
        write_result(result, folder / "jobs" / f"job{number}" / "result.json")
    return reports.build([folder], folder)


@pytest.fixture
def open_page(browser: Any, page_path: Path) -> Iterator[Any]:
    """Open the page, have all charts drawn, and find at the end that nothing was fetched or complained about."""
    contexts = []

    def opened(width: int = 1280, scheme: str = "light", address: str | None = None, **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        page = context.new_page()
        page.requested, page.problems = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("dialog", lambda dialog: (page.problems.append(dialog.message), dialog.dismiss()))
        page.goto(address or page_path.as_uri())
        if more.get("java_script_enabled", True):
            for name in FIGURES:
                page.locator(f"figure[data-chart={name}]").first.scroll_into_view_if_needed()
                page.locator(f"figure[data-chart={name}] .live svg").first.wait_for()
        contexts.append((context, page))
        return page

    yield opened
    for context, page in contexts:
        assert page.problems == []
        fetched = [url.partition("#")[0] for url in page.requested if not url.startswith("data:")]
        assert fetched == [page_path.as_uri()]
        context.close()


def points(page: Any) -> list[str]:
    """Give the names of the points, those that the line joins in capitals of their own: by the table below."""
    return page.locator("figure[data-chart=tradeoff] .points tbody th").all_text_contents()


def corners(page: Any) -> int:
    """Give how many points the line of the trade-off joins."""
    path = page.locator("figure[data-chart=tradeoff] .mark-line path").get_attribute("d") or ""
    return path.count("M") + path.count("L")


def redrawn(page: Any, name: str, act: Any) -> None:
    figure = page.locator(f"figure[data-chart={name}]").first
    before = int(figure.get_attribute("data-drawn") or 0)
    act()
    page.wait_for_function(
        "([name, before]) => Number(document.querySelector(`figure[data-chart=${name}]`).dataset.drawn) > before",
        arg=[name, before],
    )


def test_the_line_leaves_out_what_is_not_trusted_and_follows_the_filter(open_page: Any) -> None:
    page = open_page()
    assert len(points(page)) == 4
    assert corners(page) == 2  # B and C
    numbers = page.evaluate(
        "JSON.parse(document.getElementById('charts-data').textContent).rows"
        ".filter((row) => !row.name.startsWith('B')).map((row) => row.row)"
    )
    announce = "(detail) => document.dispatchEvent(new CustomEvent('maskbench:rows', { detail }))"
    redrawn(page, "tradeoff", lambda: page.evaluate(announce, numbers))
    assert sorted(name[0] for name in points(page)) == ["A", "C", "D"]
    assert corners(page) == 2  # A, which B alone has beaten, and C
    redrawn(page, "memory", lambda: page.evaluate(announce, []))
    assert page.locator("figure[data-chart=memory] .live").inner_text() == "No row that is shown has these figures."


def test_axes_can_be_chosen(open_page: Any) -> None:
    page = open_page()
    figure = page.locator("figure[data-chart=tradeoff]").first
    redrawn(page, "tradeoff", lambda: figure.get_by_label("Across").select_option("parameters_m"))
    # All have 44.4 million parameters: D has the best AP, and nothing disturbs a number of parameters.
    assert corners(page) == 1
    assert "Parameters, M (less is better)" in figure.locator(".live svg").text_content()
    redrawn(page, "tradeoff", lambda: figure.get_by_label("Up").select_option("boundary_ap"))
    assert [name[0] for name in points(page)] == ["B"]
    redrawn(page, "tradeoff", lambda: figure.locator("label", has_text="Scale").locator("select").select_option("log"))
    assert figure.locator(".live svg").count() == 1


def choice_boxes(page: Any) -> list[str]:
    """Give what the boxes of the trade-off show: up, across, scale, measured on."""
    return page.locator("figure[data-chart=tradeoff] .choices select").evaluate_all(
        "all => all.map((box) => box.value)"
    )


def test_the_choice_of_a_chart_stands_in_the_address(open_page: Any, page_path: Path) -> None:
    """A link shows another person the same chart, and leads to it; what a filter has written there stays."""
    page = open_page()
    boxes = page.locator("figure[data-chart=tradeoff] .choices")
    assert page.evaluate("location.hash") == ""
    page.fill("#filter", "torchvision")
    for label, value in (("Across", "parameters_m"), ("Scale", "log"), ("Measured on", "coco, cuda:0, batch size 2")):
        redrawn(page, "tradeoff", lambda label=label, value=value: boxes.get_by_label(label).select_option(value))
    assert page.evaluate("location.hash") == (
        "#plots&chart.across=parameters_m&chart.on=coco%2C+cuda%3A0%2C+batch+size+2&chart.scale=log&filter=torchvision"
    )
    page.fill("#filter", "mmdet")
    shared = page.evaluate("location.href")
    other = open_page(address=shared)
    assert choice_boxes(other) == ["mask_ap", "parameters_m", "log", "coco, cuda:0, batch size 2"]
    assert other.input_value("#filter") == "mmdet"
    svg = other.locator("figure[data-chart=tradeoff] .live svg")
    assert "Parameters, M (less is better)" in svg.text_content()
    assert len(points(other)) == 1
    redrawn(other, "tradeoff", lambda: other.evaluate("location.hash = '#plots&chart.up=fps_model'"))
    assert choice_boxes(other) == ["fps_model", "fps_model", "", "coco, cuda:0, batch size 1"]


def test_what_an_address_asks_for_and_the_page_lacks_is_left(open_page: Any, page_path: Path) -> None:
    page = open_page(
        address=f"{page_path.as_uri()}#plots&chart.up=constructor&chart.across=nothing&chart.scale=toString"
    )
    assert choice_boxes(page) == ["mask_ap", "fps_model", "", "coco, cuda:0, batch size 1"]


CUT_OFF = """([name]) => {
  const svg = document.querySelector(`figure[data-chart=${name}] .live svg`);
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    const shown = box.width && getComputedStyle(text).opacity !== "0";
    return shown && (box.left < frame.left - 1 || box.right > frame.right + 1);
  }).map((text) => text.textContent);
}"""


@pytest.mark.parametrize("width", [390, 1400])
def test_no_word_is_cut_off_and_long_names_leave_the_charts_their_room(
    browser: Any, tmp_path: Path, width: int
) -> None:
    name = "Some Family of Models with a Name that Nobody Can Read"
    for number in range(4):
        result = build_result(f"{name} {number}", model_ms=[9.0 * 3**number] * 40, mask_ap=0.3, ends_ms=(5.0, 3.0))
        write_result(result, tmp_path / "jobs" / str(number) / "result.json")
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(reports.build([tmp_path], tmp_path).as_uri())
    for chart in ("tradeoff", "latency", "stages", "memory"):
        page.locator(f"figure[data-chart={chart}]").first.scroll_into_view_if_needed()
        page.locator(f"figure[data-chart={chart}] .live svg").first.wait_for()
        assert page.evaluate(CUT_OFF, [chart]) == [], chart
        axes = page.locator(f"figure[data-chart={chart}] .live .role-axis")
        assert max(box["width"] for one in axes.all() if (box := one.bounding_box())) > 150, chart
    page.close()


def test_rows_whose_end_to_end_is_noise_are_drawn_by_another_figure(browser: Any, tmp_path: Path) -> None:
    """Without weights there is no AP, and the time that noise takes to encode is no cost of a model."""
    for name, ms in (("A", 25.0), ("B", 20.0)):
        result = build_result(name, weights="random", mask_ap=None, model_ms=[ms] * 40, ends_ms=(5.0, 30.0))
        write_result(result, tmp_path / "jobs" / name / "result.json")
    page = browser.new_page()
    page.goto(reports.build([tmp_path], tmp_path).as_uri())
    page.locator("figure[data-chart=tradeoff]").scroll_into_view_if_needed()
    page.locator("figure[data-chart=tradeoff] .live svg").first.wait_for()
    assert choice_boxes(page) == ["fps_model", "latency_ms_p50", ""]
    assert len(points(page)) == 2
    options = page.locator(".choices label", has_text="Across").locator("option")
    assert "fps_end_to_end" not in options.evaluate_all("all => all.map((one) => one.value)")
    page.close()


def test_groups_that_cannot_be_compared_are_never_joined(open_page: Any) -> None:
    page = open_page()
    choice = page.locator("figure[data-chart=tradeoff]").get_by_label("Measured on")
    assert choice.locator("option").all_text_contents() == [
        "coco, cuda:0, batch size 1",
        "coco, cuda:0, batch size 2",
    ]
    redrawn(page, "tradeoff", lambda: choice.select_option("coco, cuda:0, batch size 2"))
    assert len(points(page)) == 1


def test_a_point_leads_to_its_row(open_page: Any) -> None:
    page = open_page()
    dot = page.locator("figure[data-chart=tradeoff] .mark-symbol.role-mark path").first
    dot.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "FPS model" in tip.inner_text()
    dot.click(force=True)
    flashed = page.locator("#main tr.flash")
    flashed.wait_for()
    name = page.locator("figure[data-chart=tradeoff] .chosen strong").inner_text()
    assert name.split(" ")[0] in flashed.inner_text()
    assert page.evaluate("document.querySelector('#main tr.flash').getBoundingClientRect().top") < 900
    links = page.locator("figure[data-chart=tradeoff] .chosen a").all_inner_texts()
    assert links[0] == "Row in the table"


def test_the_dark_and_a_phone(open_page: Any) -> None:
    """The colours follow the style sheet; nothing is wider than the phone; printed, the words are dark again."""
    page = open_page(390, "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ink = "getComputedStyle(document.querySelector('figure[data-chart=latency] .role-axis-label text')).fill"
    assert page.evaluate(ink) == "rgb(230, 232, 234)"
    for name in FIGURES:
        box = page.locator(f"figure[data-chart={name}] .live svg").first.bounding_box()
        assert 250 < box["width"] <= 390
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ink) == "rgb(29, 33, 38)"


def test_without_javascript_there_are_pictures(open_page: Any) -> None:
    page = open_page(java_script_enabled=False)
    assert page.locator("figure[data-chart] img").count() == len(FIGURES)
    assert page.locator("figure[data-chart=latency] img").bounding_box()["height"] > 100


def test_names_cannot_end_the_script(page_path: Path) -> None:
    text = page_path.read_text()
    assert EVIL not in text
    assert len(text) < 3_000_000


def test_axe_finds_nothing_serious(open_page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for scheme in ("light", "dark"):
        page = open_page(scheme=scheme)
        found = axe.run(page).response["violations"]
        bad = {
            each["id"]: [node["html"][:200] for node in each["nodes"][:3]]
            for each in found
            if each["impact"] in ("serious", "critical")
        }
        assert bad == {}, scheme
