"""What a tracker is given of a study, and what it keeps to find its runs again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.files.json_file import write_text_atomically
from bench.schema.config import TrackerConfig

KNOWN_RUNS = "tracker.json"
"""Beside the report: which runs of a tracker are those of this folder, so that the same command adds no new ones."""

STUDY = ""
"""The name of the study itself among the rows, which have the names of their jobs."""

RESULT = "maskbench_result.json"
"""The name of a row's ``result.json`` in a tracker: a report must not take a tracker's copy for a row."""


@dataclass(frozen=True)
class TrackedRow:
    """One row.

    job: the name of its job's folder
    figures: by the names of the table's columns, in their units, the ends of intervals among them
    conditions: by the names of the settings, as texts
    files: what is kept of it, by the name that it has in the tracker
    """

    job: str
    label: str
    status: str
    figures: Mapping[str, float]
    conditions: Mapping[str, str]
    tags: Mapping[str, str]
    files: Mapping[str, Path]


@dataclass(frozen=True)
class TrackedStudy:
    """The rows of a command, and its report: files by their names below the folder of the report."""

    name: str
    rows: Sequence[TrackedRow]
    report: Mapping[str, Path]

    @property
    def ended_well(self) -> bool:
        return all(row.status in ("ok", "skipped") for row in self.rows)


class Log(Protocol):
    """Logs a study; gives a line for a person that says where it is."""

    def __call__(self, config: TrackerConfig, study: TrackedStudy, known: KnownRuns) -> str: ...


@dataclass
class KnownRuns:
    """The ids of the runs that a tracker has made for a folder of results, by the name of the job.

    of: the tracker and the place there, such as ``mlflow sqlite:///x.db maskbench``: elsewhere runs are new
    """

    path: Path
    of: str
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, of: str) -> KnownRuns:
        """Read those of a folder; none where the file is absent or is none of ours."""
        known = cls(folder / KNOWN_RUNS, of)
        ids = _stored(known.path).get(of)
        if isinstance(ids, dict) and all(isinstance(one, str) for one in ids.values()):
            known.ids = {str(job): run for job, run in ids.items()}
        return known

    def keep(self, job: str, run: str) -> None:
        """Note a run at once: one that is killed later is found again."""
        if self.ids.get(job) != run:
            self.ids[job] = run
            text = json.dumps({**_stored(self.path), self.of: self.ids}, indent=1, ensure_ascii=False)
            write_text_atomically(self.path, text + "\n")


def _stored(path: Path) -> dict[str, object]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
