"""Test in a browser what a person does who chooses a model: limits, the answer, the command, the address."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from literal_results import build_result, with_few_samples, with_replicates

import reports
from bench.schema.result import Result, write_result
from reports.__main__ import main
from reports.table.comparison import load
from reports.table.selection import answer, select


def _results() -> list[Result]:
    """Rows of 100, 50, 40, 25 and about 20 FPS; the fourth and the fifth are alike in AP; the sixth scatters widely."""
    noise = np.random.default_rng(0).normal(0, 0.02, 200)
    rows = [
        ("A", "torchvision", [9.9, 10.0, 10.1] * 4, 0.30),
        ("B", "mmdet", [19.9, 20.0, 20.1] * 4, 0.36),
        ("C", "mmdet", [24.9, 25.0, 25.1] * 4, 0.35),
        ("D's", "own", [39.8, 40.0, 40.2] * 4, 0.42),
        ("E", "mmdet", [49.8, 50.0, 50.2] * 4, 0.45),
        ("F", "mmdet", [1.0, 60.0, 2.0, 90.0], 0.44),
    ]
    results = [build_result(name, library=library, model_ms=ms, mask_ap=ap) for name, library, ms, ap in rows]
    for number, result in enumerate(results):
        ap = rows[number][3]
        with_replicates(result, (ap + (-1) ** number * noise).tolist())
    results[2].config["model"]["licence"] = {"code": "AGPL-3.0", "weights": None}
    results[3].config["model"]["licence"] = {"code": "MIT", "weights": None}
    results.append(with_few_samples(build_result("G", library="own", model_ms=[1.0] * 3, mask_ap=0.2)))
    results.append(build_result("H", library="own", status="crashed", reason="killed by SIGKILL"))
    return results


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a run with $pace")
    for number, result in enumerate(_results()):
        write_result(result, folder / "jobs" / f"job{number}" / "result.json")
    reports.build([folder], folder)
    return folder


@pytest.fixture
def page(browser: Any, run: Path) -> Iterator[Any]:
    page, problems = browser.new_page(viewport={"width": 1400, "height": 900}), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((run / "comparison.html").as_uri())
    yield page
    assert problems == []
    page.close()


def models(page: Any, rows: str = "tr:visible:not(.unsure)") -> list[str]:
    return page.locator(f"#main tbody {rows} th span").all_inner_texts()


def test_the_command_of_the_page_gives_the_answer_of_the_page(
    page: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page.fill('[data-limit="fps_model"]', "22")
    page.select_option('[data-limit="licence"]', "!AGPL-3.0")
    assert page.inner_text("#within dd").endswith("the best of 1 row.")  # of C and D alone is a licence known
    page.select_option('[data-limit="licence"]', "")
    page.fill("#filter", "library != 'torchvision' or mask_ap < 5")
    answer = page.inner_text("#within dd")
    assert answer.startswith("D's R50-FPN · own (Mask AP 42.0 points)")
    words = shlex.split(page.inner_text("#command"))
    assert words[:3] == ["python", "-m", "reports"]
    assert words[3] == str(run)
    assert main(words[3:]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].startswith("  D's R50-FPN · own: mask_ap 42.0 points")
    chosen = select(load([run], run), words[words.index("--where") + 1], words[words.index("--best") + 1])
    comparison = load([run], run)
    best_first = [comparison.text(row, "model") for row in chosen.satisfying]
    page.click('#main th[data-column="mask_ap"]')
    assert models(page) == best_first == ["D's", "B", "C", "G"]
    close = re.findall(r"[A-Z]\S* R50-FPN", answer)[1:]
    assert close == [comparison.labels[row].rpartition(" · ")[0] for row in chosen.tied]
    assert models(page, "tr.unsure") == [comparison.text(row, "model") for row, _ in chosen.unsure] == ["F"]
    told = dict(line.split(": ", 1) for line in page.locator("#fallen li").all_inner_texts())
    shown = {comparison.labels[row]: why for row, why in chosen.fallen}
    assert told == shown


@pytest.mark.parametrize("best", ["mask_ap", "fps_model", "latency_ms_p50", "peak_reserved_mb"])
def test_every_column_names_the_same_best(page: Any, run: Path, best: str) -> None:
    page.select_option("#best", best)
    page.fill('[data-limit="fps_model"]', "1")
    comparison = load([run], run)
    chosen = select(comparison, "fps_model >= 1", best)
    assert page.inner_text("#within dd a:first-child") == comparison.labels[chosen.satisfying[0]]
    close = page.locator("#within dd a").all_inner_texts()[1:]
    assert close == [comparison.labels[row] for row in chosen.tied][:3]


def test_why_each_row_fell_out_and_what_is_open(page: Any) -> None:
    page.fill('[data-limit="fps_model"]', "24.5")
    assert page.inner_text("#count") == "5 of 8 rows, 1 not known well enough"
    fallen = page.locator("#fallen li").all_inner_texts()
    assert "E R50-FPN · mmdet: fps_model >= 24.5: 20.00 [19.96, 20.04]" in fallen
    assert "H R50-FPN · own: crashed: killed by SIGKILL" in fallen
    assert "fps_model >= 24.5: 26.14 (too few or too unequal batches for an interval)" in page.inner_text("#open")
    page.click("#clear")
    assert page.inner_text("#count") == "8 rows"
    assert not page.is_visible("#fallen")
    assert not page.is_visible("#within")


def test_the_address_holds_the_choice(page: Any, browser: Any) -> None:
    page.fill('[data-limit="fps_model"]', "30")
    page.select_option('[data-limit="library"]', "=mmdet")
    page.fill("#filter", "R50 batch_size == 1 and mask_ap > 1")
    page.select_option("#best", "fps_model")
    page.click('#main th[data-column="latency_ms_p95"]')
    page.click(".chooser summary")
    page.check('[data-column="latency_ms_p99"][type=checkbox]')
    other = browser.new_page(viewport={"width": 1400, "height": 900})
    other.goto(page.url)
    for one in (page, other):
        assert models(one) == ["B", "C"]
        assert one.inner_text("#within dd a:first-child") == "B R50-FPN · mmdet"
        assert one.get_attribute('#main th[data-column="latency_ms_p95"]', "aria-sort") == "ascending"
        assert one.locator('#main tr:visible td[data-column="latency_ms_p99"]').first.is_visible()
        assert one.input_value("#filter") == "R50 batch_size == 1 and mask_ap > 1"
        assert "does not" in one.inner_text("#unsaid")  # of the word R50
    assert page.inner_text("#command") == other.inner_text("#command")
    # A link of the page to one of its sections leaves the choice as it is.
    page.click('nav a[href="#conditions"]')
    assert models(page) == ["B", "C"]
    other.close()


def test_a_wrong_filter_says_what_is_wrong_and_changes_nothing(page: Any) -> None:
    page.fill("#filter", "fps_model >= 45")
    before = models(page)
    page.fill("#filter", "fps_modell >= 3")
    assert page.inner_text("#refused") == (
        "fps_modell: no such column; did you mean fps_model or fps_model_low or fps_model_high? (words stand in quotes)"
    )
    assert models(page) == before
    page.fill("#filter", "library == mmdet")
    assert "words stand in quotes" in page.inner_text("#refused")
    page.fill("#filter", "fps_model >= 45 host_rss_mb < 1")
    assert "and, or, not" in page.inner_text("#refused")
    page.fill("#filter", "")
    assert not page.is_visible("#refused")


def test_others_on_the_page_learn_which_rows_are_shown(page: Any) -> None:
    page.evaluate(
        "addEventListener('maskbench:rows', () => {}); window.seen = [];"
        "document.addEventListener('maskbench:rows', (event) => window.seen.push(event.detail))"
    )
    page.fill('[data-limit="fps_model"]', "45")
    rows = page.evaluate("window.seen.at(-1)")
    names = [page.inner_text(f'tr[data-row="{row}"] th span') for row in rows]
    assert sorted(names) == ["A", "B", "F", "G"]


def test_a_warning_leads_to_its_rows(page: Any) -> None:
    page.click("#answers .beware a:has-text('fewer batches')")
    assert models(page) == ["G"]
    page.go_back()


def test_rows_whose_fps_cannot_be_told_apart_are_all_marked(browser: Any, tmp_path: Path) -> None:
    """The figures of a real run: 29.55 [28.1, 31.1] and 29.51 [28.5, 30.6], and a third of 26.28 [25.5, 27.1]."""
    spread = np.linspace(-1, 1, 41)
    for number, (name, fps, reach) in enumerate((("A", 29.55, 0.157), ("B", 29.51, 0.112), ("C", 26.28, 0.09))):
        result = build_result(name, model_ms=(1000 / fps * (1 + spread * reach)).tolist(), mask_ap=0.3)
        write_result(result, tmp_path / "jobs" / f"job{number}" / "result.json")
    page = browser.new_page()
    page.goto(reports.build([tmp_path], tmp_path).as_uri())
    best = page.locator('#main td.best[data-column="fps_model"]').all_inner_texts()
    assert [text.split()[0] for text in best] == ["29.55", "29.51"]
    assert all(re.search(r"\n\[2[78]\.\d\d, 3[01]\.\d\d\]$", text) for text in best)
    markdown = (tmp_path / "comparison.md").read_text()
    assert re.search(r"\*\*29\.55 \\\[2\d\.\d\d, 3\d\.\d\d\\\]\*\*", markdown)
    assert re.search(r"\*\*29\.51 \\\[", markdown)
    assert "of FPS model also those whose 95 % interval overlaps that of the best" in page.inner_text("#table")
    page.close()


@pytest.mark.parametrize("width", [1900, 1400, 390])
def test_no_column_is_hidden_where_there_is_room(browser: Any, run: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((run / "comparison.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#table > .scroll")
    if width == 1900:
        for name in ("latency_ms_p99", "peak_reserved_mb", "process_device_mb"):
            page.evaluate(f"document.querySelector('.boxes [data-column={name}]').click()")
        assert page.locator("#main thead th:visible").count() >= 16
    if width > 1300:
        assert box.evaluate("node => node.scrollWidth <= node.clientWidth")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, run: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme=scheme)
    page.goto((run / "comparison.html").as_uri() + "#limit.fps_model=24.5&filter=" + "mask_ap > 1")
    found = axe.run(page).response["violations"]
    ours = [
        (one["id"], node["target"])
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert ours == []
    page.close()


def test_the_page_warns_of_the_rows_that_are_left_as_the_command_does(browser: Any, tmp_path: Path) -> None:
    results = [build_result("A", model_ms=[10.0] * 3), build_result("B", model_ms=[20.0] * 3)]
    results.append(build_result("C", model_ms=[40.0] * 3, precision="fp16"))
    for number, result in enumerate(results):
        result.contents["dataset"] = ("1" if number == 0 else "2") * 64
        result.machine = {**(result.machine or {}), "torch_threads": (4, 4, None)[number]}
        write_result(result, tmp_path / "jobs" / f"job{number}" / "result.json")
    page = browser.new_page()
    page.goto(reports.build([tmp_path], tmp_path).as_uri())
    data = "! these rows differ in data set, so they cannot be compared"
    told = "! these rows differ in precision, so a difference between them is not one of the models alone"
    for limit, expected in (("fps_model >= 1", [data, told]), ("fps_model >= 30", [data]), ("fps_model < 60", [told])):
        page.fill("#filter", limit)
        assert page.locator("#within .warning").all_inner_texts() == expected
        text, _ = answer(load([tmp_path], tmp_path), limit, "mask_ap")
        assert [line for line in text.splitlines() if line.startswith("!")] == expected
    page.fill("#filter", "fps_model >= 60")
    assert page.locator("#within .warning").count() == 0
    page.close()


def test_the_address_keeps_the_choice_beside_a_place_in_the_page(page: Any) -> None:
    page.fill('[data-limit="fps_model"]', "30")
    page.click('nav a[href="#conditions"]')
    assert page.evaluate("location.hash") == "#conditions&limit.fps_model=30"
    page.reload()
    assert page.input_value('[data-limit="fps_model"]') == "30"
    page.wait_for_function("scrollY > 100")
    page.fill('[data-limit="fps_model"]', "24.5")
    assert page.evaluate("location.hash") == "#conditions&limit.fps_model=24.5"
    page.click("#within dd a")
    page.wait_for_function("document.querySelectorAll('tr.target.first').length === 1")
    page.go_back()
    page.go_back()
    assert page.evaluate("location.hash") == "#limit.fps_model=30"
    page.wait_for_function("document.querySelector('[data-limit=fps_model]').value === '30'")
    page.evaluate("location.hash = ''")
    page.wait_for_function("document.querySelector('[data-limit=fps_model]').value === ''")
    assert page.inner_text("#count") == "8 rows"
    page.click('nav a[href="#conditions"]')
    assert page.evaluate("location.hash") == "#conditions"


EVERY = ["A", "B", "C", "D's", "E", "F", "G", "H"]


@pytest.mark.parametrize(
    ("state", "expected", "filtered"),
    [
        ("only.library==mmdet", ["B", "C", "E", "F"], ""),
        ("only.library==detectron2", [], "library == 'detectron2'"),
        ("only.licence=!GPL", ["C", "D's"], "licence != 'GPL'"),  # the licences of others are not known
        ("only.licence=!GPL&only.library==detectron2", [], "licence != 'GPL' and library == 'detectron2'"),
        ("only.licence=!GPL&filter=R50 fps_model > 45 or fps_model < 30", ["D's"], None),
        ("only.precision==int8", [], "precision == 'int8'"),
        ("only.precision=!int8&limit.fps_model=45", ["A", "B", "G"], "precision != 'int8'"),
        ("limit.energy_j_per_image=2", [], "energy_j_per_image <= 2"),
        ("limit.gflops=3", [], "gflops <= 3"),
        ("only.library==it's' or fps_model > 0 or library == 'x", [], None),
        ("sort=fps_model toString", EVERY, ""),
        ("best=nothing&columns=nothing", EVERY, ""),
    ],
)
def test_an_address_of_a_page_of_other_rows(
    page: Any, run: Path, state: str, expected: list[str], filtered: str | None
) -> None:
    """What this page has no field or no word for is a filter: no row may seem to keep a limit that none was held to."""
    page.goto("about:blank")
    page.goto(f"{(run / 'comparison.html').as_uri()}#{quote(state, safe='=&')}")
    shown = sorted(name.split(" R50")[0] for name in models(page))
    assert shown == expected
    assert not page.is_visible("#refused")
    assert page.locator("#main th[aria-sort]").count() == 0
    if filtered is not None:
        assert page.input_value("#filter") == filtered


@pytest.mark.parametrize("state", ["limit.fps_model=many", "limit.nothing=3", "only.nothing==x"])
def test_an_address_that_nobody_can_read_is_told(page: Any, run: Path, state: str) -> None:
    page.goto("about:blank")
    page.goto(f"{(run / 'comparison.html').as_uri()}#{state}")
    assert page.is_visible("#refused")
