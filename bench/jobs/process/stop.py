"""Ctrl-C for threads: Python raises it in the main thread alone, and workers are listened to by others too."""

from __future__ import annotations

import threading


class Stop:
    """Says that all workers must end. Who listens to one looks here twice a second."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_once = threading.Event()

    def ask(self) -> None:
        """Ask for the end of every worker, which gets time to write what it has measured."""
        self._asked.set()

    def ask_at_once(self) -> None:
        """Ask for it without that time."""
        self._asked.set()
        self._at_once.set()

    @property
    def asked(self) -> bool:
        """Whether workers must end."""
        return self._asked.is_set()

    @property
    def at_once(self) -> bool:
        """Whether they must end without another word."""
        return self._at_once.is_set()
