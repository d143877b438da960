"""Write the README's list of columns from the tables of settings and figures.

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
    """Give one line of Markdown a column, with its unit and definition."""
    lines = (f"| `{name}` | {column.unit} | {column.description} |\n" for name, column in COLUMNS.items())
    return HEAD + "".join(lines)


def with_column_table(text: str) -> str:
    """Replace the list of columns in the text by the present one.

    Raises:
        UserError: the text does not hold exactly one such list.
    """
    replaced, count = re.subn(re.escape(HEAD) + r"(?:\|.*\n)*", lambda _: column_table(), text)
    if count != 1:
        raise UserError(f"{count} lists of columns, must be one; a list begins with {HEAD.splitlines()[0]!r}")
    return replaced


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring a file's list of columns up to date, and give the exit status."""
    [path] = (sys.argv[1:] if arguments is None else arguments) or ["README.md"]
    try:
        Path(path).write_text(with_column_table(Path(path).read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, UserError) as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
