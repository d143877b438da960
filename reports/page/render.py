"""What all HTML pages share: rendering a template, and putting a picture inside a page."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import Any

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


def file_uri(path: Path, photograph: bool = False) -> str:
    """A ``data:`` URI of a PNG file as WebP: of the same pixels, a third of the size; of a photograph a tenth."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        look = {"quality": 80} if photograph else {"lossless": True, "quality": 50}
        image.convert("RGB").save(buffer, "WEBP", method=2, **look)
    return _uri(buffer.getvalue(), "webp")


def literal(text: str) -> Markup:
    """Escape a text that stands between tags, where quotation marks need no escape: a JSON has hundreds of them."""
    return Markup(visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def jpeg_uri(pixels: np.ndarray, quality: int = 86) -> str:
    """A ``data:`` URI of pixels, uint8 RGB (H, W, 3), as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return _uri(buffer.getvalue(), "jpeg")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
