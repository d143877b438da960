"""Asks a job's interpreter, before anything is measured, whether it can run the job.

The answer needs code of the model to run, which is contained as a worker is: what it does costs its own job alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.device.fingerprint import Fingerprint
from bench.device.slots.slot import Slot
from bench.errors import UserError
from bench.jobs.job import Failure, PlannedJob, Question, for_worker
from bench.jobs.messages import OTHER_DEVICE, WRONG_INPUT, Message, Refused, Resolved, Verdict
from bench.jobs.process.contained import Contained
from bench.jobs.process.limits import TICK_SECONDS, Limits
from bench.jobs.process.log import last_line
from bench.jobs.start import worker_command, worker_environment
from bench.schema.result import STATUSES

_START_SECONDS = 300
"""How long a check may take to import torch and to find its device, which a slow disk or driver makes long."""

_LEAVE_SECONDS = 5
"""How long a check that has given all answers may take to end."""


@dataclass(frozen=True)
class Answer:
    """The answer of a job's interpreter about the job.

    device: the name of the job's device there, resolved
    skip_reason: why the job must be skipped; None where it can run
    failure: how the model's own code failed; None where it did not
    files: the paths of the files that its options name and its figures depend on, by the option
    now: what its figures would depend on beside those and the configuration
    reads_pixels: whether the model sees images; also where that is not known
    notes: what was found in its results file
    config_files: the paths of the files that ``model.config`` names or builds upon
    other_device: whether it must be skipped because its runtime cannot use the device
    """

    device: str
    skip_reason: str | None = None
    failure: Failure | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    now: Fingerprint = field(default_factory=Fingerprint)
    reads_pixels: bool = True
    notes: Sequence[str] = ()
    config_files: Sequence[str] = ()
    other_device: bool = False

    @property
    def can_run(self) -> bool:
        """Whether the job will be run."""
        return self.skip_reason is None and self.failure is None


class CheckBrokenError(Exception):
    """The check ended before any code of the user's ran."""


def ask_interpreters(drafts: Sequence[PlannedJob], log: Path, slot: Slot | None = None) -> list[Answer]:
    """Give the answer for each job.

    One process is started for each interpreter, device and class. The adapters of maskbench share one.

    drafts: their folder is the one that the command writes its results into, so that it is no input of a model
    log: the file for what the models print; an older one is replaced
    slot: one of those that the jobs will run on, which are all alike: the answer is about the GPU and the cores that a
        worker will have, and not about the whole machine

    Raises:
        UserError: the command's input is wrong: the device, an option, a checkpoint that does not fit, ...; or none of
            the models can use the device.
    """
    log.unlink(missing_ok=True)
    groups: dict[tuple[str | None, str, str], list[int]] = {}
    for place, job in enumerate(drafts):
        model = job.config.model
        own_class = "" if model._target_.startswith("adapters.") else model._target_
        groups.setdefault((model.python, job.config.device, own_class), []).append(place)
    answers: dict[int, Answer] = {}
    try:
        for places in groups.values():
            while places:
                some = _ask([drafts[place] for place in places], log, slot or Slot("", ""))
                answers |= dict(zip(places, some, strict=False))
                places = places[len(some) :]
    finally:
        for job in drafts:
            job.from_environment.hide_in_file(log)
    if drafts and all(answer.other_device for answer in answers.values()):
        raise UserError(str(answers[0].skip_reason))
    return [answers[place] for place in range(len(drafts))]


def _ask(jobs: Sequence[PlannedJob], log: Path, slot: Slot) -> list[Answer]:
    """Give the answers of one process about the first of the jobs: one at least, and fewer than all where it died.

    Where it died is known by the answer that it owes. Only if that is its first one, the job is to blame, since a
    process that has constructed other models may have died of those; the job is then asked about again.
    """
    answers: list[Answer] = []
    device = ""
    try:
        with contextlib.closing(_messages(jobs, log, slot)) as messages:
            for message in messages:
                if isinstance(message, Refused):
                    raise UserError(message.line)
                if isinstance(message, Resolved):
                    device = message.device
                elif isinstance(message, Verdict) and device and len(answers) < len(jobs):
                    answers.append(_answer(device, message))
                else:
                    raise _EndedError("crashed", f"no answer of a check: {message!r:.80}")
    except _EndedError as end:
        if not device:
            raise _cannot_start(jobs[0], end, log) from None
        if not answers or end.status == "timeout":
            answers.append(Answer(device, failure=Failure(end.status, end.reason)))
    return answers


class _EndedError(Exception):
    """A check ended, or had to be ended, before it had answered."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def _messages(jobs: Sequence[PlannedJob], log: Path, slot: Slot) -> Generator[Message, None, None]:
    """Start a check of these jobs and give its messages, which are one more than the jobs, or a single refusal.

    Raises:
        _EndedError: it ended or had to be ended before.
        UserError: the interpreter cannot be started.
    """
    python, left = jobs[0].config.model.python, len(jobs) + 1
    with _started(jobs, python, log, slot) as process:
        limits = Limits(_START_SECONDS, "the start of the check", None)
        while left:
            alive = process.alive  # asked first, so that what it said before its end is read
            try:
                messages = process.messages(TICK_SECONDS if alive else 0)
            except ValueError as error:
                raise _EndedError("crashed", str(error)) from None
            yield from messages
            left = 0 if any(isinstance(message, Refused) for message in messages) else left - len(messages)
            if messages:
                limits = _limits(jobs[max(0, min(len(jobs) - left, len(jobs) - 1))])
            elif not alive:
                raise _EndedError("crashed", f"the check of this model {process.cause_of_death()}")
            elif exceeded := limits.exceeded(process.pid):
                raise _EndedError(*exceeded)
        process.wait(_LEAVE_SECONDS)


def _limits(job: PlannedJob) -> Limits:
    protocol = job.config.protocol
    return Limits(protocol.check_limit_s, "protocol.check_limit_s", protocol.memory_limit_gb)


@contextlib.contextmanager
def _started(jobs: Sequence[PlannedJob], python: str | None, log: Path, slot: Slot) -> Iterator[Contained]:
    """Start a check, whose standard input is the question; end it at the end of the block."""
    question = Question(jobs[0].config.device, [for_worker(job) for job in jobs], str(jobs[0].folder.resolve()))
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(dataclasses.asdict(question)).encode())
        file.seek(0)
        try:
            with slot.starting():
                process = Contained(
                    lambda descriptor: worker_command(python, None, "--check", str(descriptor)),
                    file,
                    log.absolute(),
                    worker_environment(jobs[0].checkout) | dict(slot.variables),
                    None,
                )
        except OSError as error:
            raise UserError(
                f"model.python={python}: cannot be started ({error.strerror}); give an interpreter"
            ) from error
    with process:
        yield process


def _answer(device: str, verdict: Verdict) -> Answer:
    """Give the answer that a verdict is.

    Raises:
        UserError: the verdict is that the command's input is wrong.
    """
    reason = verdict.reason or "no reason given"
    if verdict.status == WRONG_INPUT:
        raise UserError(reason)
    if verdict.status == "ok":
        return Answer(
            device,
            files=verdict.files,
            now=verdict.now,
            reads_pixels=verdict.reads_pixels,
            notes=tuple(verdict.notes),
            config_files=tuple(verdict.config_files),
        )
    if verdict.status in ("skipped", OTHER_DEVICE):
        return Answer(device, skip_reason=reason, other_device=verdict.status == OTHER_DEVICE)
    status = verdict.status if verdict.status in STATUSES else "crashed"
    return Answer(device, failure=Failure(status, reason))


def _cannot_start(job: PlannedJob, end: _EndedError, log: Path) -> Exception:
    """Give the exception for a check that ended before it had named the device, so before it ran a model's code."""
    python = job.config.model.python
    if end.status == "timeout":
        return UserError(f"device={job.config.device}: {end.reason}")
    if python is not None:
        return UserError(f"model.python={python}: the worker does not start there: {last_line(log)}")
    said = log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.is_file() else ""
    return CheckBrokenError(f"{end.reason}\n{said}")
