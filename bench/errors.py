"""The exception for mistakes that the person at the keyboard can mend, and phrases that its messages share."""

from __future__ import annotations

import difflib
import errno
import re
import sys
from collections.abc import Iterable
from pathlib import Path

_SHOWN = 12
"""How many names a message lists where no known name is close; the line must stay readable."""

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, of which ESC begins commands to a terminal; those that turn the direction of a line; and halves
of a UTF-16 pair, which no file of UTF-8 can hold. Tabs and line ends are not among them."""


class UserError(Exception):
    """Input is wrong. The message says in one line what is wrong, where (file, key), and what would be right.

    The command prints the line without a traceback and exits with 2. Every other exception is a bug
    and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(" ".join(message.split())))


class OtherDeviceError(UserError):
    """A model's runtime cannot use the device. In a study with models that can, its row is skipped for that reason."""


def visible(text: str) -> str:
    """Spell control characters out, as ``\\x1b``, so that text of others steers no terminal and hides nothing."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def no_room(error: OSError) -> bool:
    """Whether a file could not be written because the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a phrase that ends an error about an unknown name: the closest known names, or else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not names:
        return "none is available"
    shown = ", ".join(names[:_SHOWN])
    return f"available: {shown}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


SECTIONS = Path(__file__).resolve().parents[1] / "adapters" / "install_sections.yaml"
"""The file with the modules that have a section of their own in ``docs/install.md``."""


def install_sections() -> set[str]:
    """Give the modules that have a section of their own in ``docs/install.md``."""
    lines = SECTIONS.read_text(encoding="utf-8").splitlines() if SECTIONS.is_file() else []
    return {line.removeprefix("- ") for line in lines if line.startswith("- ")}


def absent_library(error: ModuleNotFoundError) -> str:
    """Return the reason of a row that is skipped because its library is not installed in this interpreter.

    An adapter that raises the error itself says in it how to get the library.
    """
    name, remedy = (error.name or str(error)).partition(".")[0], ""
    if error.name and not str(error).startswith("No module named"):
        remedy = f"{error}; "
    section = name if name in install_sections() else "other"
    return f"{name} is not installed in {_interpreter()}; {remedy}see docs/install.md#{section}"


def _interpreter() -> str:
    """Give the path of this interpreter from the current folder, or else its environment's: a report may publish it."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(*path.parts[-3:]))


def called_as_maskbench() -> bool:
    """Whether the user typed ``maskbench``, the installed command, so that a message can name a command that works."""
    return Path(sys.argv[0]).stem == "maskbench"
