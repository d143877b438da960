"""Test that nothing that is printed ends a command: no character, and no reader that has gone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from literal_results import build_result

from bench.schema.result import write_result
from reports.text.output import tolerant_output

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a run whose table has characters that are not ASCII. Its pictures are drawn once for all reports on it."""
    folder = tmp_path_factory.mktemp("printed") / "größe"
    for number, result in enumerate((build_result("Mäsk"), build_result("B", status="crashed", reason="→ ✗"))):
        write_result(result, folder / "jobs" / f"job{number}" / "result.json")
    return folder


@pytest.fixture
def report(run: Path) -> Callable[..., int]:
    """Calls ``python -m reports`` on that run, and gives its exit status."""

    def call(stdout: object, **environment: str) -> int:
        command = [sys.executable, "-m", "reports", str(run)]
        env = {**os.environ, **environment}
        return subprocess.run(command, stdout=stdout, env=env, cwd=ROOT, check=False).returncode  # type: ignore[call-overload]

    return call


def test_ascii_output(report: Callable[..., int], tmp_path: Path) -> None:
    with open(tmp_path / "said", "wb") as said:
        assert report(said, PYTHONIOENCODING="ascii") == 0
    text = (tmp_path / "said").read_text(encoding="ascii")
    assert "M?sk" in text
    assert "gr??e" in text


def test_nobody_listens(report: Callable[..., int], run: Path) -> None:
    (run / "comparison.html").unlink(missing_ok=True)
    read, write = os.pipe()
    os.close(read)
    assert report(write) == 0
    os.close(write)
    assert (run / "comparison.html").exists()
    with open("/dev/full", "wb") as full:
        assert report(full) == 0


def test_what_was_printed_before_the_reader_left_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    class Leaves(io.StringIO):
        def write(self, text: str) -> int:
            if "third" in text:
                raise BrokenPipeError
            return super().write(text)

    stream = Leaves()
    before, sys.stdout = sys.stdout, stream
    try:
        with tolerant_output():
            for word in ("first\n", "second\n", "third\n", "fourth\n"):
                print(word, end="")
    finally:
        sys.stdout = before
    assert stream.getvalue() == "first\nsecond\nfourth\n"


def test_a_closed_stream_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with tolerant_output():
        print("said to nobody")
        assert not sys.stdout.isatty()
    assert sys.stdout is None
