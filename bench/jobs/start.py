"""The command and the environment that a worker process is started with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds ``bench``, ``adapters``, ``configs`` and ``weights``, in a checkout or installed."""

CHECK_LOG = "check.log"
"""The file in the folder of the results that holds what the models print while they are checked."""


@dataclass(frozen=True)
class Checkout:
    """The files that one side of a gate may run: those of its own checkout of the user's repository.

    folder: that checkout; the working tree is that of the head
    other: the checkout of the other side. One may lie inside the other, as that of the base does below ``out=``
    first: the folders in which a worker looks for modules first, after the folder that it runs in
    python_path: the entries that take the place of ``PYTHONPATH``
    """

    folder: str
    other: str
    first: list[str]
    python_path: list[str]

    def refuse_strays(self, files: Iterable[str]) -> None:
        """Raise a UserError where one of these files, which a model runs, belongs to the other side's checkout.

        A file in neither checkout belongs to both sides.
        """
        for file in files:
            if self._owner(Path(file)) == self.other:
                raise UserError(
                    f"the model would run {file}, which is not in {self.folder}, the checkout of the commit that this "
                    f"side is named by; run in the folder that holds the package or its src/, or name that folder, as "
                    f"PYTHONPATH=packages/mine/src; or measure each commit by itself, and give baseline=DIR"
                )

    def _owner(self, file: Path) -> str | None:
        return max((one for one in (self.folder, self.other) if file.is_relative_to(one)), key=len, default=None)


def worker_command(python: str | None, root: str | None, *arguments: str) -> list[str]:
    """Give the command that starts a worker; run it in the folder that holds the user's own package.

    python: the worker's interpreter
    root: the folder of the maskbench that it imports
    For both, None means that of this process.
    """
    bootstrap = Path(root or ROOT) / "bench" / "jobs" / "worker" / "bootstrap.py"
    return [python or sys.executable, str(bootstrap), *arguments]


def worker_environment(checkout: Checkout | None = None) -> dict[str, str]:
    """Give the environment of this process, in which a worker's prints reach its log at once.

    With a checkout, modules are looked up in it first; :mod:`bench.jobs.worker.bootstrap` reads ``MASKBENCH_FIRST``.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if checkout is not None:
        environment["MASKBENCH_FIRST"] = os.pathsep.join(checkout.first)
        environment["PYTHONPATH"] = os.pathsep.join(checkout.python_path)
    return environment
