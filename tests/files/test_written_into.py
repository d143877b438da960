"""Test that what is no file is written into and never replaced."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from bench.files.json_file import write_text_atomically


def test_a_pipe_gets_the_text_and_stays_a_pipe(tmp_path: Path) -> None:
    """``--latex /dev/stdout`` replaced the machine's own by a table, for root."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text_atomically(pipe, "a table")
    reader.join(10)
    assert read == ["a table"]
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    write_text_atomically(file, "after")
    assert file.read_text() == "after"
