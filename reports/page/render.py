"""What all HTML pages share: rendering a template, and putting a picture inside a page."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from bench.errors import visible

TEMPLATES = Path(__file__).parent / "templates"
OF_THE_SITE = Path(__file__).parents[1] / "site" / "templates"


def render(template: str, **context: Any) -> str:
    """Render a page from ``templates/``; names and reasons are escaped, and a missing value is an error."""
    return _environment().get_template(template).render(**context)


@functools.cache
def _environment() -> jinja2.Environment:
    """The one environment of all pages, which keeps the templates that it has compiled."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, OF_THE_SITE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """Spell control characters out in a text that is put into a page; what is HTML already stays."""
    return visible(value) if type(value) is str else value


@dataclass(frozen=True)
class Embedding:
    """Where the pictures of a page lie: inside the page, or with ``split`` beside it, in the folder ``beside``."""

    split: bool = False
    beside: str = "plots"

    def picture(self, path: Path, photograph: bool = False) -> str:
        """The address of a PNG file for the page; inside of it the picture is a WebP, see :func:`file_uri`."""
        return self._beside(path) if self.split else file_uri(path, photograph)

    def as_it_is(self, path: Path) -> str:
        """The address of a WebP file or a script, whose bytes stay as they are."""
        return self._beside(path) if self.split else _uri(path.read_bytes(), "webp")

    def text(self, path: Path, text: str) -> str:
        """The address of a text that a page needs; "" where it lies inside the page. Beside it, it is written here."""
        if not self.split:
            return ""
        path.write_text(text, encoding="utf-8")
        return self._beside(path)

    @property
    def policy(self) -> str:
        """The page's Content-Security-Policy: no network, and of files only those beside the page."""
        beside = " 'self'" if self.split else ""
        return (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'{beside}; img-src data:{beside}"
        )

    def _beside(self, path: Path) -> str:
        return quote(f"{self.beside}/{path.name}")


LONGEST_OF_WEBP = 16_383
"""The most pixels that a side of a WebP has."""

INSIDE = Embedding()
"""One file that needs nothing else."""


def file_uri(path: Path, photograph: bool = False) -> str:
    """A ``data:`` URI of a PNG file as WebP: of the same pixels, a third of the size; of a photograph a tenth.

    A picture that is too large for a WebP stays a PNG.
    """
    buffer = io.BytesIO()
    with Image.open(path) as image:
        if max(image.size) > LONGEST_OF_WEBP:
            return _uri(path.read_bytes(), "png")
        look = {"quality": 80} if photograph else {"lossless": True, "quality": 50}
        image.convert("RGB").save(buffer, "WEBP", method=2, **look)
    return _uri(buffer.getvalue(), "webp")


def literal(text: str) -> Markup:
    """Escape a text that stands between tags, where quotation marks need no escape: a JSON has hundreds of them."""
    return Markup(visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def webp(pixels: np.ndarray, quality: int = 75) -> bytes:
    """Give a photograph, uint8 RGB (H, W, 3), as a WebP."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", method=2, quality=quality)
    return buffer.getvalue()


def webp_uri(content: bytes) -> str:
    """Give a ``data:`` URI of a WebP."""
    return _uri(content, "webp")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
