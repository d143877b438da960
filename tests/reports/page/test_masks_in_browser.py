"""Test the viewer of masks in a real browser, by mouse, finger, keyboard and address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from masks_study import write_masks_study

import reports

LOADED = """href => new Promise(done => {
  const image = new Image();
  image.onload = () => done(image.naturalWidth);
  image.onerror = () => done(0);
  image.src = href;
})"""
"""The width of a picture in pixels, once it has loaded; 0 where it cannot be."""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return write_masks_study(tmp_path_factory.mktemp("masks"), 3)


@pytest.fixture(scope="module")
def page_path(study) -> Path:
    return reports.build([study], study / "report")


@pytest.fixture
def open_page(browser):
    """Open a page at an address of its own; at the end it has complained of nothing."""
    pages = []

    def opened(path: Path, address: str = "", **options):
        page = browser.new_page(**({"viewport": {"width": 1400, "height": 900}} | options))
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(path.as_uri() + address)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        assert page.problems == []
        page.close()


def _chosen(page) -> tuple[str, str, str]:
    """The image and the two sides, as their names stand in the page."""
    names = [page.locator(f"#viewer-{name} option:checked").inner_text() for name in ("image", "left", "right")]
    return names[0], names[1], names[2]


def _marks(page, side: str, kind: str) -> list[str]:
    """The names of the marks of a kind that are drawn on a side."""
    names = page.locator(f'#viewer-stage g[data-name^="{side}:"]:has(.mark.{kind})').evaluate_all(
        "nodes => nodes.map(node => node.dataset.name.split(':')[1])"
    )
    return sorted(names)


def _listed(page, side: str) -> list[list[str]]:
    return page.locator(f"#viewer-list-{side} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )


def _border(page) -> float:
    return float(page.locator("#viewer-border").get_attribute("x1"))


def test_it_opens_on_the_two_best_models(page_path, open_page):
    page = open_page(page_path)
    assert _chosen(page) == ("000001.jpg", "Model 0 R50-FPN · torchvision", "Model 1 R50-FPN · torchvision")
    assert page.locator("#viewer-stage image").evaluate("image => image.getBBox().width") > 0
    # The photograph has loaded: it has a size of its own.
    assert page.evaluate(LOADED, page.locator("#viewer-stage image").get_attribute("href"))


def test_what_is_listed_is_what_is_drawn(page_path, open_page):
    page = open_page(page_path, "#masks/000003.jpg/2/truth")
    assert _chosen(page)[0] == "000003.jpg"
    listed = _listed(page, "left")
    for kind in ("found", "false", "missed"):
        names = sorted(line[0] for line in listed if line[2] == kind)
        assert _marks(page, "left", kind) == names
        assert names, kind
    caption = page.locator("#viewer-list-left caption").inner_text()
    counts = [sum(line[2] == kind for line in listed) for kind in ("found", "missed", "false")]
    assert caption.endswith(": {} found, {} missed, {} false".format(*counts))
    for name, class_name, kind, score, iou in listed:
        assert class_name in ("circle", "square", "triangle", "star", "ring", "bar")
        assert bool(score) == bool(iou) == (kind != "missed")
        if kind == "found":
            assert float(iou) >= 0.5
        assert name[0] == {"false": "F", "missed": "M", "in a crowd": "O"}.get(kind, name[0])
    assert {line[2] for line in _listed(page, "right")} <= {"object", "crowd"}


def test_kinds_differ_by_more_than_colour(page_path, open_page):
    page = open_page(page_path, "#masks/000003.jpg/2/truth")
    looks = {
        kind: page.locator(f"#viewer-stage .mark.{kind}").first.evaluate(
            "node => getComputedStyle(node).strokeDasharray"
        )
        for kind in ("found", "false", "missed")
    }
    assert looks["found"] == "none"
    assert len(set(looks.values())) == 3
    fills = [
        page.locator(f"#viewer-stage .hatch.{kind}").first.evaluate("node => getComputedStyle(node).fill")
        for kind in ("found", "false", "missed")
    ]
    assert fills[0] == "none"
    assert "viewer-stripes" in fills[1]
    assert "viewer-grid" in fills[2]


def test_the_least_score_makes_found_objects_missed_ones(page_path, open_page):
    page = open_page(page_path, "#masks/000001.jpg/0/truth")
    before = _listed(page, "left")
    page.locator("#viewer-score").fill("0.9")
    after = _listed(page, "left")
    gone = [line for line in before if line[2] == "found" and float(line[3]) < 0.9]
    assert gone
    assert [line for line in after if line[2] == "found"] == [
        line for line in before if line[2] == "found" and float(line[3]) >= 0.9
    ]
    missed = [sum(line[2] == "missed" for line in listed) for listed in (before, after)]
    assert missed[1] == missed[0] + len(gone)


def test_kinds_can_be_left_out(page_path, open_page):
    page = open_page(page_path, "#masks/000003.jpg/2/truth")
    for kind in ("found", "false", "missed"):
        assert _marks(page, "left", kind)
        page.locator(f"[data-shows={kind}]").uncheck()
        assert not _marks(page, "left", kind)
    page.locator("[data-shows=truth]").check()
    assert page.locator("#viewer-stage .mark.truth").count() > 0


def test_the_border_follows_mouse_slider_and_keys(page_path, open_page):
    page = open_page(page_path)
    box = page.locator("#viewer-stage svg").bounding_box()
    page.locator("#viewer-stage").scroll_into_view_if_needed()
    box = page.locator("#viewer-stage svg").bounding_box()
    width = float(page.locator("#viewer-stage svg").get_attribute("viewBox").split()[2])
    assert _border(page) == width / 2
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20, steps=3)
    assert _border(page) == pytest.approx(width / 4, rel=0.02)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    assert _border(page) == pytest.approx(width / 4, rel=0.02)
    page.locator("#viewer-slide").fill("80")
    assert _border(page) == pytest.approx(0.8 * width)
    page.locator("#viewer-stage").focus()
    page.keyboard.press("ArrowRight")
    assert _border(page) == pytest.approx(0.82 * width)
    page.keyboard.press("Home")
    assert _border(page) == 0
    # What is left of the border is not seen at all then: its clip has no width.
    assert page.locator("#viewer-left-part").get_attribute("width") == "0"


def test_a_finger_moves_the_border(page_path, open_page):
    page = open_page(page_path, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator("#viewer-stage").scroll_into_view_if_needed()
    box = page.locator("#viewer-stage svg").bounding_box()
    width = float(page.locator("#viewer-stage svg").get_attribute("viewBox").split()[2])
    page.touchscreen.tap(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    assert _border(page) == pytest.approx(0.7 * width, rel=0.03)
    # A phone shows the viewer without going sideways.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_keys_step_through_images_and_models(page_path, open_page):
    page = open_page(page_path)
    page.locator("#viewer-stage").focus()
    page.keyboard.press("n")
    assert _chosen(page)[0] == "000002.jpg"
    page.keyboard.press("p")
    page.keyboard.press("p")
    assert _chosen(page)[0] == "000008.jpg"
    page.keyboard.press("r")
    assert _chosen(page)[2].startswith("Model 2")
    page.keyboard.press("r")
    assert _chosen(page)[2] == "Ground truth"
    page.keyboard.press("Shift+L")
    assert _chosen(page)[1] == "Ground truth"
    page.keyboard.press("l")
    page.keyboard.press("x")
    assert [name.split(" R50")[0] for name in _chosen(page)] == ["000008.jpg", "Ground truth", "Model 0"]
    page.keyboard.press("f")
    assert not page.locator("[data-shows=false]").is_checked()
    # Elsewhere in the page the same keys are letters.
    page.locator("#filter").focus()
    page.keyboard.press("n")
    assert _chosen(page)[0] == "000008.jpg"


def test_the_address_opens_it_again(page_path, open_page):
    page = open_page(page_path)
    page.locator("#viewer-stage").focus()
    page.keyboard.press("n")
    page.keyboard.press("r")
    chosen, address = _chosen(page), page.evaluate("location.hash")
    assert address == "#masks/000002.jpg/0/2"
    other = open_page(page_path, address)
    assert _chosen(other) == chosen
    assert -1 < other.evaluate("document.getElementById('viewer').getBoundingClientRect().top") < 900
    other.evaluate("location.hash = '#masks/000004.jpg/truth/1'")
    other.wait_for_function("document.getElementById('viewer-left').value === 'truth'")
    assert _chosen(other)[0] == "000004.jpg"


def test_what_others_keep_in_the_address_stays(page_path, open_page):
    page = open_page(page_path, "#filter=fps_model%3E%3D20&sort=mask_ap")
    page.locator("#viewer-stage").focus()
    page.keyboard.press("n")
    page.keyboard.press("n")
    assert page.evaluate("location.hash") == "#masks/000003.jpg/0/1&filter=fps_model%3E%3D20&sort=mask_ap"
    other = open_page(page_path, "#masks/000004.jpg/1/truth&filter=a")
    assert [name.split(" R50")[0] for name in _chosen(other)] == ["000004.jpg", "Model 1", "Ground truth"]


@pytest.mark.parametrize(
    "address", ["#masks/absent.jpg/0/1", "#masks/%E0%A4%A/0/1", "#masks/a<b>/7/-1", "#masks", "#masks/"]
)
def test_an_address_that_leads_nowhere_says_so(page_path, open_page, address):
    page = open_page(page_path, address)
    assert page.locator("#viewer-stage svg").count() == 1
    told = page.locator("#viewer-status").inner_text()
    if "/0/" in address or "/7/" in address:
        assert "is not among the images here" in told
    if "/7/" in address:
        assert "this row has no masks here" in told


def test_a_table_or_a_plot_can_ask_for_two_rows(page_path, open_page):
    page = open_page(page_path)
    page.evaluate("document.dispatchEvent(new CustomEvent('maskbench:masks', {detail: {rows: [2, 1]}}))")
    assert [name.split(" R50")[0] for name in _chosen(page)[1:]] == ["Model 2", "Model 1"]
    assert page.evaluate("document.activeElement.id") == "viewer-stage"
    assert page.evaluate("location.hash") == "#masks/000001.jpg/2/1"


def test_a_line_of_the_list_lights_its_mask(page_path, open_page):
    page = open_page(page_path, "#masks/000001.jpg/0/1")
    button = page.locator("#viewer-list-right tbody button").first
    name = button.inner_text()
    button.click()
    lit = page.locator("#viewer-stage .mark.lit").evaluate_all("nodes => nodes.map(n => n.parentNode.dataset.name)")
    assert lit == [f"right:{name}"]
    # The border gives way, so that the mask is seen wherever it lies.
    assert _border(page) == 0


def test_it_names_a_page_of_the_model(page_path, open_page):
    page = open_page(page_path)
    href = page.locator("#viewer-list-left caption a").get_attribute("href")
    assert (page_path.parent / href).exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page_path, open_page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(page_path, "#masks/000003.jpg/2/0", color_scheme=scheme)
    found = axe.Axe().run(page, "#masks").response["violations"]
    assert [
        (one["id"], one["nodes"][0]["html"][:120]) for one in found if one["impact"] in ("serious", "critical")
    ] == []


def test_print_shows_a_still(page_path, open_page):
    page = open_page(page_path)
    page.emulate_media(media="print")
    assert page.locator("#viewer-stage svg").is_visible()
    assert not page.locator("#viewer-slide").is_visible()
    assert not page.locator(".viewer-bar").first.is_visible()


def test_without_javascript_a_panel_is_shown(page_path, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_path.as_uri())
    assert not page.locator("#viewer").is_visible()
    assert page.locator("#masks noscript img").or_(page.locator("#masks img")).first.is_visible()
    context.close()


def test_split_the_pictures_lie_beside_a_small_page(study, page_path, open_page, browser):
    split = reports.build([study], study / "split", split=True)
    # The library of the charts has 400 kB, and lies beside it with the pictures.
    assert split.stat().st_size < min(0.3 * page_path.stat().st_size, 300_000)
    text = split.read_text()
    assert "data:image" not in text
    for address in re.findall(r'(?:src|"masks_[^"]*":)\s*=?"([^"]+)"', text):
        assert (split.parent / address).exists(), address
    page = open_page(split, "#masks/000003.jpg/1/truth")
    assert _chosen(page)[1].startswith("Model 1")
    page.wait_for_function("document.querySelector('#plots img').naturalWidth > 0")
    href = page.locator("#viewer-stage image").get_attribute("href")
    assert href.startswith("plots/masks_shapes_")
    assert page.evaluate(LOADED, href)
    page.locator("figure[data-chart=memory]").scroll_into_view_if_needed()
    page.locator("figure[data-chart=memory] .live svg").wait_for()
    # A report in the same folder whose pictures are inside leaves none beside it that it does not name.
    assert (split.parent / "plots/charts.js").exists()
    reports.build([study], study / "split")
    assert not (split.parent / "plots/charts.js").exists()


def test_masks_of_one_class_are_coloured_by_instance(tmp_path, open_page):
    run = write_masks_study(tmp_path, 1, images=4, classes=1)
    page = open_page(reports.build([run], tmp_path / "report"), "#masks/000001.jpg/truth/truth")
    marks = page.locator('#viewer-stage g[data-name^="left:"] .mark')
    colours = "nodes => nodes.map(node => getComputedStyle(node).stroke)"
    strokes = marks.evaluate_all(colours)
    assert len(strokes) > 3
    assert len(set(strokes)) == len(strokes)
    page.locator("#viewer-colour").select_option("class")
    assert len(set(marks.evaluate_all(colours))) == 1


def test_masks_of_several_classes_are_coloured_by_class(page_path, open_page):
    page = open_page(page_path, "#masks/000001.jpg/truth/truth")
    classes = [line[1] for line in _listed(page, "left")]
    strokes = page.locator('#viewer-stage g[data-name^="left:"] .mark').evaluate_all(
        "nodes => nodes.map(node => getComputedStyle(node).stroke)"
    )
    assert len(set(classes)) > 2
    assert len(set(zip(classes, strokes, strict=True))) == len(set(classes)) == len(set(strokes))


def test_a_row_without_predictions_has_missed_nothing(tmp_path, open_page):
    run = write_masks_study(tmp_path, 2, images=4)
    (run / "jobs/job1/predictions.json").unlink()
    page = open_page(reports.build([run], tmp_path / "report"), "#masks/000001.jpg/0/1")
    assert page.locator("#viewer-list-right caption").inner_text().endswith(": no masks")
    assert _listed(page, "right") == []
    assert "no predictions file" in page.locator("#viewer-status").inner_text()
    assert _listed(page, "left") != []


def test_a_model_more_is_a_few_kilobytes_more(page_path):
    """The aim is 3 MB for ten models with photographs of a real set, of which plots may take one."""
    script = page_path.parent / "plots/masks_shapes.js"
    assert script.stat().st_size / 4 < 12_000  # three models and the ground truth, six images each
    assert page_path.stat().st_size < 1.2e6


def test_a_table_of_many_classes_is_small_and_can_be_searched(tmp_path, write_run, make_result, open_page):
    """LVIS has 1,203 classes; the page of 30 models with a figure of each has 36,000."""
    names = [f"class {number}" for number in range(1203)]
    results = [make_result(f"M{n}", mask_ap=0.3 + 0.001 * n) for n in range(30)]
    for n, result in enumerate(results):
        result.accuracy.per_class = {name: (place % 97 + n) / 200 for place, name in enumerate(names)}
        mask_ap = sum(result.accuracy.per_class.values()) / len(names)
        result.accuracy.figures["mask_ap"] = mask_ap
        result.accuracy.confidence_interval = [mask_ap - 0.015, mask_ap + 0.015]
    page = reports.build([write_run(tmp_path / "run", results)], tmp_path / "report")
    assert page.stat().st_size < 2e6
    opened = open_page(page)
    assert opened.locator("#by-class thead th").count() == 1 + 19  # 24,000 cells
    opened.locator("#accuracy details:has(#by-class) > summary").click()
    assert "The best 19 of 30 rows are shown." in opened.locator("#accuracy").inner_text()
    opened.locator("#class-filter").fill("CLASS 120")
    shown = opened.locator("#by-class tbody tr:visible th").all_inner_texts()
    assert sorted(shown) == ["class 120", "class 1200", "class 1201", "class 1202"]
    first = opened.locator("#by-class tbody tr:visible").first
    assert first.locator("td").count() == 19
