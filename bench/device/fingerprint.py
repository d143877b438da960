"""What the figures of a job depend on beside its configuration and the files that it names, and what has changed of it.

These are the source files of the model's class and of the user's modules that it imports, the versions of the
libraries, the processor and the GPU, and the way of measuring. This module needs the standard library alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.schema.result import MEASUREMENT_VERSION, Result

_SHOWN = 3
"""How many changes a line names."""


@dataclass(frozen=True)
class Fingerprint:
    """What the figures of a job would depend on if it were measured now, as its interpreter sees it.

    sources: name of a source file -> its digest, for the user's modules that are imported so far
    paths: name of a source file -> where it lies, without the adapters of maskbench
    folders: where other names of source files are looked up, the first folder first
    target: the name of the file that holds the model's class; "" where it has none
    facts: of the machine and of the libraries, as :func:`facts_of` gives them
    named: option of the model -> the file that it names, without those of the class's ``files_read``
    """

    sources: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    target: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)

    def source(self, name: str) -> str | None:
        """Give the digest that a source file has now; None where it is gone."""
        if name in self.sources:
            return self.sources[name]
        # The whole path of a file that lies in none of the folders takes the place of the folder.
        found = next((path for folder in self.folders if (path := Path(folder, _at_home(name))).is_file()), None)
        return None if found is None else digest_of(found)


def facts_of(machine: Mapping[str, Any] | None) -> dict[str, str]:
    """Give the facts of a machine (``Result.machine``) that a figure depends on, by their names for a person."""
    machine = machine or {}
    cpu, gpu = machine.get("cpu") or {}, machine.get("gpu") or {}
    facts = {
        "processor": cpu.get("name"),
        "usable cores": cpu.get("usable_cores"),
        "GPU": gpu.get("name"),
        "GPU driver": gpu.get("driver_version"),
        "Python": machine.get("python"),
        **(machine.get("versions") or {}),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def changes(result: Result, now: Fingerprint) -> list[str]:
    """Give a phrase for each thing that a result depends on and that has changed since it was measured.

    What only one of the two knows is no change: a package that is absent, a module that is imported later. A training
    without figures depends on the sources alone; it may go on on another machine.
    """
    facts = fact_changes(result, now) if result.measured else []
    return [*source_changes(result, now), *facts]


def source_changes(result: Result, now: Fingerprint) -> list[str]:
    """Give the part of :func:`changes` that is about source files."""
    found = []
    if result.sources and now.target and now.target not in result.sources:
        found.append(f"the class now comes from {now.target}")
    for name, before in result.sources.items():
        digest = now.source(name)
        if digest != before:
            found.append(f"{name} {'is gone' if digest is None else 'has changed'}")
    return found


def fact_changes(result: Result, now: Fingerprint) -> list[str]:
    """Give the part of :func:`changes` that is about the machine, the libraries and the way of measuring."""
    before = facts_of(result.machine)
    found = [
        f"{name} was {before[name]} and is {value}"
        for name, value in now.facts.items()
        if before.get(name, value) != value
    ]
    if result.measurement_version != MEASUREMENT_VERSION:
        versions = f"{result.measurement_version} and is {MEASUREMENT_VERSION}"
        found.append(f"the version of the way of measuring was {versions}")
    return found


def in_words(phrases: list[str]) -> str:
    """Give phrases in one line, and the number of those that it leaves out."""
    more = len(phrases) - _SHOWN
    return "; ".join(phrases[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _at_home(name: str) -> str:
    return os.path.expanduser(name) if name.startswith("~/") else name


def digest_of(path: Path) -> str:
    """Give the beginning of the SHA-256 of a source file, which is small."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
