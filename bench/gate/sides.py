"""Plans the two sides of an interleaved comparison: the same jobs once for the base and once for the head."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.device.commands import ask_git, git
from bench.errors import UserError
from bench.gate.checkouts import base_checkout, head_checkout, refuse_strays
from bench.gate.data_there import link_data, path_kept
from bench.jobs.job import ComposedJob, PlannedJob, from_description
from bench.jobs.plan import OnDownload, plan
from bench.jobs.run import Run
from bench.jobs.start import ROOT, worker_environment
from bench.schema.config import GateConfig
from bench.schema.result import Origin


@dataclass(frozen=True)
class Sides:
    """The planned jobs of both sides, and the names of the sides for a person."""

    base: list[PlannedJob]
    head: list[PlannedJob]
    names: tuple[str, str]


def check_sides(gate: GateConfig) -> None:
    """Raise a UserError where the base is not given, or given twice."""
    pythons = gate.base_python, gate.head_python
    if gate.base_ref is None and pythons == (None, None):
        raise UserError(
            "gate=interleaved: gate.base_ref is missing; give a git commit, or gate.base_python and gate.head_python"
        )
    if gate.base_ref is not None and gate.base_python is not None:
        raise UserError("gate.base_ref and gate.base_python: give one of them; either says what the base is")


@contextlib.contextmanager
def planned_sides(
    jobs: Sequence[ComposedJob], gate: GateConfig, run: Run, arguments: Sequence[str], on_download: OnDownload
) -> Iterator[Sides]:
    """Plan both sides, with results under ``out/base`` and ``out/head``; the base's checkout exists within the block.

    arguments: the part of the command line that belongs to a side; the base's own maskbench composes it with its own
        configuration

    Raises:
        UserError: as :func:`bench.jobs.plan.plan`; the commit does not exist; the base's maskbench has another form of
            jobs.
    """
    out = run.out.resolve()
    check_sides(gate)
    head_jobs = with_python(jobs, gate.head_python)
    if gate.base_ref is None:
        head = plan(head_jobs, out / "head", on_download, run.command, say=run.say_once)
        base = plan(with_python(jobs, gate.base_python), out / "base", on_download, run.command)
        yield Sides(base, head, (gate.base_python or sys.executable, gate.head_python or "head"))
        return
    repository = _repository()
    commit = _commit(repository, gate.base_ref)
    with _checked_out(repository, commit, out / "base-checkout") as tree:
        link_data((job.config for job in jobs), Path.cwd(), tree / Path.cwd().relative_to(repository))
        head = plan(
            head_jobs, out / "head", on_download, run.command, head_checkout(repository, tree), say=run.say_once
        )
        refuse_strays(head, "head")
        base = [
            replace(job, origin=Origin(commit, None, False)) for job in _plan_there(repository, tree, out, arguments)
        ]
        refuse_strays(base, "base")
        yield Sides(base, head, (f"{gate.base_ref} ({commit[:10]})", gate.head_python or _head_name(head)))


def _head_name(jobs: Sequence[PlannedJob]) -> str:
    origin = jobs[0].origin
    return f"head ({(origin.commit or '')[:10]}{' with changes' if origin.changed else ''})"


def with_python(jobs: Sequence[ComposedJob], python: str | None) -> list[ComposedJob]:
    """Give the jobs with another interpreter, where ``python`` names one."""
    return [
        replace(job, config=replace(job.config, model=replace(job.config.model, python=python))) if python else job
        for job in jobs
    ]


def _repository() -> Path:
    """Give the git repository of the current folder: maskbench's own, or that of the user's package."""
    if shutil.which("git") is None:
        raise UserError("gate.base_ref: git is not installed")
    top, reason = ask_git(Path.cwd(), "rev-parse", "--show-toplevel")
    if top is not None:
        return Path(top).resolve()
    if reason and "not a git repository" not in reason:  # above all a repository of another owner
        raise UserError(f"gate.base_ref: git does not read the repository of {Path.cwd()}: {reason}")
    raise UserError(f"gate.base_ref: {Path.cwd()} is in no git repository; run it inside the one to be judged")


def _commit(repository: Path, ref: str) -> str:
    commit = git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        raise UserError(
            f"gate.base_ref={ref}: no such commit in {repository}; give a branch, tag or commit (a shallow clone has "
            f"only its last one: fetch more)"
        )
    return commit


@contextlib.contextmanager
def _checked_out(repository: Path, commit: str, tree: Path) -> Iterator[Path]:
    """Check the commit out into the folder ``tree``; it is removed at the end of the block."""
    # Without a time limit: a large tree takes long, and after a timeout a half-removed one would stay.
    worktree = functools.partial(ask_git, repository, "worktree", timeout_s=None)
    worktree("prune")
    worktree("remove", "--force", str(tree))
    try:
        added = worktree("add", "--detach", "--force", str(tree), commit)
        if added.text is None:
            raise UserError(f"gate.base_ref: {tree}: git cannot check {commit[:10]} out there: {added.reason}")
        yield tree
    finally:
        worktree("remove", "--force", str(tree))


def _plan_there(repository: Path, tree: Path, out: Path, arguments: Sequence[str]) -> list[PlannedJob]:
    """Plan the jobs with the base's own maskbench and configuration."""
    root = _root_there(repository, tree)
    cwd = tree / Path.cwd().relative_to(repository)
    if not (root / "run_bench.py").exists() or not cwd.is_dir():
        raise UserError(f"gate.base_ref: that commit has no {root / 'run_bench.py' if cwd.is_dir() else cwd}")
    given = [path_kept(argument, cwd) for argument in arguments]
    checkout = base_checkout(repository, tree)
    command = [sys.executable, str(root / "run_bench.py"), "--plan", str(out / "base"), *given]
    done = subprocess.run(
        command, cwd=cwd, env=worker_environment(checkout), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"gate.base_ref: the base cannot be planned by its own maskbench: {last}")
    planned = json.loads(done.stdout.strip().splitlines()[-1])
    try:
        described = [from_description(job) for job in planned]
        return [replace(job, root=str(root), cwd=str(cwd), checkout=checkout) for job in described]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"gate.base_ref: the base's maskbench describes its jobs in another way ({error}); measure it by itself "
            f"and give baseline=DIR"
        ) from error


def _root_there(repository: Path, tree: Path) -> Path:
    """Give the folder of the base's maskbench.

    It is in the base's checkout where the repository tracks maskbench. Where it does not (maskbench may be installed in
    an environment inside the repository), it is the folder of this maskbench.
    """
    tracked = git(repository, "ls-files", "--error-unmatch", str(ROOT / "run_bench.py")) is not None
    return tree / ROOT.relative_to(repository) if tracked else ROOT
