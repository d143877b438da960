"""Tests the words of the command, and its name in usage lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("word", COMMANDS)
@pytest.mark.parametrize(
    ("typed", "named"), [("/usr/bin/maskbench", "maskbench"), ("run_bench.py", "python run_bench.py")]
)
def test_usage(
    word: str, typed: str, named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [typed])
    with pytest.raises(SystemExit) as ended:
        main([word, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {named} {word} [-h]")


def test_the_help_names_the_command_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/maskbench"])
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert "usage: maskbench [KEY=VALUE ...]" in shown
    assert "  maskbench check FILE --images DIR\n" in shown
    assert "python run_bench.py" not in shown


def test_check_takes_the_file_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not ``check check FILE``; and the exit status tells of a set with an error."""
    images = [{"id": 1, "file_name": "1.png", "height": 4, "width": 5}]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(coco))
    assert main(["check", str(path)]) == 0
    assert "1 images (1 without annotations), 5 to 5 pixels wide and 4 to 4 high" in capsys.readouterr().out
    path.write_text(json.dumps(coco | {"images": images * 2}))
    assert main(["check", str(path)]) == 2


def test_a_mistyped_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprot", "runs/mine"]) == 2
    told = (
        "maskbench: reprot: no such command; did you mean report or export? (what is measured is given as KEY=VALUE)\n"
    )
    assert capsys.readouterr().err == told


def test_help_imports_only_what_it_needs() -> None:
    """Imports take most of the time until the command answers."""
    heavy = {"torch", "numpy", "pandas", "rich", "psutil", "filelock", "sqlalchemy", "scipy", "PIL", "hotcoco"}
    code = f"import atexit, sys; atexit.register(lambda: print(sorted({heavy!r} & set(sys.modules))))"
    code += "; import run_bench; run_bench.main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_error_of_our_own_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 is the status of a row that failed."""

    def broken(_: object) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("bench.cli.run.run", broken)
    assert main(["model=custom"]) == 70
    assert capsys.readouterr().err.splitlines()[-1] == "ZeroDivisionError: a bug"
