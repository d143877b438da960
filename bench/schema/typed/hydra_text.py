"""Texts and names in a spelling that Hydra's grammar takes: quotation marks for texts, letters and digits for names.

Hydra has no quotation marks for the names in a key or a map: ``été`` or ``t-shirt, red`` cannot be a name there, and
``true`` is none. Such a name goes through Hydra as letters and digits, and is itself again before anybody sees it.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)

READ_AS_IT_STANDS = re.compile(
    r"(?:[\w/+.%*@?|:$ \t-]|\$\{[^}]+\}|\\(?:\\\\)*[()\[\]{}=,]|\\+(?![()\[\]{}=,\\]))*", re.ASCII
)
"""What Hydra reads outside of quotation marks, as a number, a word or a text."""

_PLAIN = re.compile(r"(?!(?:null|true|false|inf|nan)$)[A-Z_][A-Z0-9_-]*", re.IGNORECASE | re.ASCII)
"""What is a name for Hydra as it stands, in a key and in a map."""

_ENCODED = re.compile(r"(?<![\w-])_maskbench_((?:[0-9a-f]{2})*)_[0-9a-f]{8}_(?![\w-])", re.ASCII)

_READ_BY_ALL = re.compile(r"(?!(?:null|yes|no|on|off|true|false|inf|nan)$)[^\W\d_][\w'-]*(?: [\w'-]+)*", re.IGNORECASE)
"""Names that need no quotation marks in a map, neither for us nor for YAML."""

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]|(?! )\s|(?<=\s) ")
"""What a terminal does not show, or a message would show as one blank."""


def quoted(text: str) -> str:
    """Put a text into the quotation marks of Hydra: a backslash is doubled only where a mark follows."""
    # Without an escape where possible: Hydra keeps this spelling too, and there an escape within ${...} is an error.
    mark = '"' if "'" in text and '"' not in text else "'"
    escaped = re.sub(rf"(\\*){mark}", lambda found: f"{2 * found[1]}\\{mark}", text)
    escaped = re.sub(r"\\+\Z", lambda found: 2 * found[0], escaped)
    return f"{mark}{escaped}{mark}"


def unquoted(value: str) -> str:
    """Give the text within Hydra's quotation marks."""
    mark = value[0]
    return re.sub(rf"(\\+){mark}", lambda found: "\\" * (len(found[1]) // 2) + mark, value[1:])[:-1]


def literal(text: str) -> str:
    """Spell a text so that OmegaConf takes ``${...}`` in it for text and not for an interpolation."""
    return re.sub(r"(\\*)\$\{", lambda found: f"{2 * found[1]}\\${{", text)


def encoded(name: str) -> str:
    """Spell a name so that Hydra takes it; one that Hydra takes as it stands is left, as is one that is encoded."""
    return name if _PLAIN.fullmatch(name) else _as_hex(name)


def encoded_once_more(name: str) -> str:
    """Spell a name that is in our own spelling so that it will be that spelling, and not what it stands for."""
    return name if decoded(name) == name else _as_hex(name)


def _as_hex(name: str) -> str:
    # With a checksum, so that a name of this form that somebody made up is a name like any other.
    data = name.encode("utf-8", "surrogatepass")
    return f"_maskbench_{data.hex()}_{zlib.crc32(data):08x}_"


def decoded(name: str) -> str:
    """Give the name that :func:`encoded` spelled."""
    match = _ENCODED.fullmatch(name)
    if match is None:
        return name
    try:
        own = bytes.fromhex(match[1]).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return name
    return own if _as_hex(own) == name else name


def names_decoded(value: Any) -> Any:
    """Give plain containers in which every name, and every text that was spelled as one, is itself again.

    A name that stands there in both spellings, in a file and on the command line, has both its values merged.
    """
    if isinstance(value, list):
        return [names_decoded(part) for part in value]
    if not isinstance(value, dict):
        return decoded(value) if isinstance(value, str) else value
    whole: dict[Any, Any] = {}
    for name, part in value.items():
        name, part = decoded(name) if isinstance(name, str) else name, names_decoded(part)
        both = isinstance(part, dict) and isinstance(whole.get(name), dict)
        whole[name] = {**whole[name], **part} if both else part
    return whole


def as_read(text: str) -> str:
    """Give a message or an argument with every encoded name as a person writes it: quoted, but for that of a key."""

    def written(match: re.Match[str]) -> str:
        name = encoded_once_more(decoded(match[0]))
        return name if match.string[: match.start()].endswith(".") else name_in_map(name)

    return _ENCODED.sub(written, text)


def name_in_map(name: str) -> str:
    """Spell a name as it stands in a map, with the quotation marks of JSON and YAML where it needs some."""
    if _READ_BY_ALL.fullmatch(name):
        return name
    marked = json.dumps(name, ensure_ascii=False)
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", marked)
