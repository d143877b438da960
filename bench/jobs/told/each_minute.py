"""Does something once a minute beside what runs, such as telling a log how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable

MINUTE = 60.0


class EachMinute:
    """Calls a function once a minute, in a thread of its own, from :meth:`start` to :meth:`stop`."""

    def __init__(self, call: Callable[[], None], seconds: float = MINUTE) -> None:
        self._call, self._seconds = call, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="each minute", daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after one minute."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for a call that runs."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._call()
