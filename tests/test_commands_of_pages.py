"""Test that each page of docs/ says first what it is for, with a command that works, and that its links lead on."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result

from bench.cli.main import main
from bench.errors import UserError, absent_library, install_sections
from bench.schema.result import write_result
from reports.__main__ import main as reports_main
from run_bench import compose

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "ci" / "README.md",
    ROOT / "docs" / "results" / "README.md",
]
PROGRAMS = ("python", "maskbench", "make")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands_of(page: Path) -> list[tuple[int, str]]:
    """Give each command of a page that stands in a block of its own, whole, with the number of its line."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("    ") and line.split()[0] in PROGRAMS and not lines[number - 1].endswith("\\"):
            command, at = line.strip(), number
            while command.endswith("\\"):
                at += 1
                command = command[:-1] + lines[at].strip()
            found.append((number, re.sub(r"\s{2,}# .*", "", command)))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bright_squares: list[str]) -> Path:
    """Make a folder of a user's: a data set, results, and finished runs of the names that the pages have."""
    folder = tmp_path_factory.mktemp("user")
    given = dict(argument.split("=", 1) for argument in bright_squares if argument.startswith("dataset."))
    shutil.copy(given["dataset.annotations"], folder / "annotations.json")
    os.symlink(given["dataset.images"], folder / "images")
    content = json.loads((folder / "annotations.json").read_text())
    results = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "segmentation": a["segmentation"], "score": 0.9}
        for a in content["annotations"]
    ]
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    for each in results:
        if isinstance(each["segmentation"], list):
            each["segmentation"] = _rle(each["segmentation"], *sizes[each["image_id"]])
    (folder / "results.json").write_text(json.dumps(results))
    for name in ("mine", "a", "b", "first", "second"):
        write_result(
            build_result(model_ms=[32.0, 33.0, 34.0] * 12), folder / "runs" / name / "jobs" / "one" / "result.json"
        )
    return folder


def _rle(polygons: list[list[float]], height: int, width: int) -> dict[str, Any]:
    from pycocotools import mask

    made = mask.merge(mask.frPyObjects(polygons, height, width))
    return {"size": made["size"], "counts": made["counts"].decode()}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_opens_with_what_it_is_for_and_a_command_that_works(
    page: Path, folder: Path, run_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    title, blank, opening = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert blank == ""
    assert opening.startswith("This page ")
    number, command = commands_of(page)[0]
    assert number < 25
    monkeypatch.chdir(folder)
    works(command, run_command)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name_of)
def test_every_question_to_the_results_is_answered(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for _, command in commands_of(page):
        words = shlex.split(command)
        if words[:3] == ["python", "-m", "reports"] and {"--where", "--again"} & set(words):
            # 0 and 1 are the answers yes and no; 2 is a question that cannot be read.
            assert reports_main(words[3:]) in (0, 1), command


def test_the_first_command_on_own_data_needs_neither_weights_nor_training(
    folder: Path, run_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own data")[1]
    [first] = re.findall(r"^    (.*)$", text, re.MULTILINE)[:1]
    assert first.startswith("python run_bench.py model=replay")
    monkeypatch.chdir(folder)
    works(first, run_command)


def works(command: str, run_command: Callable[..., Any]) -> None:
    """Run what a command does, where it is quick; of one that trains or measures, check that it can be composed."""
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[:3] == ["python", "-m", "pytest"]:
        assert any((place / words[3]).exists() for place in (ROOT, ROOT / "docs" / "adapter"))
    elif words[:3] == ["python", "-m", "reports"]:
        assert reports_main(words[3:]) == 0
    elif words[:2] == ["python", "run_bench.py"] and "model=replay" in words:
        here = Path.cwd()
        there = [
            word.replace("=annotations", f"={here}/annotations").replace("=results", f"={here}/results")
            for word in words
        ]
        done = run_command(*there[2:], f"out={here / 'runs' / 'replayed'}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert " 100.0" in done.stdout, "the results are the annotations themselves"
    elif words[:2] == ["python", "run_bench.py"] and "--help" in words:
        with pytest.raises(SystemExit):
            main(words[2:])
    elif words[:2] == ["python", "run_bench.py"]:
        assert compose(words[2:])
    else:
        word = (
            words[1] if words[0] == "maskbench" else {"bench.cli.dataset": "", "bench.cli.status": "status"}[words[2]]
        )
        assert main([word, *words[2 if words[0] == "maskbench" else 3 :]] if word else words[3:]) == 0


def anchors_of(page: Path) -> list[str]:
    """Give the names that a link to a place of a page may have, by GitHub's rules."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r'<a id="([^"]+)"', text)
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head).lower().replace(" ", "-") for head in heads)
    return named + [re.sub(r"[^\w-]", "", head) for head in plain]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "weights" / "README.md", *PAGES], ids=name_of)
def test_links_lead_to_a_page_and_a_place(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, place = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        assert not place or place in anchors_of(there), target


def test_every_message_of_a_missing_library_leads_to_one_place() -> None:
    anchors = anchors_of(ROOT / "docs" / "install.md")
    assert sorted(anchors) == sorted(set(anchors)), "a place has one name, and a name one place"
    assert set(anchors) >= {*install_sections(), "other"}
    assert len(install_sections()) > 10
    for module in (*install_sections(), "timm", "my_package.layers"):
        told = absent_library(ModuleNotFoundError(f"No module named {module!r}", name=module))
        assert told.rpartition("#")[2] in anchors, told


def test_a_question_that_cannot_be_read_would_be_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert reports_main(["runs/mine", "--where", "fps_modle >= 5", "--best", "mask_ap"]) == 2
    with pytest.raises(UserError):
        compose(["model=no_such_model"])
