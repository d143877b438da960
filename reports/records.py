"""Tables as JSON files, of thousands of rows too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.files.json_file import write_atomically


def write_records(records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write a list with an object for each record, whose values are no lists and no objects, and one key a line.

    The bytes are those of ``json.dumps(records, indent=1)``, which is four times as slow, since Python's fast encoder
    makes no lines.
    """
    text = ",\n ".join(_lines(record) for record in records)
    content = f"[\n {text}\n]\n" if text else "[]\n"
    write_atomically(path, content.encode(errors="backslashreplace"))  # half a UTF-16 pair, as JSON spells it


def _lines(record: Mapping[str, Any]) -> str:
    inside = json.dumps(record, ensure_ascii=False, separators=(",\n  ", ": "))[1:-1]
    return f"{{\n  {inside}\n }}" if inside else "{}"
