"""What the options of a model have from the environment: a token, for example, that no file and no message may hold.

A configuration says ``${oc.env:TOKEN}``. That text is what is stored and shown; the value goes to the worker alone, by
the worker's environment. This module needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.private.texts import without_secrets

VARIABLE = "MASKBENCH_FROM_ENVIRONMENT"
"""The variable of a worker's environment that holds the values, as JSON."""


@dataclass(frozen=True)
class FromEnvironment:
    """The options of a model that have something from the environment.

    options: the whole value of each such option, by its name
    texts: the value of each variable, and the text that stands for it, ``${oc.env:TOKEN}``
    """

    options: dict[str, Any] = field(default_factory=dict, repr=False)
    texts: dict[str, str] = field(default_factory=dict, repr=False)

    def fill(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Give the options of a model with their values."""
        return {**options, **copy.deepcopy(self.options)}

    def hide(self, text: str) -> str:
        """Give a text in which each value is its own text again."""
        return without_secrets(text, self.texts)

    def hide_in_file(self, path: Path) -> None:
        """Do the same in a file, such as the log of a worker; a file that is absent or cannot be written stays."""
        if not self.texts:
            return
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            hidden = self.hide(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            if hidden != content:
                path.write_bytes(hidden)

    def variables(self) -> dict[str, str]:
        """Give the part of a worker's environment that hands the values over."""
        return {VARIABLE: json.dumps(dataclasses.asdict(self))} if self.options else {}

    @classmethod
    def handed_over(cls) -> FromEnvironment:
        """Give, in a worker, what it was started with, once: processes that the model starts do not get it."""
        return cls(**json.loads(os.environ.pop(VARIABLE, "{}")))

    def digest(self, but: Mapping[str, Any]) -> str | None:
        """Give a digest of the values, without the options in ``but``; None where there are none.

        A job is measured anew when a value has changed. The digest is keyed, since it is published with the result: the
        key stays on this machine, and without it nobody can try values until one fits.
        """
        values = {name: value for name, value in self.options.items() if name not in but}
        if not values:
            return None
        content = json.dumps(values, sort_keys=True, default=str).encode()
        return hmac.new(_key(), content, hashlib.sha256).hexdigest()[:16]


def _key() -> bytes:
    """Give the key of this user on this machine; a new one each time where it cannot be kept."""
    home = os.environ.get("MASKBENCH_CACHE")
    try:
        path = (Path(home) if home else Path.home() / ".cache" / "maskbench") / "key"
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
            with contextlib.suppress(FileExistsError):  # another command was faster, and all must have the same
                os.link(temporary, path)
            os.unlink(temporary)
        return path.read_bytes()
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return secrets.token_bytes(32)
