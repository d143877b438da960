"""Measure what the report of ten models on photographs of 12 megapixels takes, with 100 results an image and model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from large_photographs import write_run
from peaks import printed_by

MOST_MEGABYTES = 600
MOST_SECONDS = 60


def test_ten_models_on_photographs_of_12_megapixels(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The command and the process that draws for it are measured apart, each by its peak of resident memory.

    Their processor time is added up, since other work may share the machine.
    """
    run = write_run(tmp_path, size=(3000, 4000), images=3, objects=100, models=10)
    numbers = printed_by(f"""
import contextlib, io, resource
from peaks import peak_megabytes
from reports.__main__ import main

with contextlib.redirect_stdout(io.StringIO()):
    status = main([{str(run)!r}])
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(status, peak_megabytes(), used[1].ru_maxrss * 1024 / 1e6, sum(one.ru_utime + one.ru_stime for one in used))
""")
    status, command, drawing, seconds = numbers
    for name, value in (
        ("peak_of_the_command_mb", command),
        ("peak_of_the_drawing_process_mb", drawing),
        ("processor_seconds", seconds),
    ):
        record_property(name, float(f"{value:.4g}"))
    assert status == 0
    assert len(list((run / "plots").glob("panel_*.png"))) == 3
    assert all("data:image/webp" in page.read_text() for page in (run / "models").iterdir())
    assert max(command, drawing) < MOST_MEGABYTES
    assert seconds < MOST_SECONDS
