"""What a Slurm job runs on its node. submitit imports it there by its name, so the node has this environment too."""

from __future__ import annotations

import contextlib
import json
import platform
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from bench.files.json_file import write_text_atomically
from bench.jobs.elsewhere.asked import Order
from bench.jobs.elsewhere.node import measure, plan_there
from bench.jobs.elsewhere.on_slurm.claims import Claim, claim
from bench.jobs.elsewhere.on_slurm.queue import is_alive

FOLDER = ".slurm"
"""The folder in ``out=`` for orders, claims, and the logs of Slurm; no report reads it."""


def plan_task(out: str, token: str) -> None:
    """Plan the jobs of ``asked-TOKEN.json``, and write the answer beside it with the name of this node."""
    folder = Path(out, FOLDER)
    answer = plan_there((folder / f"asked-{token}.json").read_text(encoding="utf-8"))
    told = json.dumps({"answer": answer, "node": platform.node()})
    write_text_atomically(folder / f"answer-{token}.json", told)


def run_task(out: str, name: str) -> None:
    """Run the job of ``orders/NAME.json``, unless another Slurm job that has not ended has it.

    Slurm asks a job to end by SIGTERM, before a time limit, a preemption or a cancellation ends it: what was measured
    is written then.
    """
    with _ends_gently():
        folder = Path(out, FOLDER)
        order = Order.from_json((folder / "orders" / f"{name}.json").read_text(encoding="utf-8"))
        other = claim(folder / "claims", name, Claim.of_this_process(), is_alive)
        if other is not None:
            print(f"{name}: Slurm job {other.owner} on {other.node} has it since {other.time}")
            return
        measure(order, Path(out), lambda _: None, print)


@contextlib.contextmanager
def _ends_gently() -> Iterator[None]:
    def interrupt(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
