"""Test that nothing that is printed ends a command: no character, and no reader that has gone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.schema.result import Result
from reports.text.output import tolerant_output

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def report(tmp_path: Path, make_result: Callable[..., Result], write_run: Callable[..., Path]) -> Callable[..., int]:
    """Calls ``python -m reports`` on a run whose table has characters that are not ASCII, and gives its exit status."""
    run = write_run(tmp_path / "größe", [make_result("Mäsk"), make_result("B", status="crashed", reason="→ ✗")])

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


def test_nobody_listens(report: Callable[..., int], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    assert report(write) == 0
    os.close(write)
    assert next(tmp_path.glob("*/comparison.html")).exists()
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
