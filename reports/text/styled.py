"""Text for a terminal."""

from __future__ import annotations

from rich.text import Text

from bench.errors import visible


def shown(text: str, style: str = "") -> Text:
    """Give text that ``rich`` prints as it is: without markup in it, and with its control characters spelled out."""
    return Text(visible(text), style=style)
