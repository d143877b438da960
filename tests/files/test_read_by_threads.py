"""Test that threads may read results at once: slots do, and the first read builds what msgspec keeps of a type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

READS = """
import sys, threading
from bench.files.json_file import parse
from bench.schema.result import SCHEMA_VERSION, Result
sys.setswitchinterval(1e-6)
content = b'{"status": "ok", "config": {}, "schema_version": %d}' % SCHEMA_VERSION
ready, read = threading.Barrier(8), []
def run():
    ready.wait()
    read.append(parse(Result, "result.json", content, "here", SCHEMA_VERSION).status)
threads = [threading.Thread(target=run) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(read.count("ok"))
"""


def test_the_first_results_are_read_by_many_threads_at_once() -> None:
    """msgspec builds what it needs of a type at its first use, and two threads that do so at once end the process."""
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", READS], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "8\n")
