"""Tests of where the image files of a set are found: each rule, what it must not find, and the causes that are told."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from bench.data import names as rooms
from bench.data.findings import Findings
from bench.data.names import absence, locate, publishable

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "été ñandú.jpg") for form in ("NFC", "NFD"))


def put(folder: Path, *files: str) -> Path:
    """Make empty files in ``folder``/images, which is given."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for name in files:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    return images


def found(
    images: Path | None, *names: Any, allow_outside: bool = False
) -> tuple[list[str], list[str], list[tuple[str, int]]]:
    """The paths from the folder, the lines of the problems, and the name and count of each repair."""
    entries = [name if isinstance(name, dict) else {"file_name": name} for name in names]
    findings = Findings()
    paths = locate([{"id": i, **e} for i, e in enumerate(entries, 1)], images, allow_outside, findings)
    assert len(paths) == len(names)
    missing = [i for i, path in enumerate(paths, 1) if images and not os.path.exists(path)]
    if missing and not findings.problems():
        written = [entry.get("file_name") or entry.get("coco_url") for entry in entries]
        for i in missing:
            findings.problem(absence(written, images), f"image {i}: {written[i - 1]!r}")
    shown = [p.relative_to(images).as_posix() if images and p.is_relative_to(images) else str(p) for p in paths]
    problems = [re.sub("^1 images", "1 image", problem.line()) for problem in findings.problems()]
    return shown, problems, [(repair.kind.name, repair.count) for repair in findings.repairs()]


@pytest.mark.parametrize(
    ("files", "names", "expected", "kind"),
    [
        (["a.jpg", "b/c.jpg"], ["a.jpg", "b/c.jpg"], ["a.jpg", "b/c.jpg"], None),
        (["a%20b.jpg", "c\\d.jpg"], ["a%20b.jpg", "c\\d.jpg"], ["a%20b.jpg", "c\\d.jpg"], None),
        (["b/c.jpg"], ["./b//x/../c.jpg"], ["b/c.jpg"], None),
        (["up/4/a.jpg", "a.jpg"], ["up\\4\\a.jpg", "a.jpg"], ["up/4/a.jpg", "a.jpg"], ("name_slashes", 1)),
        ([DECOMPOSED, "a.jpg"], [COMPOSED, "a.jpg"], [DECOMPOSED, "a.jpg"], ("name_unicode", 1)),
        ([COMPOSED], [DECOMPOSED], [COMPOSED], ("name_unicode", 1)),
        ([f"x/{DECOMPOSED}"], [f"x\\{COMPOSED}"], [f"x/{DECOMPOSED}"], ("name_unicode", 1)),
        (["a b.jpg"], ["a%20b.jpg"], ["a b.jpg"], ("name_url", 1)),
        (["x/a.jpg"], ["https://host.example/x/a.jpg?sig=1%2F2&t=3"], ["x/a.jpg"], ("name_url", 1)),
        (["key/a+b.jpg"], ["s3://bucket/key/a+b.jpg"], ["key/a+b.jpg"], ("name_url", 1)),
        (["x/a b.jpg"], ["/data/local-files/?d=x/a%20b.jpg"], ["x/a b.jpg"], ("name_url", 1)),
        ([DECOMPOSED], ["https://h.example/" + COMPOSED], [DECOMPOSED], ("name_url", 1)),
        (["a.jpg", "up/a.jpg"], ["images/a.jpg", "images/up/a.jpg"], ["a.jpg", "up/a.jpg"], ("name_folders", 2)),
        (["a.jpg", "up/a.jpg"], ["/data/local-files/?d=images/a.jpg"], ["a.jpg"], ("name_folders", 1)),
        (["t/a.jpg"], ["C:\\Users\\me\\images\\t\\a.jpg"], ["t/a.jpg"], ("name_folders", 1)),
        (["t/a.jpg"], ["file:///home/me/images/t/a.jpg"], ["t/a.jpg"], ("name_folders", 1)),
        (["images/a.jpg"], ["images/images/a.jpg"], ["images/a.jpg"], ("name_folders", 1)),
        (["a.jpg", "b.jpg"], ["up/4/a.jpg", "up/5/b.jpg"], ["a.jpg", "b.jpg"], ("name_bare", 2)),
        (["up/4/a.jpg", "up/5/b.jpg"], ["a.jpg", "b.jpg"], ["up/4/a.jpg", "up/5/b.jpg"], ("name_bare", 2)),
        (["x/a b.jpg"], ["https://host.example/bucket/a%20b.jpg"], ["x/a b.jpg"], ("name_bare", 1)),
        (["a.jpg"], ["/home/me/pictures/a.jpg"], ["a.jpg"], ("name_bare", 1)),
        (["a#1.jpg", "50%.jpg"], ["x\\a#1.jpg", "x\\50%.jpg"], ["a#1.jpg", "50%.jpg"], ("name_bare", 2)),
    ],
)
def test_files_are_found_by_the_first_rule_that_finds_all(
    tmp_path: Path, files: list[str], names: list[str], expected: list[str], kind: tuple[str, int] | None
) -> None:
    images = put(tmp_path, *files)
    assert found(images, *names) == (expected, [], [kind] if kind else [])


def test_a_url_stands_in_where_there_is_no_file_name(tmp_path: Path) -> None:
    """As in LVIS, whose sets are taken from two folders of COCO."""
    images = put(tmp_path, "val2017/139.jpg", "train2017/9.jpg", "b c.jpg", "d.jpg")
    entries = [
        {"coco_url": "http://images.example/val2017/139.jpg"},
        {"coco_url": "http://images.example/train2017/9.jpg", "file_name": None},
        {"coco_url": "http://images.example/other.jpg", "file_name": "d.jpg"},
    ]
    expected = ["val2017/139.jpg", "train2017/9.jpg", "d.jpg"]
    assert found(images, *entries) == (expected, [], [])
    assert found(images / "val2017", entries[0]) == (["139.jpg"], [], [])
    assert found(None, *entries) == (["139.jpg", "9.jpg", "d.jpg"], [], [])
    findings = Findings()
    locate(entries, images, False, findings)
    assert [(note.kind.name, note.count) for note in findings.notes()] == [("name_from_url", 2)]
    flickr = {"file_name": "", "flickr_url": "http://farm.example/1/b%20c.jpg"}
    assert found(images, flickr)[0] == ["b c.jpg"]


def test_the_folder_is_not_walked_where_names_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = put(tmp_path, "a.jpg", "up/b.jpg")

    def walk(*_: Any, **__: Any) -> None:
        raise AssertionError("the folder is walked")

    monkeypatch.setattr(os, "walk", walk)
    assert found(images, "a.jpg", "up/b.jpg")[0] == ["a.jpg", "up/b.jpg"]
    assert found(images, "a.jpg", "up\\b.jpg")[0] == ["a.jpg", "up/b.jpg"]
    with pytest.raises(AssertionError, match="is walked"):
        found(images, "a.jpg", "c.jpg")


def test_the_folder_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = put(tmp_path, *(f"{n % 7}/{n}.jpg" for n in range(500)))
    walks, walk = [], os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: walks.append(a) or walk(*a, **k))
    start = time.perf_counter()
    paths, problems, repairs = found(images, *(f"{n}.jpg" for n in range(500)))
    assert (paths[499], problems, repairs) == ("2/499.jpg", [], [("name_bare", 500)])
    assert len(walks) == 1
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("files", "names", "cause"),
    [
        (["a.jpg", "b.jpg"], ["a.jpg", "b.jpg", "c.jpg"], "2 of 3 are in {}; it has files as "),
        (["a.jpg"], ["A.JPG"], "0 of 1 are in {}; names and files differ in capitals: 'A.JPG' and 'a.jpg'"),
        (["a.png"], ["a.jpg"], "0 of 1 are in {}; names and files differ in their ending: 'a.jpg' and 'a.png'"),
        ([], ["a.jpg"], "0 of 1 are in {}; there is no file in that folder; dataset.images must be the folder"),
        (["x/a.jpg", "y/a.jpg"], ["z/a.jpg"], "several files have the bare name: '"),
        (
            ["up/a.jpg"],
            ["up\\a.jpg", "up\\b.jpg"],
            "1 of 2 are in {} by another rule (file names with backslashes: read",
        ),
    ],
)
def test_what_is_missing_is_told_with_its_cause(tmp_path: Path, files: list[str], names: list[str], cause: str) -> None:
    images = put(tmp_path, *files)
    _, (problem,), repairs = found(images, *names)
    assert problem.startswith("1 image whose file is absent: ")
    assert cause.format(images) in problem
    assert problem.endswith(f"(image {len(names)}: {names[-1]!r})")
    assert repairs == []


def test_two_names_never_lead_to_one_file(tmp_path: Path) -> None:
    """A set of two folders, of which one was copied: half of the images would be taken for the other half."""
    images = put(tmp_path, "val/1.jpg", "val/2.jpg")
    _, (problem,), _ = found(images, "val/1.jpg", "train/1.jpg")
    assert problem.startswith("1 image whose file is absent: 1 of 2 are in")
    _, (problem,), _ = found(images, "train/1.jpg", "test/1.jpg")
    assert problem.startswith("2 images whose file is absent: 0 of 2 are in")
    images = put(tmp_path, "x/a.jpg")
    _, (problem,), _ = found(images, "https://h.example/x/a.jpg?v=1", "https://h.example/x/a.jpg?v=2")
    assert problem.startswith("2 images whose file is absent")
    # One file that two entries name alike is what the file says.
    assert found(images, "x\\a.jpg", "x\\a.jpg", "x/a.jpg") == (["x/a.jpg"] * 3, [], [("name_slashes", 2)])


def test_a_bare_name_is_not_looked_for_where_its_folder_is_there_without_it(tmp_path: Path) -> None:
    images = put(tmp_path, "train/1.jpg", "val/2.jpg")
    _, (problem,), _ = found(images, "train/1.jpg", "train/2.jpg")
    assert "1 of 2 are in" in problem
    assert "'train/2.jpg' may be 'val/2.jpg', but not all names can be read so" in problem


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../secret.jpg", "x/../../secret.jpg", "file:///etc/hostname", "%2e%2e/secret.jpg"]
)
def test_what_lies_outside_is_refused_with_its_key_and_never_looked_at(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.jpg").touch()
    images = put(tmp_path, "a.jpg")
    paths, (problem,), _ = found(images, "a.jpg", name)
    if name.startswith(("file:", "%")):  # as written it would lie inside
        assert problem.startswith("1 image whose file is absent")
    else:
        assert problem.startswith("1 image outside the image folder: if you trust this file")
        assert f"give dataset.allow_outside=true (image 2: file_name {name!r})" in problem
    assert all((images / path).resolve().is_relative_to(images.resolve()) for path in paths)


def test_what_lies_outside_is_found_where_that_is_allowed_or_inside_by_a_rule(tmp_path: Path) -> None:
    outside = tmp_path / "secret.jpg"
    outside.touch()
    images = put(tmp_path, "a.jpg")
    for name in (str(outside), "../secret.jpg"):
        (path, _), problems, repairs = found(images, name, "a.jpg", allow_outside=True)
        assert (problems, repairs) == ([], [])
        assert (images / path).samefile(outside)
    assert found(images, str(images / "a.jpg")) == (["a.jpg"], [], [("name_folders", 1)])


def test_links_are_followed_and_no_folder_is_entered_twice(tmp_path: Path) -> None:
    images, elsewhere = put(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.jpg").touch()
    (images / "linked").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(images)
    (images / "again").symlink_to(elsewhere)
    paths, problems, repairs = found(images, "a.jpg")
    assert (problems, repairs) == ([], [("name_bare", 1)])
    assert (images / paths[0]).samefile(elsewhere / "a.jpg")
    # "linked/.." is the folder itself, whatever the link leads to.
    (tmp_path / "b.jpg").touch()
    assert found(images, "linked/../b.jpg")[1] != []


@pytest.mark.parametrize("name", [None, "", 7, ["a.jpg"], "a\0.jpg", "\udfff.jpg", "x" * 5000])
def test_what_can_be_no_name_is_a_problem_and_nothing_follows_from_it(tmp_path: Path, name: object) -> None:
    images = put(tmp_path, "a.jpg")
    for folder in (images, None):
        _, (problem,), repairs = found(folder, "a.jpg", {"file_name": name})
        assert problem.startswith("1 image without a usable file_name: must be a path")
        assert repairs == []
    assert found(images, {"coco_url": 7})[1] != []
    assert found(images, "x" * 300)[1] != []
    assert found(images, {"file_name": "http://[bad/z.jpg"})[1] != []


def test_without_a_folder_paths_are_bare_names(tmp_path: Path) -> None:
    paths, problems, repairs = found(
        None, "a.jpg", "x\\b.jpg", "/etc/c.jpg", "../d.jpg", "https://h.example/e.jpg?x=1", ".."
    )
    assert paths == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", ".."]
    assert (problems, repairs) == ([], [])


def test_a_folder_of_very_many_files_is_not_looked_through_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MOST_FILES", 10)
    images = put(tmp_path, *(f"{n}.jpg" for n in range(30)))
    assert found(images, *(f"{n}.jpg" for n in range(30)))[1] == []
    _, (problem,), _ = found(images, "x.gif")
    assert "it has more than 10 files, of which no more were looked at" in problem


CASE = Path(__file__).resolve().parents[2] / ".." / "shared" / "cases" / "data" / "c08_file_names"


@pytest.mark.skipif(not CASE.is_dir(), reason=f"{CASE} is absent")
@pytest.mark.parametrize(
    ("annotations", "kind"),
    [
        ("annotations.json", "name_slashes"),
        ("annotations_unicode.json", None),
        ("annotations_nfc.json", "name_unicode"),
        ("annotations_labelstudio_url.json", "name_folders"),
        ("annotations_subfolder.json", None),
    ],
)
def test_names_as_other_tools_write_them(annotations: str, kind: str | None) -> None:
    import json

    entries = json.loads((CASE / annotations).read_text())["images"]
    findings = Findings()
    paths = locate(entries, CASE / "images", False, findings)
    assert list(findings.problems()) == []
    assert [repair.kind.name for repair in findings.repairs()] == ([kind] if kind else [])
    assert all(path.is_file() for path in paths)
    assert len(set(paths)) == 4


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("train/a.jpg", "train/a.jpg"),
        ("/home/me/a.jpg", ".../a.jpg"),
        (r"C:\Users\me\a.jpg", ".../a.jpg"),
        ("file:///home/me/a.jpg", ".../a.jpg"),
        ("~/a.jpg", ".../a.jpg"),
    ],
)
def test_a_note_tells_no_folder_of_a_machine(name: str, shown: str) -> None:
    assert publishable(name) == shown


def test_a_file_in_another_folder_is_another_file(tmp_path: Path) -> None:
    """train/0.jpg was read as val/0.jpg, which is another picture of the same size."""
    images = put(tmp_path, "val/0.jpg", "val/1.jpg")
    _, problems, repairs = found(images, "train/0.jpg", "train/1.jpg")
    assert repairs == []
    assert "2 images whose file is absent" in problems[0]
    _, problems, repairs = found(images, "data/val/0.jpg", "data/val/1.jpg")
    assert (problems, repairs) == ([], [("name_bare", 2)])


def test_many_names_take_no_time_by_any_rule(tmp_path: Path) -> None:
    """20,000 names with backslashes took 58 s: every one of them was counted for each of them."""
    count = 4000
    images = put(tmp_path, *(f"{n}.jpg" for n in range(count)))
    began = time.process_time()
    _, problems, repairs = found(images, *(rf"C:\data\images\{n}.jpg" for n in range(count)))
    assert (problems, [number for _, number in repairs]) == ([], [count])
    assert time.process_time() - began < 3
