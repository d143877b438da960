"""Test that a second report draws only what has changed, and never shows an old picture for new figures."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from literal_results import build_result, with_details
from masks_study import write_masks_study

import reports
from bench.errors import UserError
from bench.schema.parts.accuracy import ImageFaults
from bench.schema.result import read_result, write_result
from reports.drawing import keys
from reports.drawing.kept import LIST, Kept
from reports.drawing.process import DrawingProcess
from reports.parts import PartFailedError
from reports.plots.picture import Picture


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A run of three models with masks, of which the first has a page with its worst images."""
    run = write_masks_study(tmp_path_factory.mktemp("kept"), 3, images=4)
    path = run / "jobs/job0/result.json"
    result = with_details(read_result(path))
    result.accuracy.worst_images = {"missed": [ImageFaults(1, 2, 1, 0.8)], "false": [], "masks": []}
    write_result(result, path)
    reports.build([run], run / "report")
    return run


@pytest.fixture
def copy(study, tmp_path) -> Path:
    """The run with its report in another place, where nothing is drawn again either."""
    reports.build([study], study / "report")
    return Path(shutil.copytree(study, tmp_path / "run"))


def _marked(out: Path) -> dict[str, int]:
    """Set the time of change of every picture back, so that one that is written again can be told from the others."""
    files = [path for folder in ("plots", "models") for path in (out / folder).iterdir() if path.name != "drawn.json"]
    for path in files:
        os.utime(path, ns=(10**18, 10**18))
    return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in files}


def _drawn_again(run: Path) -> set[str]:
    before = _marked(run / "report")
    reports.build([run], run / "report")
    return {name for name in before if (run / "report" / name).stat().st_mtime_ns != before[name]}


def test_nothing_is_drawn_again_where_nothing_has_changed(study):
    page = (study / "report/comparison.html").read_bytes()
    assert _drawn_again(study) == set()
    assert (study / "report/comparison.html").read_bytes() == page


def test_one_figure_draws_its_pictures_again_and_no_other(study):
    path = study / "jobs/job1/result.json"
    result = read_result(path)
    result.speed.model.latency_ms[0] += 1
    write_result(result, path)
    again = _drawn_again(study)
    pages = {name for name in again if name.startswith("models/")}
    assert pages == {"models/model-1-r50-fpn-torchvision.html"}
    assert "plots/latency.png" in again
    # Its masks are what they were.
    assert not {name for name in again if "panel" in name or "masks" in name}


def test_other_masks_draw_panels_viewer_and_the_page_again(study):
    path = study / "jobs/job0/predictions.json"
    path.write_text(path.read_text().replace('"score": 0.', '"score": 0.0'))
    again = _drawn_again(study)
    assert "plots/masks_shapes.js" in again
    assert "models/model-0-r50-fpn-torchvision.html" in again
    assert {name for name in again if "panel" in name}
    assert "plots/latency.png" not in again
    assert "models/model-2-r50-fpn-torchvision.html" not in again


@pytest.mark.parametrize("damage", ["removed", "edited", "a link"])
def test_a_picture_that_somebody_has_changed_is_drawn_again(study, tmp_path, damage):
    path = study / "report/plots/memory.png"
    right = path.read_bytes()
    if damage == "edited":
        path.write_bytes(right[:-20] + bytes(20))
    else:
        path.unlink()
    if damage == "a link":
        other = tmp_path / "other.png"
        other.write_bytes(right)
        path.symlink_to(other)
    reports.build([study], study / "report")
    assert path.read_bytes() == right
    assert not path.is_symlink()


def test_a_report_that_lies_elsewhere_is_the_same(study, tmp_path):
    """Kept pictures are those that would be drawn."""
    reports.build([study], study / "report")
    reports.build([study], tmp_path / "other")
    for path in (tmp_path / "other/plots").glob("*.png"):
        assert path.read_bytes() == (study / "report/plots" / path.name).read_bytes()
    assert (tmp_path / "other/plots/masks_shapes.js").read_bytes() == (
        study / "report/plots/masks_shapes.js"
    ).read_bytes()


def test_a_row_that_is_gone_takes_its_page_along(copy):
    out = copy / "report"
    assert (out / "models/model-2-r50-fpn-torchvision.html").exists()
    shutil.rmtree(copy / "jobs/job2")
    reports.build([copy], out)
    assert not (out / "models/model-2-r50-fpn-torchvision.html").exists()
    assert "Model 2" not in (out / "plots/masks_shapes.js").read_text()


def test_what_could_not_be_drawn_is_not_lost_and_is_tried_again(copy, monkeypatch):
    """A page without images is written in the place of an earlier one with them, and is not kept for the next time."""
    out, name = copy / "report", "models/model-0-r50-fpn-torchvision.html"
    with_images = (out / name).read_bytes()
    (out / name).write_bytes(with_images + b"edited")
    monkeypatch.setattr(DrawingProcess, "ask", _without_images(DrawingProcess.ask))
    reports.build([copy], out)
    assert "The images could not be drawn." in (out / name).read_text()
    monkeypatch.undo()
    reports.build([copy], out)
    assert (out / name).read_bytes() == with_images


def _without_images(ask):
    def fails(self, method, *arguments):
        if method == "pages":
            raise PartFailedError("no images today")
        return ask(self, method, *arguments)

    return fails


def test_a_report_that_cannot_begin_leaves_the_earlier_one(study, tmp_path):
    out = study / "report"
    before = sorted((out / "plots").iterdir())
    with pytest.raises(UserError):
        reports.build([tmp_path / "absent"], out)
    assert sorted((out / "plots").iterdir()) == before


def test_the_list_holds_no_path_of_this_machine(study, tmp_path):
    assert str(study) not in (study / "report" / LIST).read_text()


def _noted(out: Path) -> Picture:
    (out / "plots").mkdir(exist_ok=True)
    picture = Picture(out.resolve() / "plots/a.png", "A", "words")
    picture.path.write_bytes(b"a picture")
    with Kept(out) as kept:
        kept.note("plots", "plots/a.png", "key", [picture])
    return picture


def test_what_is_noted_is_found_again_by_its_key_alone(tmp_path):
    picture = _noted(tmp_path)
    with Kept(tmp_path) as kept:
        assert kept.find("plots", "plots/b.png", "key") is None
        assert kept.find("plots", "plots/a.png", "key") == [picture]
    assert picture.path.exists()
    with Kept(tmp_path) as kept:
        assert kept.find("plots", "plots/a.png", "key") == [picture]


def test_a_picture_is_kept_with_its_other_forms(tmp_path):
    (tmp_path / "plots").mkdir()
    pdf = tmp_path / "plots/a.pdf"
    pdf.write_bytes(b"for a paper")
    picture = _noted(tmp_path)
    with Kept(tmp_path) as kept:
        assert kept.files() == {"plots/a.png", "plots/a.pdf"}
        assert kept.find("plots", "plots/a.png", "key") == [picture]
    pdf.write_bytes(b"for another paper")
    with Kept(tmp_path) as kept:
        assert kept.find("plots", "plots/a.png", "key") is None


@pytest.mark.parametrize("key", ["other key", None])
def test_what_is_to_be_drawn_again_is_gone_at_once(tmp_path, key):
    """Whatever becomes of the drawing, the old picture does not stand beside new figures."""
    picture = _noted(tmp_path)
    with Kept(tmp_path) as kept:
        assert kept.find("plots", "plots/a.png", key) is None
        assert not picture.path.exists()


@pytest.mark.parametrize("path", ["../secret.png", "plots/../../secret.png", "/etc/hostname", "plots", "other/a.png"])
def test_a_list_cannot_name_files_elsewhere(tmp_path, path):
    """Anybody may have written it; a page would show the file, and the next report would remove it."""
    out = tmp_path / "out"
    out.mkdir()
    _noted(out)
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"a picture")
    text = (out / LIST).read_text()
    (out / LIST).write_text(
        text.replace('"plots/a.png":', json.dumps(path) + ":").replace(
            '"path": "plots/a.png"', f'"path": {json.dumps(path)}'
        )
    )
    with Kept(out) as kept:
        assert kept.files() == set()
    assert secret.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_a_list_that_is_none_draws_everything(tmp_path, content):
    _noted(tmp_path)
    (tmp_path / LIST).write_bytes(content)
    with Kept(tmp_path) as kept:
        assert kept.find("plots", "plots/a.png", "key") is None


def test_a_report_that_is_broken_off_leaves_no_list_and_no_old_picture(tmp_path):
    picture = _noted(tmp_path)
    with pytest.raises(KeyboardInterrupt), Kept(tmp_path):
        raise KeyboardInterrupt
    assert not picture.path.exists()
    assert not (tmp_path / LIST).exists()


def test_a_key_follows_the_code_and_every_part(monkeypatch):
    before = keys.key("a", 1)
    assert before == keys.key("a", 1)
    assert before != keys.key("a", 2)
    monkeypatch.setattr(keys, "code", lambda: "other code")
    assert before != keys.key("a", 1)


def test_a_row_differs_by_any_of_its_samples(tmp_path):
    from bench.schema.row import Row

    one, other = build_result(), build_result()
    same = keys.of_row(Row(Path("a"), one)), keys.of_row(Row(Path("a"), other))
    assert same[0] == same[1]
    other.speed.model.latency_ms[-1] += 1e-9
    assert keys.of_row(Row(Path("a"), other)) != same[0]


def test_a_large_file_is_known_by_its_state(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "MOST_HASHED_BYTES", 3)
    path = tmp_path / "large"
    path.write_bytes(b"large")
    assert keys.of_file(path) != keys.of_file(path)  # it may be changed within this step of the clock
    monkeypatch.setattr(keys.time, "time", lambda: 2e9)
    before = keys.of_file(path)
    assert before == keys.of_file(path)
    path.write_bytes(b"other")
    assert keys.of_file(path) != before
    assert keys.of_file(tmp_path / "absent") is None
