"""The README's list of columns, written from the tables of settings and figures.

python -m reports.text.column_table [README.md]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from reports.table.columns import COLUMNS

HEAD = "| column | unit | what it is |\n| --- | --- | --- |\n"


def column_table() -> str:
    """One line a column with its unit and definition, in Markdown."""
    lines = (f"| `{name}` | {column.unit} | {column.description} |\n" for name, column in COLUMNS.items())
    return HEAD + "".join(lines)


def with_column_table(text: str) -> str:
    """The text with the list of columns in it as it is now.

    Raises:
        UserError: there is no such list in the text.
    """
    replaced, count = re.subn(re.escape(HEAD) + r"(?:\|.*\n)*", lambda _: column_table(), text)
    if count != 1:
        raise UserError(f"no list of columns, which begins with {HEAD.splitlines()[0]!r}")
    return replaced


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: bring a file's list of columns up to date; gives the exit status."""
    [path] = (sys.argv[1:] if arguments is None else arguments) or ["README.md"]
    try:
        Path(path).write_text(with_column_table(Path(path).read_text(encoding="utf-8")), encoding="utf-8")
    except UserError as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
