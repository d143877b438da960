"""Says at once, at Ctrl-C, what the command waits for."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

WAITS = "interrupted: waiting for what runs to write what it has measured; Ctrl-C again ends it at once"


@contextlib.contextmanager
def told_at_once(say: Callable[[str], None], is_working: Callable[[], bool]) -> Iterator[None]:
    """Say :data:`WAITS` at the first Ctrl-C in the block if something works then; all else happens as without it.

    It does nothing outside of the main thread, and where Ctrl-C is ignored.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    said: list[str] = []

    def tell(number: int, frame: Any) -> None:
        if not said and is_working():
            said.append(WAITS)
            with contextlib.suppress(Exception):  # a console that cannot print must not keep the command from its end
                say(WAITS)
        before(number, frame)

    signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
