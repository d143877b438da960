"""Connects a command with a Ray cluster, or says in one line why there is none; an address is waited for briefly."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench.errors import UserError
from bench.jobs.start import ROOT

_CONNECT_SECONDS = 10
"""How long the port of an address may take to answer."""

_ANSWER_SECONDS = 45
"""How long a cluster may take to answer. Ray itself tries for minutes, and may end the process that asks."""

_ASK = "import sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give the module ``ray``, connected; see ``launcher.address``.

    Raises:
        UserError: ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _library()
    given = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    if given not in ("auto", "local"):
        _require_answer(given, "RAY_ADDRESS" if address == "auto" else "launcher.address")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _init(ray, given)
        for number, handler in handlers.items():  # Ray has its own, which would end the command without a report
            signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _library() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError(
            f"launcher=ray: ray is not installed in {sys.executable}; it comes with the extra maskbench[ray]"
        ) from error
    return ray


def _init(ray: Any, address: str) -> None:
    common = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "namespace": "maskbench",
        "runtime_env": {"env_vars": _variables()},
    }
    try:
        if address == "auto":
            with contextlib.suppress(ConnectionError):  # no cluster here
                ray.init(address="auto", **common)
                return
        new = {"include_dashboard": False} if address in ("auto", "local") else {}
        ray.init(address="local" if address == "auto" else address, **common, **new)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"launcher.address={address}: {str(error).splitlines()[0]}") from error


def _variables() -> dict[str, str]:
    """Give the variables of the environment of a node's processes.

    A node that has this checkout at the same path, as this machine itself, imports it; others have maskbench installed.
    """
    installed = ROOT.name in ("site-packages", "dist-packages")
    entries = [*([] if installed else [str(ROOT)]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"PYTHONPATH": os.pathsep.join(entries)} if entries else {}


def _require_answer(address: str, key: str) -> None:
    """Raise a UserError where no Ray cluster answers at an address: asked by a process that can be ended."""
    found = re.fullmatch(r"(?:ray://)?(?P<host>\[[0-9a-fA-F:]+\]|[^:/\[\]]+):(?P<port>\d{1,5})", address)
    if found is None:
        raise UserError(f"{key}={address}: must be auto, local, or HOST:PORT")
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{key}={address}: nothing answers there ({reason}); give the HOST:PORT that `ray start --head` has told"
        ) from error
    try:
        command = [sys.executable, "-c", _ASK, address]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{key}={address}: no Ray cluster answers there within {_ANSWER_SECONDS} s") from error
    if asked.returncode != 0:
        said = asked.stderr.strip().splitlines() or [f"exit status {asked.returncode}"]
        raise UserError(f"{key}={address}: {said[-1][:300]}")
