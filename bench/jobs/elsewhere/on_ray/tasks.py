"""What runs on the nodes of a Ray cluster. Ray imports this module there, so maskbench must be installed on them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.jobs.elsewhere.archive import packed, unpack
from bench.jobs.elsewhere.asked import Order
from bench.jobs.elsewhere.node import measure, plan_there
from bench.jobs.messages import Progress


class Inbox:
    """An actor beside the command: nodes put into it what they have measured so far, and it outlives them."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> None:
        """Keep the folder of a job in place of the one before."""
        self._kept[name] = content

    def take(self) -> dict[str, bytes]:
        """Give what has come since the last call, by the names of the jobs."""
        kept, self._kept = self._kept, {}
        return kept


def plan_task(text: str) -> str:
    """See :func:`bench.jobs.elsewhere.node.plan_there`."""
    return plan_there(text)


def run_task(text: str, before: bytes | None, inbox: Any) -> bytes:
    """Run a job; give its folder, and those of earlier results that were moved aside, as an archive.

    text: an :class:`Order` as JSON
    before: an archive of what was measured of it before
    inbox: the :class:`Inbox`, which gets the folder after each pass
    """
    import ray

    order = Order.from_json(text)
    name = order.job.folder.name
    with tempfile.TemporaryDirectory(prefix="maskbench-") as folder:
        home = Path(folder)
        if before is not None:
            unpack(before, home)
        sender = _Sender(inbox, name, home)
        try:
            measure(order, home, sender.on_progress, lambda _: None)
        except KeyboardInterrupt:
            ray.get(inbox.put.remote(name, packed(home)))
            raise
        return packed(home)


class _Sender:
    """Sends the folder of a job whenever its result has changed, which is after each pass."""

    def __init__(self, inbox: Any, name: str, home: Path) -> None:
        self._inbox, self._name, self._home = inbox, name, home
        self._sent = self._state()

    def on_progress(self, progress: Progress) -> None:
        """Take a message of the worker as the occasion to look."""
        if (state := self._state()) != self._sent:
            self._sent = state
            self._inbox.put.remote(self._name, packed(self._home, weights=False))

    def _state(self) -> tuple[int, int] | None:
        try:
            state = (self._home / "jobs" / self._name / "result.json").stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size
