"""The script that draws charts in a page: vega-embed with all that it needs, as vl-convert carries it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import vl_convert

from bench.errors import UserError
from bench.files.paths import cache_folder

SNIPPET = "window.vegaEmbed = vegaEmbed;"


def library() -> str:
    """Give the script, 0.9 MB, in gzip and then base64: 0.4 MB. A page decompresses it before it runs it.

    To put it together takes seconds, so that it is kept in the cache, and read only where its digest still fits.
    """
    with contextlib.suppress(OSError, UserError, ValueError):
        digest, text = _kept_file().read_text(encoding="ascii").split("\n")
        if digest == hashlib.sha256(text.encode()).hexdigest():
            return text
    packed = gzip.compress(vl_convert.javascript_bundle(SNIPPET).encode(), 9, mtime=0)
    text = base64.b64encode(packed).decode()
    with contextlib.suppress(OSError, UserError):
        _keep(text)
    return text


def _kept_file() -> Path:
    versions = "-".join(
        (version("vl-convert-python"), vl_convert.get_vega_version(), vl_convert.get_vega_embed_version())
    )
    return cache_folder("charts") / f"vega-{versions}.txt"


def _keep(text: str) -> None:
    """Write the script into the cache, whole or not at all: another command may read it at the same time."""
    path = _kept_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    os.replace(name, path)
