"""Test the page as text and in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from literal_results import build_result, build_training, with_details, with_replicates
from PIL import Image

import reports
from bench.schema.result import write_result
from reports.page.render import file_uri

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    results = [
        build_result("Mask R-CNN", mask_ap=0.372, model_ms=[100.0, 110.0]),
        build_result("SOLOv2", library="mmdet", mask_ap=0.341, model_ms=[9.0, 10.0]),
        build_result("PointRend", library="mmdet", weights="random", mask_ap=None, model_ms=[20.0, 21.0]),
        build_result(EVIL, library="own", mask_ap=0.05, model_ms=[50.0, 51.0]),
        build_result("SOLO", library="mmdet", status="out_of_memory", reason=f"out of memory {EVIL}"),
        build_result("Mask2Former", library="detectron2", status="skipped", reason="detectron2 is not installed"),
    ]
    results[0].notes.append(f"a note {EVIL}")
    # Mask R-CNN leads SOLOv2 by 3.1 in every draw, and in Boundary AP by 1.0 give or take 2.0.
    draws = [0.001 * (n % 7 - 3) for n in range(100)]
    boundary = [0.02 if n % 2 else -0.02 for n in range(100)]
    with_replicates(results[0], [0.372 + d for d in draws], [0.30 + d for d in draws])
    with_replicates(results[1], [0.341 + d for d in draws], [0.29 + d for d in boundary])
    with_details(results[0])
    with_details(results[3])
    results[0].finetune = build_training()
    for number, result in enumerate(results):
        write_result(result, folder / "jobs" / f"job{number}" / "result.json")
    return reports.build([folder], folder)


def test_names_and_reasons_are_escaped(page_path):
    text = page_path.read_text()
    assert EVIL not in text
    assert text.count("&lt;script&gt;alert(") >= 3


def test_the_page_needs_nothing_else(page_path):
    text = page_path.read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#|comparison\.|differences\.|models/|plots/)', text)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_failed_stand_apart_from_skipped(page_path):
    text = page_path.read_text()
    failed, skipped = text.index("<h2>Not finished</h2>"), text.index("<h2>Skipped</h2>")
    assert failed < text.index("out of memory &lt;script", failed) < skipped
    assert skipped < text.index("detectron2 is not installed") < text.index("<h2>Conditions</h2>")


def test_every_column_is_defined(page_path):
    from reports.table.columns import COLUMNS

    text = page_path.read_text()
    for column in COLUMNS.values():
        assert f"<dt>{column.title}</dt>" in text


@pytest.fixture
def page(browser, page_path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.requested, page.problems = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("dialog", lambda dialog: (page.problems.append(dialog.message), dialog.dismiss()))
    page.goto(page_path.as_uri())
    yield page
    assert page.problems == []
    assert [url for url in page.requested if not url.startswith("data:")] == [page_path.as_uri()]
    page.close()


def _column(page, name: str) -> list[str]:
    return page.locator(f'#main tbody tr:visible [data-column="{name}"]').all_inner_texts()


def _fps(page) -> list[str]:
    """Give the speeds of the rows that are shown, without their intervals."""
    return [text.split("\n")[0] for text in _column(page, "fps_model")]


def test_sorts_as_numbers_with_empty_last(page):
    head = page.locator('#main th[data-column="fps_model"]')
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert _fps(page) == ["105.26", "48.78", "30.00", "19.80", "9.52"]
    head.locator("button").click()
    assert _fps(page) == ["9.52", "19.80", "30.00", "48.78", "105.26"]
    head = page.locator('#main th[data-column="mask_ap"] button')
    head.click()
    assert _column(page, "mask_ap") == ["37.2\n[35.7, 38.7]", "34.1\n[32.6, 35.6]", "5.0\n[3.5, 6.5]", "", ""]
    head.click()
    assert _column(page, "mask_ap") == ["5.0\n[3.5, 6.5]", "34.1\n[32.6, 35.6]", "37.2\n[35.7, 38.7]", "", ""]


def test_lower_is_better_columns_sort_upwards_first(page):
    page.locator('#main th[data-column="latency_ms_p50"] button').click()
    assert _column(page, "latency_ms_p50")[0] == "9.5"


def test_filters_by_words_and_by_conditions(page):
    page.fill("#filter", "mmdet")
    assert page.locator("#main tbody tr:visible").count() == 3
    assert page.inner_text("#count") == "3 of 5 rows"
    # With two batches each, three speeds are not known well enough for a limit of 40; they stay, and are told.
    page.fill("#filter", "mmdet fps_model>=40")
    assert sorted(_fps(page)) == ["105.26", "48.78"]
    assert page.inner_text("#count") == "1 of 5 rows, 1 not known well enough"
    page.fill("#filter", "mask_ap<33 or mask_ap < 35")
    assert sorted(text.split()[0] for text in _column(page, "mask_ap")) == ["34.1", "5.0"]
    page.fill("#filter", "")
    assert page.locator("#main tbody tr:visible").count() == 5


def test_columns_can_be_chosen(page):
    cells = page.locator('#main [data-column="latency_ms_p99"]')
    assert not cells.first.is_visible()
    page.click(".chooser summary")
    page.check('[data-column="latency_ms_p99"][type=checkbox]')
    assert cells.first.is_visible()


def test_best_is_marked(page):
    best = page.locator('#main td.best[data-column="fps_model"]')
    assert [text.split("\n")[0] for text in best.all_inner_texts()] == ["105.26"]


def test_differences_are_shaded_where_significant(page):
    masks, boundaries = page.locator("table.matrix").all()
    assert masks.locator("td.up").all_inner_texts() == [
        "better by 3.1\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.0\np < 0.001"
    ]
    assert masks.locator("td.down").count() == 1
    assert boundaries.locator("td.up, td.down").count() == 0


def test_accuracy_in_detail_and_the_training(page):
    text = page.inner_text("#accuracy")
    for words in (
        "Overlap: difference",
        "-0.70",
        "What the errors are",
        "Whether scores mean what they say",
        "hair drier",
    ):
        assert words in text
    assert "80 iterations, 2.5 epochs of 256 images" in page.inner_text("#training")


def test_a_models_page_fits_a_phone(browser, page_path):
    page = browser.new_page(viewport={"width": 375, "height": 800})
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto((page_path.parent / "models/mask-r-cnn-r50-fpn-torchvision.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.inner_text("h1") == "Mask R-CNN R50-FPN · torchvision"
    assert problems == []
    page.close()


@pytest.mark.parametrize("width", [375, 768])
def test_a_phone_scrolls_the_table_and_not_the_page(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for details in page.locator("details").all():
        details.evaluate("node => node.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#table .scroll")
    assert box.evaluate("node => node.scrollWidth > node.clientWidth")
    box.evaluate("node => node.scrollLeft = 300")
    left = page.locator("#main tbody th.sticky").first.bounding_box()["x"]
    assert 0 <= left <= 25  # the page's own padding and the border of the box


def test_figures_of_noise_are_grey_with_the_reason(tmp_path):
    """PointRend's weights are random: its end to end and encode are grey and not marked; Mask R-CNN's are as ever."""
    results = [
        build_result("Mask R-CNN", model_ms=[20.0], ends_ms=(5.0, 3.0)),
        build_result("SOLO", model_ms=[30.0], ends_ms=(5.0, 4.0)),
        build_result("PointRend", weights="random", mask_ap=None, model_ms=[5.0], ends_ms=(5.0, 37.0)),
        build_result("YOLACT", weights="random", mask_ap=None, model_ms=[6.0], ends_ms=(5.0, 38.0)),
    ]
    for number, result in enumerate(results):
        write_result(result, tmp_path / "jobs" / f"job{number}" / "result.json")
    page = reports.build([tmp_path], tmp_path).read_text()
    for column, value, classes in (
        ("encode_ms", "37.0", "num noise"),
        ("encode_ms", "3.0", "num best"),
        ("encode_ms", "4.0", "num"),
        ("fps_end_to_end", "66.67", "num noise"),
        ("fps_end_to_end", "33.33", "num best"),
        ("network_ms", "25.0", "num"),
    ):
        cells = re.findall(rf'<td data-column="{column}" data-value="[^"]*" class="([^"]*)"([^>]*)>([^<]*)<', page)
        [(found, title)] = {(cell[0], cell[1]) for cell in cells if cell[2] == value}
        assert found == classes, (column, value)
        assert ("Not to be compared: with random weights the masks are noise" in title) is ("noise" in classes)
    legend = '<span class="noise">Grey</span>: FPS end-to-end and Encode, not to be compared: with random weights'
    assert legend in page


def test_a_picture_too_large_for_a_webp_stays_a_png(tmp_path: Path) -> None:
    for width, form in ((16_383, "webp"), (16_384, "png")):
        Image.new("RGB", (width, 2)).save(tmp_path / "wide.png")
        assert file_uri(tmp_path / "wide.png").startswith(f"data:image/{form};base64,")
