"""Test the trend page and its figures on runs of literal numbers, with steps at known places."""

from __future__ import annotations

import copy
import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from literal_results import MACHINE, build_result

from bench.cli.history import main
from bench.errors import UserError
from bench.history.store import History
from bench.schema.result import Origin, write_result
from reports.page.series import read_series
from reports.page.trend import write_trend

EVIL = '<script>alert("x")</script>'

RUNS = 20

SLOWER_FROM, WORSE_FROM = 8, 12
"""The runs, counted from 0, at which Mask R-CNN becomes 10 % slower and loses 2 points."""


def _result(number: int, family: str = "Mask R-CNN", gpu: str = "NVIDIA H200", **fields):
    slower, worse = number >= SLOWER_FROM, number >= WORSE_FROM
    # Three runs of one speed are 0.5 % apart: noise whose size is known.
    factor = (1.0, 1.005, 0.995)[number % 3] * (1 / 0.9 if slower else 1.0)
    result = build_result(
        family, model_ms=[20.0 * factor, 21.0 * factor, 19.0 * factor], mask_ap=0.352 if worse else 0.372, **fields
    )
    result.machine = copy.deepcopy(MACHINE)
    result.machine["gpu"]["name"] = gpu
    result.started = f"2026-11-{number + 1:02d}T10:00:00+00:00"
    return result


def _write(folder, *results):
    for job, result in enumerate(results):
        write_result(result, folder / "jobs" / f"job{job}" / "result.json")
    return folder


@pytest.fixture(scope="module")
def history_path(tmp_path_factory):
    """Append twenty runs of Mask R-CNN and SOLOv2 on one GPU, every fifth on another, with a crash and two branches."""
    folder = tmp_path_factory.mktemp("trend")
    history = History(folder / "history.sqlite")
    for number in range(RUNS):
        other = _result(0, "SOLOv2", status="crashed", reason=EVIL) if number == 4 else _result(0, "SOLOv2")
        results = [_result(number), other]
        if number % 5 == 0:
            results.append(_result(number, gpu="NVIDIA L4"))
        branch = f"feature/{EVIL}" if number == 3 else "main"
        history.append(_write(folder / f"run{number}", *results), Origin(f"{number:02d}abcdef".ljust(40, "0"), branch))
    return history.path


@pytest.fixture(scope="module")
def trends(history_path):
    return write_trend(History(history_path), history_path.with_name("trend.html"))


def _of(trends, metric, label="Mask R-CNN", gpu="H200"):
    return next(
        t for t in trends if t.metric == metric and t.series.label.startswith(label) and gpu in t.series.setting
    )


def test_steps_are_where_they_were_put(trends):
    speed = _of(trends, "fps_model")
    assert [step.index for step in speed.steps] == [SLOWER_FROM]
    assert speed.steps[0].share == pytest.approx(-0.1, abs=0.006)
    assert speed.verdict(speed.steps[0]) == "worse"
    latency = _of(trends, "latency_ms_p50")
    assert [step.index for step in latency.steps] == [SLOWER_FROM]
    assert latency.steps[0].share == pytest.approx(1 / 0.9 - 1, abs=0.006)
    assert latency.verdict(latency.steps[0]) == "worse"
    accuracy = _of(trends, "mask_ap")
    assert [(step.index, step.before, step.after) for step in accuracy.steps] == [
        (WORSE_FROM, pytest.approx(37.2), pytest.approx(35.2))
    ]
    assert all(not _of(trends, name).steps for name in ("peak_allocated_mb", "peak_reserved_mb", "host_rss_mb"))
    assert not any(trend.steps for trend in trends if "SOLOv2" in trend.series.label)


def test_figures_are_those_of_the_report(trends):
    point = _of(trends, "fps_model").points[0]
    assert point.value == pytest.approx(3 * 1000 / 60)
    # Student's 97.5 % of two degrees of freedom, 4.303, times the standard error of 20, 21 and 19 ms: 2.484 ms.
    assert (point.low, point.high) == (pytest.approx(1000 / 22.484, rel=1e-3), pytest.approx(1000 / 17.516, rel=1e-3))
    accuracy = _of(trends, "mask_ap").points[0]
    assert (accuracy.low, accuracy.high) == (pytest.approx(35.7), pytest.approx(38.7))


def test_what_is_not_comparable_is_another_series(trends):
    series = {trend.series.label + trend.series.setting: trend.series for trend in trends}.values()
    assert sorted((len(one.measured), "L4" in one.setting) for one in series) == [(4, True), (20, False), (20, False)]
    assert len(_of(trends, "fps_model", "SOLOv2").points) == RUNS - 1
    assert not any(trend.metric == "energy_j_per_image" for trend in trends)


def test_the_page_escapes_and_needs_nothing_else(history_path, trends):
    text = history_path.with_name("trend.html").read_text()
    assert EVIL not in text
    assert "feature/&lt;script&gt;" in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert "<script" not in text
    assert "crashed" in text


def test_the_charts_hold_every_run_with_its_commit(history_path, trends):
    text = history_path.with_name("trend.html").read_text()
    chart = ElementTree.fromstring(next(re.finditer(r"<svg.*?</svg>", text, re.DOTALL)).group())
    titles = [title.text for title in chart.iter("title")]
    assert len(list(chart.iter("circle"))) == 2 * RUNS
    assert (
        f"50.00 images/s [44.48, 57.09]\ncommit {'00abcdef'.ljust(40, '0')}\nmain, 2026-11-01 10:00 UTC, run 1"
        in titles
    )
    assert f"-10.0 % at main@{'08abcdef'.ljust(10, '0')}" in titles
    places = [float(circle.attrib["cx"]) for circle in chart.iter("circle")][::2]
    assert places == sorted(places)
    width, height = (float(side) for side in chart.attrib["viewBox"].split()[2:])
    for circle in chart.iter("circle"):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height


def test_branch_model_and_number_of_runs(history_path, tmp_path):
    history = History(history_path)
    main_only = write_trend(history, tmp_path / "a.html", branch="main")
    assert len(_of(main_only, "fps_model").points) == RUNS - 1
    assert "19 runs · main · 2026-11-01 to 2026-11-" in (tmp_path / "a.html").read_text()
    one = write_trend(history, tmp_path / "b.html", model="solov2_torchvision", last=10)
    assert {trend.series.label for trend in one} == {"SOLOv2 R50-FPN · torchvision"}
    assert len(one[0].points) == 10
    with pytest.raises(UserError, match=r"did you mean solov2_torchvision or"):
        write_trend(history, tmp_path / "c.html", model="solov2_torchvison")
    with pytest.raises(UserError, match="no run of the branch 'mian'"):
        write_trend(history, tmp_path / "c.html", branch="mian")


def test_a_result_in_two_runs_of_one_commit_is_one_point(tmp_path):
    history = History(tmp_path / "h")
    folder = _write(tmp_path / "run", _result(0))
    history.append(folder, Origin("1" * 40, "main"))
    write_result(_result(0, "SOLOv2"), folder / "jobs" / "job1" / "result.json")
    history.append(folder, Origin("1" * 40, "main"))
    assert [len(series.measured) for series in read_series(history, history.runs())] == [1, 1]


def test_jobs_of_one_run_that_differ_in_their_weights_are_two_series(tmp_path):
    history = History(tmp_path / "h")
    for number in range(2):
        results = [_result(number, weights=weights) for weights in ("a.pth", "b.pth")]
        history.append(_write(tmp_path / f"run{number}", *results), Origin(str(number) * 40, "main"))
    series = read_series(history, history.runs())
    assert [len(one.measured) for one in series] == [2, 2]
    assert [one.label.rpartition(" · ")[2] for one in series] == ["a.pth", "b.pth"]


def test_the_folder_of_the_annotations_makes_no_new_series(tmp_path):
    history = History(tmp_path / "h")
    for number in range(2):
        data = {"annotations": f"/checkout{number}/instances.json"}
        history.append(_write(tmp_path / f"run{number}", _result(number, dataset=data)), Origin(str(number) * 40))
    assert [len(one.measured) for one in read_series(history, history.runs())] == [2]


def test_commands(history_path, tmp_path, capsys):
    assert main(["trend", str(history_path), "--out", str(tmp_path / "sub" / "t.html")]) == 0
    out = capsys.readouterr().out
    assert "fps_model -10.0 % at main@08abcdef00 (run 9), worse" in out
    assert (tmp_path / "sub" / "t.html").exists()
    assert main(["export", str(history_path), "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    first = next(row for row in rows if row["metric"] == "fps_model" and row["model"].startswith("Mask R-CNN"))
    assert (first["run"], first["branch"], first["value"]) == ("1", "main", "50.0")
    assert float(first["low"]) < 50.0 < float(first["high"])
    assert first["commit"] == "00abcdef".ljust(40, "0")
    assert not any(row["value"] == "" for row in rows)
    (tmp_path / "file").touch()
    assert main(["export", str(history_path), "--csv", str(tmp_path / "file" / "x.csv")]) == 2
    assert main(["trend", str(history_path), "--out", str(tmp_path / "file" / "t.html")]) == 2


def test_the_page_in_a_browser(browser, history_path, trends):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto(history_path.with_name("trend.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert problems == []
    page.close()


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (2, "cannot be told yet: no series has more than 2 runs, and it takes 8"),
        (7, "cannot be told yet: no series has more than 7 runs, and it takes 8"),
    ],
)
def test_runs_too_few_to_tell_are_not_called_steady(history_path, tmp_path, last, said):
    write_trend(History(history_path), tmp_path / "few.html", last=last)
    page = (tmp_path / "few.html").read_text()
    assert said in page
    assert "No figure has stepped" not in page


def test_a_long_steady_series_has_not_stepped(history_path, tmp_path):
    write_trend(History(history_path), tmp_path / "steady.html", model="solov2_torchvision")
    page = (tmp_path / "steady.html").read_text()
    assert "No figure has stepped to another level" in page
    assert "cannot be told" not in page
