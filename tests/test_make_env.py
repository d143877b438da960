"""Test what environment.sh installs, with a script that notes its arguments in place of pip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [str(ROOT / "environment.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_installs_once_and_the_library_without_what_it_asks_for(tmp_path: Path) -> None:
    python, calls = tmp_path / "bin" / "python", tmp_path / "calls"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n')
    python.chmod(0o755)
    done = call("ultralytics", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"ready: give model.python={python}" in done.stderr
    assert "AGPL-3.0" in done.stderr
    torch, worker, library = calls.read_text().splitlines()
    assert torch.endswith(f"-r {REQUIREMENTS / 'build.txt'}")
    assert f"-c {REQUIREMENTS / 'all.txt'} torchvision hotcoco pycocotools" in worker
    assert library.endswith(f"--no-deps -r {REQUIREMENTS / 'ultralytics.txt'}")
    again = call("ultralytics", str(tmp_path))
    assert "AGPL-3.0" not in again.stderr
    assert f"ready: give model.python={python}" in again.stderr
    assert len(calls.read_text().splitlines()) == 3


def test_every_package_of_a_worker_is_pinned_in_all(tmp_path: Path) -> None:
    script = (ROOT / "environment.sh").read_text(encoding="utf-8")
    match = re.search(r'^worker="(.+)"$', script, re.MULTILINE)
    assert match
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (REQUIREMENTS / "all.txt").read_text(), re.MULTILINE))
    assert set(match[1].split()) <= pinned
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    [needed] = re.findall(r"`(numpy pillow [a-z0-9 -]+)`", page)
    assert set(needed.split()) <= set(match[1].split()) | {"numpy"}  # numpy is in build.txt


def test_pip_that_fails_is_told(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho no such package\nexit 1\n")
    python.chmod(0o755)
    done = call("ultralytics", str(tmp_path))
    assert done.returncode == 1
    assert "no such package" in done.stderr
    assert f"the whole log is {tmp_path / 'setup.log'}" in done.stderr
    assert not (tmp_path / ".maskbench-ready").exists()


def test_an_unknown_library_and_none(tmp_path: Path) -> None:
    for lib in ("ultralytic", ""):
        done = call(lib, str(tmp_path / "venv"))
        assert done.returncode == 1
        assert f"LIB={lib}: unknown, must be one of ultralytics" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_nothing_else_installs_it() -> None:
    """Its licence asks something of who uses it, so it comes only where it is asked for by its name."""
    for file in (ROOT / "setup.sh", *REQUIREMENTS.glob("*.txt")):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if "ultralytics" in line]
        assert lines == [] or file.name == "ultralytics.txt" or all("make env LIB=" in line for line in lines), file
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r"^ultralytics = \[", extras, re.MULTILINE)
    assert "ultralytics" not in re.findall(r"^all = (.+)$", extras, re.MULTILINE)[0]
