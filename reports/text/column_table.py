"""Write the list of columns of ``docs/columns.md`` from the tables of settings and figures.

python -m reports.text.column_table [docs/columns.md]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from bench.errors import UserError
from reports.table.columns import COLUMNS
from reports.text.in_readme import bring_up_to_date

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
    return bring_up_to_date(with_column_table, arguments, "docs/columns.md")


if __name__ == "__main__":
    sys.exit(main())
