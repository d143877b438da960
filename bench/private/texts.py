"""What must not be published with a result: secrets in addresses, home folders, names of users.

This module needs the standard library alone, so that it can stand below every room that writes or says something.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
"""Stands in a text where a secret was."""

_ADDRESS = re.compile(
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/@'\"<>]*@)?(?P<rest>[^\s?#'\"<>]*)(?P<query>[?#][^\s'\"<>]*)?"
)
_SECRET_PARAMETER = re.compile(
    r"(?i)(?P<name>[?&;][\w.-]*(?:token|signature|sig|secret|passw|credential|auth|key|expires|policy)[\w.-]*=)[^&#;]*"
)
LEAST_SECRET = 6
"""Characters of the shortest value that is looked for in other texts: a shorter one stands in them by chance."""


def without_credentials(address: str) -> str:
    """Give the address of a file without user, password and query, which may hold a token."""
    return _ADDRESS.sub(
        lambda found: found["scheme"] + found["rest"] + ("?" + HIDDEN if found["query"] else ""), address
    )


def without_secrets(text: str, secrets: Mapping[str, str] | None = None) -> str:
    """Give a text with a stand-in for each secret, and without those in the addresses that stand in it.

    Of an address it leaves out the user, the password, and the parameters of the query whose names say that they are
    secret, such as ``token``.

    secrets: each secret, and its stand-in
    """
    for secret, instead in sorted((secrets or {}).items(), key=lambda item: -len(item[0])):
        if len(secret) >= LEAST_SECRET:
            lines = (line.strip() for line in secret.splitlines())  # a log or a reason may hold one line of a key
            for spelled in (secret, " ".join(secret.split()), repr(secret)[1:-1], *lines):
                text = text.replace(spelled, instead) if len(spelled) >= LEAST_SECRET else text
    return _ADDRESS.sub(_harmless, text) if "://" in text else text


def _harmless(found: re.Match[str]) -> str:
    query = _SECRET_PARAMETER.sub(lambda parameter: parameter["name"] + HIDDEN, found["query"] or "")
    return found["scheme"] + found["rest"] + query


def without_home(text: str) -> str:
    """Give a text in which ``~`` stands for the user's home folder, and ``USER`` for the user's name in other paths."""
    for home in _homes():
        text = re.sub(rf"(?<![\w.~-]){re.escape(home)}(?![\w-]|\.\w)", "~", text)
    name = _user()
    return re.sub(rf"(?<=/){re.escape(name)}(?=/)", "USER", text) if name and name in text else text


def publishable(value: Any) -> Any:
    """Give nested JSON whose texts are without secrets in addresses and without the user's home folder and name."""
    if isinstance(value, str):
        return without_home(without_secrets(value)) if "/" in value else value
    if isinstance(value, Mapping):
        return {key: publishable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple) and not (value and isinstance(value[0], int | float)):  # raw samples are long
        return [publishable(inner) for inner in value]
    return value


def _homes() -> list[str]:
    """Give the spellings of the home folder, with links and without; none where it is the root of all files."""
    home = os.path.expanduser("~")
    return sorted(
        {h for h in (home, os.path.realpath(home)) if h.count("/") >= 1 and len(h) > 2}, key=len, reverse=True
    )


def _user() -> str | None:
    """Give the user's name; None for one that other folders have too, and for a user without a name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without an entry
        return None
    return name if len(name) > 2 and name not in _COMMON else None


_COMMON = frozenset(("root", "user", "data", "home", "images", "runs", "nobody", "runner", "ubuntu", "docker", "work"))
