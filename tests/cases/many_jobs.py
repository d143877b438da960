"""A queue of many replayed jobs, and a launcher whose workers do nothing: what is left is maskbench's scheduling."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from squares import detection

from bench.jobs.job import ComposedJob, PlannedJob, write_job
from bench.jobs.launcher import Ending
from run_bench import compose


class NoWorker:
    """A worker that has done its work before it was asked."""

    complete = True
    seconds_by_part: dict[str, float] = {}  # noqa: RUF012

    def __enter__(self) -> NoWorker:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def tell(self, line: str) -> None: ...

    def tell_no_more(self) -> None: ...

    def interrupt(self) -> None: ...

    def listen(self, until: Any, on_progress: Any, on_untimed: Callable[[], None] = lambda: None) -> Ending:
        on_untimed()
        return Ending(True)


class NoLauncher:
    """Starts no process. ``started`` are the names of the jobs' folders, once for each worker."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, job: PlannedJob, phase: str) -> NoWorker:
        write_job(job)
        self.started.append(job.folder.name)
        return NoWorker()


def replayed_jobs(folder: Path, count: int) -> list[ComposedJob]:
    """Give so many jobs that replay one results file and differ in what no check reads: the seed of the protocol."""
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 40, "width": 60} for number in (1, 2)]
    square = {"segmentation": [[5, 10, 13, 10, 13, 18, 5, 18]], "iscrowd": 0, "area": 64, "bbox": [5, 10, 8, 8]}
    annotations = [{"id": number, "image_id": number, "category_id": 1, **square} for number in (1, 2)]
    truth, results = folder / "instances.json", folder / "results.json"
    categories = [{"id": 1, "name": "person"}]
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    results.write_text(f"[{detection(1, 5, 0.9)}, {detection(2, 5, 0.8)}]")
    given = ["model=replay", f"model.options.results={results}", "dataset=coco", f"dataset.annotations={truth}"]
    [composed] = compose([*given, "dataset.name=few", "passes=[accuracy]", "device=cpu", f"out={folder / 'out'}"])
    jobs = []
    for number in range(count):
        config = copy.deepcopy(composed.config)
        config.protocol.seed = number
        jobs.append(dataclasses.replace(composed, config=config))
    return jobs
