"""Keeps the results of earlier runs honest: one that no longer is what its job would measure is moved aside.

It goes to ``out/earlier/``, which no report reads, so nothing that was measured is lost.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.bucket.copied import copied_from
from bench.device.fingerprint import changes, in_words, source_changes
from bench.errors import UserError
from bench.jobs.identity import other_settings, without_no_figure
from bench.jobs.job import PlannedJob, WorkerJob, new_result, read_job, read_stored, write_job
from bench.schema.result import EARLIER, UNFINISHED, Result, read_result, write_result

Say = Callable[[str], None]

_COPIED = ("result.json", "predictions.json")
"""What is copied of a job whose training stays where it is."""

_FILES = {"dataset": "the data set", "train": "the training set", "weights": "the file of the weights"}
"""Words for purposes in ``PlannedJob.contents``."""


def settle(jobs: Sequence[PlannedJob], say: Say) -> None:
    """Move aside what is stored of jobs and is not what they would measure now; say of each why.

    Raises:
        UserError: a stored result cannot be read.
    """
    settle_together([[job] for job in jobs], say, of_commit=False)


def settle_alone(job: PlannedJob, say: Say) -> None:
    """Do the same for one job, without looking for its results under other names, which another process may be at.

    Raises:
        UserError: the stored result cannot be read.
    """
    if why := outdated(job):
        _set_aside(job, why, say)


def settle_together(groups: Iterable[Sequence[PlannedJob]], say: Say, *, of_commit: bool) -> None:
    """Do the same for groups of jobs whose results belong together: where one goes, the others go too.

    of_commit: the stored results must be of the commit that the jobs are of
    """
    groups = [list(group) for group in groups]
    for job in itertools.chain.from_iterable(groups):
        read_stored(job)  # all can be read, or nothing is moved
    moved = _settle_other_contents([job for group in groups for job in group], say)
    for group in groups:
        why = [reason for job in group for reason in (*outdated(job), *(_of_another_commit(job) if of_commit else ()))]
        if len(group) > 1:
            why += [reason for job in group for reason in moved.get(id(job), ())]
        for job in group if why else ():
            _set_aside(job, why, say)


def outdated(job: PlannedJob) -> list[str]:
    """Give the reasons why what is stored of a job is not what it would measure now; none where nothing is stored."""
    stored = read_stored(job)
    if stored is None or not _holds_work(stored):
        return []
    return [] if job.cannot_run else [*_other_defaults(job), *changes(stored, job.now)]


def _other_defaults(job: PlannedJob) -> list[str]:
    """Give the settings whose default was another when the job was measured: its name does not hold defaults."""
    try:
        before = read_job(job.folder)
    except (OSError, ValueError, TypeError):  # no job.json, or one of another version
        return []
    return other_settings(before.config, job.config, job.contents)


def _holds_work(stored: Result) -> bool:
    return stored.measured or stored.finetune is not None


def _set_aside(job: PlannedJob, why: list[str], say: Say) -> None:
    """Move the stored result of a job to ``out/earlier/``.

    A training is kept where only the machine, the libraries or the way of measuring have changed: its weights are as
    good as before.
    """
    stored = read_stored(job)
    if stored is None or not _holds_work(stored):
        return
    trained = stored.finetune is not None and stored.finetune.checkpoint is not None
    if trained and not source_changes(stored, job.now):
        to = _free_folder(job.folder)
        to.mkdir(parents=True)
        for name in _COPIED:
            if (job.folder / name).exists():
                shutil.copy2(job.folder / name, to / name)
        kept = new_result(job, "failed", UNFINISHED)
        kept.finetune, kept.sources, kept.origin = stored.finetune, stored.sources, stored.origin
        write_result(kept, job.result_path)
    else:
        to = _move(job.folder)
    _tell(job, why, to, say)


def _tell(job: PlannedJob, why: Sequence[str], to: Path, say: Say) -> None:
    say(f"{job.config.model.name}: measured anew: {in_words(list(dict.fromkeys(why)))} (the earlier result: {to})")


def _of_another_commit(job: PlannedJob) -> list[str]:
    """Give the reason where a stored result is of another state of the repository than its side of the gate."""
    stored = read_stored(job)
    if stored is None or not _holds_work(stored) or stored.origin is None:
        return []
    before, now = stored.origin, job.origin
    if before.commit != now.commit:
        return [f"it was of commit {_short(before.commit)}, and this is {_short(now.commit)}"]
    if before.changed != now.changed:
        return [f"commit {_short(now.commit)} was {'' if before.changed else 'not '}changed in the working tree then"]
    if before.changes != now.changes:
        return [f"commit {_short(now.commit)} was changed in another way in the working tree then"]
    return []


def _short(commit: str | None) -> str:
    return commit[:10] if commit else "unknown"


def _settle_other_contents(jobs: Sequence[PlannedJob], say: Say) -> dict[int, list[str]]:
    """Move aside the results of the same configurations that read the same paths when the files held something else.

    Their folders have other names, since a name holds the digests of the contents. Gives the reasons by the ``id`` of
    the job that takes a moved one's place.
    """
    moved: dict[int, list[str]] = {}
    asked = _by_question(jobs)
    planned = {job.folder.resolve() for job in jobs}
    for folder in sorted({job.folder.parent for job in jobs}):
        for path in sorted(folder.glob("*/result.json")):
            stored = None if path.parent.resolve() in planned else _readable(path)
            job = None if stored is None else _same_question(path.parent, asked)
            if stored is not None and job is not None and (changed := _changed_files(stored, job)):
                _tell(job, changed, _move(path.parent), say)
                moved[id(job)] = changed
            elif stored is not None and job is not None and stored.contents == job.contents:
                _take_over(path.parent, job, say)
    return moved


def _take_over(folder: Path, job: PlannedJob, say: Say) -> None:
    """Give the folder of a job the name that this version of maskbench has for it, so that the job is found again.

    Where the job has a folder already, two would stand for one, and the earlier one is moved aside.
    """
    if folder.parent.resolve() != job.folder.parent.resolve():
        return  # of the other side of a gate, which has the same jobs
    if job.folder.exists():
        say(f"{job.config.model.name}: {folder} is an earlier result of the same job; it is now {_move(folder)}")
    else:
        folder.rename(job.folder)
        _say_origin(job)


def _say_origin(job: PlannedJob) -> None:
    """Write into a stored result what the user says now of the weights that its file was exported from."""
    stored, said = read_stored(job), job.config.model.exported_from
    if stored is not None and stored.config["model"].get("exported_from") != said:
        stored.config["model"]["exported_from"] = said
        write_result(stored, job.result_path)
        write_job(job)


def _readable(path: Path) -> Result | None:
    """Give a result of an earlier command; None where it cannot be read, which is for reports to say."""
    try:
        return read_result(path)
    except UserError:
        return None


def _by_question(jobs: Sequence[PlannedJob]) -> dict[Hashable, list[PlannedJob]]:
    """Give the jobs by their configuration without the keys that change no figure."""
    asked: dict[Hashable, list[PlannedJob]] = {}
    for job in jobs:
        asked.setdefault(_question(job), []).append(job)
    return asked


def _question(job: PlannedJob | WorkerJob) -> Hashable:
    """Give the configuration of a job without the keys that change no figure, with addresses in the place of copies.

    A copy of what has changed in a bucket lies in another folder, and is asked for by the same command. What is said of
    the weights that a file was exported from is no part: it is of one weights, whatever was said of it before.
    """
    what = without_no_figure(job.config)
    what["model"]["exported_from"] = None
    for group in (what["dataset"], what["dataset"]["train"] or {}):
        group.update({key: address for key in ("images", "annotations") if (address := copied_from(group.get(key)))})
    return _hashable(what)


def _hashable(value: Any) -> Hashable:
    """Give what is equal for equal values of plain JSON, and can be looked up."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(inner)) for key, inner in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _same_question(folder: Path, asked: Mapping[Hashable, Sequence[PlannedJob]]) -> PlannedJob | None:
    """Give the planned job whose configuration is that of the job in a folder, paths included; None without one."""
    try:
        before = read_job(folder)
    except (OSError, ValueError, TypeError):  # no job.json, or one of another version
        return None
    for job in asked.get(_question(before), ()):
        # What was fine-tuned here was loaded from its own folder in the end; of a zoo the configuration names the file,
        # and an export of it lies under another name after an upgrade.
        named = job.config.finetune is not None or job.config.model.weights == "zoo"
        if named or before.weights_path == job.weights_path:
            return job
    return None


def _changed_files(stored: Result, job: PlannedJob) -> list[str]:
    changed = [name for name in job.contents if stored.contents.get(name) not in (None, job.contents[name])]
    return [f"{_FILES.get(name, 'the ' + name)} has changed" for name in changed]


def _move(folder: Path) -> Path:
    to = _free_folder(folder)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, to)
    return to


def _free_folder(folder: Path) -> Path:
    """Give the first free folder for what is moved out of ``out/jobs/NAME``: ``out/earlier/NAME``, ``NAME-2``, ..."""
    earlier = folder.parent.parent / EARLIER
    names = itertools.chain([folder.name], (f"{folder.name}-{number}" for number in itertools.count(2)))
    return next(path for name in names if not (path := earlier / name).exists())
