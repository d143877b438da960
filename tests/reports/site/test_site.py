"""Tests the site of many runs: what it merges, what it keeps apart, what it leaves out, and that it works as files."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from literal_results import build_result

from bench.cli.main import main as maskbench
from bench.schema.parts.speed import SpeedRound
from bench.schema.result import Result, read_result, write_result
from reports.site.__main__ import main
from reports.site.build import build_site
from reports.table.comparison import load, write_json

DIGEST, OTHER = "ab" * 32, "cd" * 32

WriteRun = Callable[[Path, Sequence[Result]], Path]


def made(family: str = "Mask R-CNN", *, digest: str = DIGEST, gpu: str | None = None, **rest: Any) -> Result:
    """Give a result on the data set of a digest; ``gpu`` is another than NVIDIA H200."""
    result = build_result(family, **rest)
    result.contents["dataset"] = digest
    result.measurement_version = 3
    if gpu is not None and result.machine is not None:
        result.machine = {**result.machine, "gpu": {**result.machine["gpu"], "name": gpu}}
    return result


def began(result: Result, started: str) -> Result:
    """Let the result say when its first round began."""
    assert result.speed is not None
    result.speed.rounds[0] = SpeedRound(result.speed.rounds[0].samples, 812.5, [60.0], True, started)
    return result


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [link for name in ("href", "src") if (link := given.get(name))]
        self.ids |= {given["id"]} if given.get("id") else set()


def rows_of(page: Path) -> list[list[str]]:
    """Give the names of the models in each group of a leaderboard."""
    bodies = re.findall(r"<tbody>(.*?)</tbody>", page.read_text(encoding="utf-8"), re.DOTALL)
    return [re.findall(r'<th scope="row".*?<a [^>]*>(.*?)</a>', body) for body in bodies]


def board_of(out: Path, words: str) -> Path:
    [page] = [path for path in (out / "boards").glob("*.html") if words in path.read_text(encoding="utf-8")]
    return page


def test_every_link_is_relative_and_leads_to_something(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "runs" / "a", [made(), made("SOLO", gpu="NVIDIA T4")])
    write_run(tmp_path / "runs" / "b", [made("SOLOv2", library="mmdet"), made(status="crashed", reason="SIGSEGV")])
    out = tmp_path / "public"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    pages = {path: _Page(path) for path in out.rglob("*.html")}
    assert len(pages) == 1 + 2 + 3 + 2, "index, leaderboards, models, runs"
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            if link == "data:,":
                continue
            assert not re.match(r"[a-z]+:|/", link), link
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            assert target.is_relative_to(out.resolve())
            assert target.is_file(), link
            assert not anchor or anchor in pages[target].ids, link
            checked += 1
    assert checked > 60


def test_a_run_that_lies_in_two_folders_counts_once(tmp_path: Path, write_run: WriteRun) -> None:
    run = write_run(tmp_path / "runs" / "a", [made(), made("SOLO")])
    shutil.copytree(run, tmp_path / "runs" / "copy")
    # The same file with other blanks says the same, too.
    again = tmp_path / "runs" / "copy" / "jobs" / "job0" / "result.json"
    again.write_text(json.dumps(json.loads(again.read_text())))
    built = build_site([tmp_path / "runs", run], tmp_path / "public")
    assert len(built.site.comparison.rows) == 2
    assert built.gathered.copies == 2
    assert built.gathered.left_out == []


def test_a_row_that_went_on_counts_once_with_all_its_rounds(tmp_path: Path, write_run: WriteRun) -> None:
    early = began(made(model_ms=(20.0, 30.0)), "2026-11-22T13:00:10+00:00")
    late = began(made(model_ms=(20.0, 30.0, 50.0)), "2026-11-22T13:00:10+00:00")
    late.started = "2026-11-22T14:00:00+00:00"
    write_run(tmp_path / "runs" / "early", [early])
    write_run(tmp_path / "runs" / "late", [late])
    built = build_site([tmp_path / "runs"], tmp_path / "public")
    [row] = built.site.comparison.rows
    assert row.result.speed is not None
    assert row.result.speed.model.latency_ms == [20.0, 30.0, 50.0]


def test_two_files_of_one_measurement_that_disagree_are_both_left_out(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    true, changed = (began(made(mask_ap=ap), "2026-11-22T13:00:10+00:00") for ap in (0.372, 0.472))
    write_run(tmp_path / "runs" / "true", [true, made("SOLO")])
    write_run(tmp_path / "runs" / "changed", [changed])
    out = tmp_path / "public"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    told = capsys.readouterr().err
    assert told.count("is of the same measurement and has other figures") == 2
    assert "runs/true/job0/result.json" in told
    assert rows_of(board_of(out, "H200")) == [["SOLO R50-FPN"]]
    assert "has other figures" in (out / "index.html").read_text()


def test_the_digest_of_a_data_set_decides_and_not_its_name(tmp_path: Path, write_run: WriteRun) -> None:
    mine = made(dataset={"name": "coco_val2017"})
    write_run(tmp_path / "runs", [made("SOLO"), mine, made("SOLOv2", digest=OTHER)])
    built = build_site([tmp_path / "runs"], tmp_path / "public")
    titles = {board.data: (len(board.rows), board.also) for board in built.site.boards}
    assert titles == {"coco (abababab)": (2, ["coco_val2017"]), "coco (cdcdcdcd)": (1, [])}
    assert rows_of(board_of(tmp_path / "public", "abababab")) == [["Mask R-CNN R50-FPN", "SOLO R50-FPN"]]


def test_without_a_digest_a_set_is_on_no_leaderboard_of_one_with_a_digest(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "runs", [made(), made("SOLO", digest="")])
    built = build_site([tmp_path / "runs"], tmp_path / "public")
    assert {board.data for board in built.site.boards} == {"coco (abababab)", "coco (without a digest)"}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"precision": "fp16"}, ["fp16", "fp32"]),
        ({"batch_size": 4}, ["batch size 1", "batch size 4"]),
        ({"weights": "random", "mask_ap": None}, ["random weights", "trained weights"]),
    ],
)
def test_rows_of_other_conditions_stand_apart_on_a_leaderboard(
    other: dict[str, Any], said: list[str], tmp_path: Path, write_run: WriteRun
) -> None:
    faster = made("SOLO", model_ms=(1.0, 2.0, 3.0), **other)
    write_run(tmp_path / "runs", [made(), made("SOLOv2", model_ms=(30.0, 40.0, 50.0)), faster])
    built = build_site([tmp_path / "runs"], tmp_path / "public")
    [board] = built.site.boards
    assert sorted(group.conditions for group in board.groups) == said
    best = {
        built.site.comparison.rows[row].result.config["model"]["family"]
        for row, name in built.site.comparison.best
        if name == "fps_model"
    }
    assert best == {"Mask R-CNN"}, "a row that is alone in its conditions is the best of none"


def test_results_of_another_way_of_measuring_are_not_compared(tmp_path: Path, write_run: WriteRun) -> None:
    old = made("SOLO", model_ms=(1.0, 2.0, 3.0))
    old.measurement_version = 2
    write_run(tmp_path / "runs", [made(), old])
    built = build_site([tmp_path / "runs"], tmp_path / "public")
    [board] = built.site.boards
    ways = [f"version {number} of the way of measuring" for number in (2, 3)]
    assert sorted(group.conditions for group in board.groups) == ways
    assert not [name for _, name in built.site.comparison.best if name == "fps_model"]


def test_a_file_of_an_older_schema_is_told_and_the_others_shown(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "runs", [made(), made("SOLO")])
    path = run / "jobs" / "job1" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 1}))
    assert main([str(run), "--out", str(tmp_path / "public")]) == 0
    assert "runs/jobs/job1/result.json: schema_version 1, this maskbench reads 3" in capsys.readouterr().err
    assert "schema_version 1" in (tmp_path / "public" / "index.html").read_text()


def test_names_that_are_html_stay_text(tmp_path: Path, write_run: WriteRun) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    result = made(evil, dataset={"name": evil})
    result.reason = result.notes = None  # type: ignore[assignment]
    result.notes = [evil]
    write_run(tmp_path / "runs" / evil.replace("/", "_"), [result])
    out = tmp_path / "public"
    build_site([tmp_path / "runs"], out)
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<img" not in text, page
        assert text.count("</script>") == text.count("<script"), page
    assert all(re.fullmatch(r"[\w.-]+", part) for path in out.rglob("*.html") for part in path.relative_to(out).parts)


def test_what_must_not_be_published_is_not_in_the_site(
    tmp_path: Path, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "runs", [made()])
    path = run / "jobs" / "job0" / "result.json"
    kept = json.loads(path.read_text())
    # A file that another program wrote, with a home folder and an address with a password.
    kept["notes"] = [f"read {Path.home()}/data/val", "from https://me:hunter22@example.org/w.pth?token=zyxwvuts"]
    path.write_text(json.dumps(kept))
    (path.parent / "job.json").write_text('{"config": {"dataset": {"images": "/secret/place"}}}')
    built = build_site([run], tmp_path / "public")
    assert built.cleaned == 1
    texts = [file.read_text(encoding="utf-8") for file in (tmp_path / "public").rglob("*") if file.is_file()]
    assert not any(word in text for text in texts for word in ("hunter22", "zyxwvuts", "/secret/place", str(tmp_path)))
    if len(str(Path.home())) > 2:
        assert not any(f"{Path.home()}/data" in text for text in texts)


def test_a_figure_leads_to_the_file_that_it_is_from(tmp_path: Path, write_run: WriteRun) -> None:
    run = write_run(tmp_path / "runs", [made(mask_ap=0.372), made("SOLO", mask_ap=0.311)])
    out = tmp_path / "public"
    build_site([run], out)
    board = board_of(out, "H200").read_text(encoding="utf-8")
    for text, ap in (("37.2", 0.372), ("31.1", 0.311)):
        record = re.search(rf'<a href="\.\./(models/[^"#]+)#(m-\w+)">{text}</a>', board)
        assert record is not None
        page = (out / record[1]).read_text(encoding="utf-8")
        section = page[page.index(f'id="{record[2]}"') :]
        file = re.search(r'<a href="\.\./(results/[^"]+/result\.json)">', section)
        assert file is not None
        accuracy = read_result(out / file[1]).accuracy
        assert accuracy is not None
        assert accuracy.figures is not None
        assert accuracy.figures["mask_ap"] == ap


def test_a_site_is_a_source_of_another_and_its_own_results_do_not_come_back(
    tmp_path: Path, write_run: WriteRun
) -> None:
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    write_run(tmp_path / "a", [made(), made("SOLO")])
    build_site([tmp_path / "a"], theirs)
    write_run(tmp_path / "b", [made("SOLOv2")])
    assert len(build_site([theirs, tmp_path / "b"], mine).site.comparison.rows) == 3
    shutil.rmtree(tmp_path / "a" / "jobs" / "job1")
    # The whole folder as a source, with the site in it.
    again = build_site([tmp_path / "a"], tmp_path / "a" / "public")
    assert len(again.site.comparison.rows) == 1
    again = build_site([tmp_path / "a"], tmp_path / "a" / "public")
    assert (len(again.site.comparison.rows), again.gathered.copies) == (1, 0)


def test_a_site_that_is_written_anew_has_nothing_of_the_older_one(tmp_path: Path, write_run: WriteRun) -> None:
    run, out = write_run(tmp_path / "runs", [made(), made("SOLO", gpu="NVIDIA T4")]), tmp_path / "public"
    build_site([run], out)
    (out / "CNAME").write_text("bench.example.org\n")
    before = {path for path in out.rglob("*.html") if path.parent.name in ("boards", "models")}
    shutil.rmtree(run / "jobs" / "job1")
    build_site([run], out)
    after = {path for path in out.rglob("*.html") if path.parent.name in ("boards", "models")}
    assert len(before) == 4
    assert len(after) == 2
    assert len(list((out / "results").iterdir())) == 1
    assert (out / "CNAME").exists()


def test_an_index_that_is_not_ours_is_not_overwritten(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = write_run(tmp_path / "runs", [made()]), tmp_path / "public"
    out.mkdir()
    (out / "index.html").write_text("<h1>My page</h1>")
    assert main([str(run), "--out", str(out)]) == 2
    assert "not a page of maskbench's" in capsys.readouterr().err
    assert (out / "index.html").read_text() == "<h1>My page</h1>"
    assert not (out / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "no result.json that can be shown"),
        (["runs", "--history", "nowhere"], "--history nowhere: no such history"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    write_run: WriteRun,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs", [made()])
    (tmp_path / "empty").mkdir()
    assert maskbench(["site", *arguments, "--out", "public"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_history_has_its_page_of_trends(tmp_path: Path, write_run: WriteRun) -> None:
    from bench.history.store import History
    from bench.schema.result import Origin

    run = write_run(tmp_path / "runs", [made()])
    History(tmp_path / "nightly").append([run / "jobs" / "job0" / "result.json"], Origin("0123abc" * 5, "main"), None)
    out = tmp_path / "public"
    assert main([str(run), "--out", str(out), "--history", str(tmp_path / "nightly")]) == 0
    [page] = (out / "trends").glob("*.html")
    assert "1 run" in page.read_text()
    assert f'href="trends/{page.name}"' in (out / "index.html").read_text()


def test_the_report_of_a_run_is_copied_drawn_or_left(tmp_path: Path, write_run: WriteRun) -> None:
    run, out = write_run(tmp_path / "runs" / "a", [made()]), tmp_path / "public"
    (run / "comparison.html").write_text("<p>as it was measured</p>")
    (run / "private.txt").write_text("not of the report")
    assert build_site([run], out).reports == 1
    [page] = out.glob("runs/*/report/comparison.html")
    assert "as it was measured" in page.read_text()
    assert not list(out.rglob("private.txt"))
    assert build_site([run], out, reports="none").reports == 0
    assert not page.exists()
    assert build_site([run], out, reports="draw").reports == 1
    assert "Instance segmentation, compared" in page.read_text()


def test_a_report_from_before_a_result_was_changed_is_not_copied(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = write_run(tmp_path / "runs" / "a", [made()]), tmp_path / "public"
    (run / "comparison.html").write_text("<p>as it was measured</p>")
    comparison = load([run], run)
    write_json(comparison, run / "comparison.json")
    os.utime(run / "comparison.html", (1, 1))
    assert build_site([run], out).reports == 1, "the figures decide, and not the times of a copied folder"
    changed = made()
    assert changed.memory is not None
    changed.memory.host_rss_bytes = 1_000_000_000
    write_result(changed, run / "jobs/job0/result.json")
    assert build_site([run], out).reports == 0
    [line] = capsys.readouterr().err.splitlines()
    assert "the report of a: job0 has changed since it was written" in line
    assert not list(out.rglob("report/comparison.html"))
    (run / "comparison.json").unlink()
    assert build_site([run], out).reports == 0, "without figures the times decide"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, of Playwright's own or of the system."""
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as driver:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        try:
            chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync.Error as error:
            pytest.skip(f"no browser: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


def test_a_reader_finds_a_result_and_its_file_in_the_site_without_a_server(
    tmp_path: Path, write_run: WriteRun, browser: Any
) -> None:
    rows = [made(mask_ap=0.372), made("SOLO", mask_ap=0.311, precision="fp16"), made("SOLOv2", gpu="NVIDIA T4")]
    write_run(tmp_path / "runs", rows)
    out = tmp_path / "public"
    build_site([tmp_path / "runs"], out)
    page = browser.new_page(viewport={"width": 390, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto((out / "index.html").as_uri())
    page.get_by_label("Search").fill("solo fp16")
    assert page.locator("#found li").count() == 1
    page.locator("#found a").first.click()
    assert "/models/" in page.url
    record = page.locator(".record:target")
    assert "31.1" in record.inner_text()
    assert "precision=fp16" in record.locator(".command").inner_text()
    record.get_by_role("link", name="result.json").click()
    assert json.loads(page.inner_text("body"))["config"]["precision"] == "fp16"
    page.goto(board_of(out, "on NVIDIA H200").as_uri())
    page.get_by_role("button", name="FPS model").click()
    page.get_by_label("Filter").fill("solo")
    assert page.locator("tr[data-text]:visible").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"
    assert errors == []
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for one in ("index.html", str(board_of(out, "on NVIDIA H200").relative_to(out))):
        page.goto((out / one).as_uri())
        serious = [v["id"] for v in axe.run(page).response["violations"] if v["impact"] in ("serious", "critical")]
        assert serious == [], one
    page.close()


@pytest.mark.parametrize(("asked", "field"), [("solo%20fp16", "solo fp16"), ("100%", "100%"), ("%E0%A4%A", "%E0%A4%A")])
def test_a_search_in_the_address_that_is_no_text_leaves_the_search_as_it_is(
    tmp_path: Path, write_run: WriteRun, browser: Any, asked: str, field: str
) -> None:
    write_run(tmp_path / "runs", [made(), made("SOLO", precision="fp16")])
    build_site([tmp_path / "runs"], tmp_path / "public")
    page = browser.new_page()
    page.goto((tmp_path / "public" / "index.html").as_uri() + f"#q={asked}")
    assert page.get_by_label("Search").input_value() == field
    page.get_by_label("Search").fill("solo fp16")
    assert page.locator("#found li").count() == 1
    page.close()
