"""What a node is asked for: jobs as they were composed, as JSON. No value from the environment is in it.

A node plans a job by itself, so it finds its own data, weights and libraries. What it planned is compared with what the
first node planned (:mod:`bench.jobs.elsewhere.node`).
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import UserError
from bench.files.json_file import from_dict
from bench.jobs.job import ComposedJob, PlannedJob, from_description, to_description
from bench.private.environment import FromEnvironment
from bench.private.interpolation import options_to_show
from bench.schema.config import MISSING, BenchConfig, DatasetConfig, LauncherConfig, TrainSplitConfig
from bench.schema.result import MEASUREMENT_VERSION, SCHEMA_VERSION
from bench.weights.exported import exported_from


@dataclass(frozen=True)
class Version:
    """The maskbench of a machine: another one may measure in another way."""

    maskbench: str
    measurement: int = MEASUREMENT_VERSION
    schema: int = SCHEMA_VERSION

    @classmethod
    def here(cls) -> Version:
        """Give that of this machine."""
        try:
            return cls(importlib.metadata.version("maskbench"))
        except importlib.metadata.PackageNotFoundError:  # a checkout that nobody installed
            return cls("not installed")


@dataclass(frozen=True)
class AskedJob:
    """A composed job.

    from_environment: the options whose value the node takes from its own environment
    """

    config: BenchConfig
    choices: dict[str, str]
    from_environment: list[str] = field(default_factory=list)

    def composed(self) -> ComposedJob:
        """Give the job with what its options have from the environment of this process.

        Raises:
            UserError: a variable is not set here.
        """
        try:
            values = _from_environment(self.config.model.options, self.from_environment)
        except OmegaConfBaseException as error:
            raise UserError(f"model.options: {str(error).splitlines()[0]}") from error
        return ComposedJob(self.config, dict(self.choices), values)


@dataclass(frozen=True)
class Asked:
    """What a node is asked to plan.

    command: what the user typed
    cwd: the folder in which it was typed; a node that has it goes there
    sources: the names of the source files that stored results depend on
    threads: ``OMP_NUM_THREADS`` of the command; None is unset
    results: the absolute path of its folder of results; "" where nobody says it
    """

    jobs: list[AskedJob]
    command: str
    cwd: str
    sources: list[str] = field(default_factory=list)
    threads: str | None = None
    results: str = ""
    version: Version = field(default_factory=Version.here)

    def to_json(self) -> str:
        """Give it as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Asked:
        """Give what :meth:`to_json` wrote.

        Raises:
            UserError: it was written by another version of maskbench.
        """
        try:
            data = json.loads(text)
            version = Version(**data["version"])
            _refuse_other(version)
            asked = from_dict(cls, data)
            if json.loads(asked.to_json()) != data:
                raise ValueError("it lacks keys that this maskbench has")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"this node describes jobs in another way ({error}); install one maskbench") from error
        return asked


@dataclass(frozen=True)
class Order:
    """One job that a node is to run.

    asked: the job alone, with its device as it was planned
    job: as it was planned; its folder is a name
    """

    asked: Asked
    job: PlannedJob

    def to_json(self) -> str:
        """Give it as JSON."""
        return json.dumps({"asked": self.asked.to_json(), "job": to_description(self.job)})

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Give what :meth:`to_json` wrote.

        Raises:
            UserError: it was written by another version of maskbench.
        """
        data = json.loads(text)
        asked = Asked.from_json(data["asked"])  # first: it compares the versions
        return cls(asked, from_description(data["job"]))


def asked(
    jobs: Sequence[ComposedJob], command: str, launcher: LauncherConfig, sources: Sequence[str], results: Path
) -> Asked:
    """Give what nodes are asked to plan for these jobs, whose folder of results is ``results``.

    Raises:
        UserError: a value from the environment cannot be had on another machine.
    """
    return Asked(
        [_asked_job(job, launcher) for job in jobs],
        command,
        os.getcwd(),
        list(sources),
        os.environ.get("OMP_NUM_THREADS"),
        os.path.abspath(results),
    )


def _asked_job(job: ComposedJob, launcher: LauncherConfig) -> AskedJob:
    config, names = job.config, list(job.from_environment.options)
    if names:
        _require_travel(job, launcher)
    folders = dict(_divided(entry) for entry in launcher.data)
    said = config.model.exported_from and exported_from(config.model.exported_from)  # a file that a node may not have
    config = replace(
        config,
        launcher=LauncherConfig(),  # its own launcher is the node's, and an address is nobody's business
        model=replace(config.model, weights=_there(config.model.weights, folders), exported_from=said),
        dataset=_dataset_there(config.dataset, folders),
    )
    return AskedJob(config, dict(job.choices), names)


def _require_travel(job: ComposedJob, launcher: LauncherConfig) -> None:
    """Refuse a job whose options have values from the environment that a node would not have, or not alike."""
    names = list(job.from_environment.options)
    key = f"model.options.{names[0]}"
    if launcher.name == "ray":
        raise UserError(
            f"launcher=ray: {key} has its value from the environment of this machine, and secrets are not sent; let "
            f"the model's class read the variable where it runs"
        )
    try:
        same = _from_environment(job.config.model.options, names) == job.from_environment
    except OmegaConfBaseException:
        same = False
    if not same:
        raise UserError(
            f"launcher={launcher.name}: {key} is put together from the environment and other keys, which a node "
            f"cannot repeat; give '{key}=${{oc.env:VARIABLE}}'"
        )


def _from_environment(written: dict[str, Any], names: Sequence[str]) -> FromEnvironment:
    if not names:
        return FromEnvironment()
    cfg = OmegaConf.create({"model": {"options": {name: written[name] for name in names}}})
    return options_to_show(cfg)[1]


def _divided(entry: str) -> tuple[str, str]:
    """Divide ``/here:/there``."""
    here, colon, there = entry.partition(":")
    if not (colon and here and there):
        raise UserError(f"launcher.data=[{entry}]: must be a folder here and the one of a node, as [/here:/there]")
    return os.path.abspath(os.path.expanduser(here)), there


def _dataset_there(dataset: DatasetConfig, folders: dict[str, str]) -> DatasetConfig:
    train = dataset.train
    return replace(
        dataset,
        images=_there(dataset.images, folders),
        annotations=_there(dataset.annotations, folders),
        train=None if train is None else _train_there(train, folders),
    )


def _train_there(train: TrainSplitConfig, folders: dict[str, str]) -> TrainSplitConfig:
    return replace(train, images=_there(train.images, folders), annotations=_there(train.annotations, folders))


def _there(path: Any, folders: dict[str, str]) -> Any:
    """Give the path at which a node has what lies at a path here; the longest folder counts.

    What is relative and not here is no path of the user's: a word, or weights that come with maskbench.
    """
    if path in (None, "", MISSING):
        return path
    expanded = os.path.expanduser(path)
    here = os.path.abspath(expanded)
    if not os.path.isabs(expanded) and not os.path.exists(here):
        return path
    for folder in sorted(folders, key=len, reverse=True):
        if here == folder or here.startswith(f"{folder.rstrip(os.sep)}{os.sep}"):
            return os.path.normpath(os.path.join(folders[folder], os.path.relpath(here, folder)))
    return path


def _refuse_other(version: Version) -> None:
    here = Version.here()
    if version != here:
        raise UserError(
            f"this node has another maskbench ({here.maskbench}, measuring {here.measurement}, schema {here.schema}; "
            f"the command has {version.maskbench}, {version.measurement}, {version.schema}); install one version"
        )
