"""The parts of a report, each of which may fail without the others."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from bench.errors import UserError, visible

T = TypeVar("T")


class Parts:
    """Runs parts one after the other. One that fails is left out; at the end, a line on stderr names it and says why.

    Parts that fail for one reason, such as a full disk, share a line.

    whole: what the parts are of, as "the report"
    """

    def __init__(self, whole: str = "the report") -> None:
        self._whole = whole
        self._failed: dict[str, list[str]] = {}

    def __enter__(self) -> Parts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reason, names in self._failed.items():
            print(f"warning: left out of {self._whole}: {', '.join(names)}: {reason}", file=sys.stderr)
        self._failed.clear()

    def run(self, name: str, write: Callable[..., T], *arguments: Any) -> T | None:
        """Call ``write(*arguments)`` and give what it gives; None where it fails."""
        try:
            return write(*arguments)
        except Exception as error:  # whatever it is, it must not cost what was measured
            self._failed.setdefault(reason_of(error), []).append(visible(name))
            return None


def reason_of(error: Exception) -> str:
    """Say in one line why a part failed; of an error that is a bug also where in the code."""
    text = visible(" ".join(str(error).split()))
    if isinstance(error, OSError):
        return error.strerror or text or type(error).__name__
    if isinstance(error, (UserError, PartFailedError)):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"


class PartFailedError(Exception):
    """A part failed in another process; the message is the reason."""
