"""Test that processes of tests find packages that come through ``PYTHONPATH``, as on a machine without an install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from python_path import ROOT, command_environment, python_path

TESTS = ROOT / "tests"
SETS_IT = re.compile(r"""["']PYTHONPATH["'](?:\s*:|\s*,|\]\s*=)(.*)""")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on ``PYTHONPATH`` with a package that no other folder has."""
    (tmp_path / "only_there.py").write_text("NAME = 'found'\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), str(ROOT)]))
    return tmp_path


def test_what_it_holds_comes_after_the_folders_and_without_this_checkout(packages: Path) -> None:
    assert python_path("first", ROOT) == os.pathsep.join(["first", str(ROOT), str(packages)])
    assert python_path() == str(packages)


def test_without_the_variable_there_are_the_folders_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert (python_path("first"), python_path()) == ("first", "")


@pytest.mark.usefixtures("packages")
def test_a_command_of_a_test_finds_the_packages(tmp_path: Path) -> None:
    code = "import only_there, importlib.util; print(only_there.NAME if importlib.util.find_spec('toy_models') else '')"
    environment = command_environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("found\n", 0), done.stderr


READ_BACK_HERE = ('gate/test_what_ran.py: os.pathsep.join(["src"',)
"""What a test reads in its own process, which starts no other."""


def test_no_test_replaces_the_variable() -> None:
    found = [
        f"{path.relative_to(TESTS)}: {value.strip()}"
        for path in TESTS.rglob("*.py")
        if path not in (Path(__file__).resolve(), TESTS / "cases" / "python_path.py")
        for value in SETS_IT.findall(path.read_text(encoding="utf-8"))
        if not re.search(r"python_path\(|\[.PYTHONPATH.\]", value)
    ]
    assert [line for line in found if not line.startswith(READ_BACK_HERE)] == []
