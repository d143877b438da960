"""From any set of result files: the report anew, or the answer to a question.

python -m reports DIR... [--out DIR]                                              the report
python -m reports DIR... --where "fps_model >= 20 and host_rss_mb <= 8000" --best mask_ap   which model to take
python -m reports DIR --again DIR                                                 the same study twice: is it the same?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import reports
from bench.errors import UserError


def main(arguments: Sequence[str] | None = None, program: str = "python -m reports") -> int:
    """Entry point; gives the exit status: 0, 1 where no row meets the condition or too few rows repeat, 2 for wrong
    input."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Rebuild the report from result files; or, with --where and --best, choose among them; or, with "
        "--again, hold them against the same study measured anew.",
    )
    parser.add_argument(
        "sources", nargs="+", type=Path, metavar="DIR", help="a run's folder, a folder of runs, or a result.json"
    )
    parser.add_argument("--out", type=Path, help="where to write it; default: DIR, or ./comparison for several")
    parser.add_argument(
        "--where", metavar="CONDITION", help="rows to choose among, a condition on columns: 'fps_model >= 20'"
    )
    parser.add_argument("--best", metavar="COLUMN", help="the column that decides, as mask_ap")
    parser.add_argument("--again", type=Path, metavar="DIR", help="the same study, measured in another run")
    options = parser.parse_args(arguments)
    if options.again and (options.where or options.best):
        parser.error("--again compares all rows; leave out --where and --best")
    only = options.sources[0] if len(options.sources) == 1 and options.sources[0].is_dir() else Path("comparison")
    try:
        if options.where or options.best:
            from reports.table.selection import answer_from

            text, any_left = answer_from(options.sources, options.where, options.best)
            print(text)
            return 0 if any_left else 1
        if options.again:
            from reports.text import again

            text, held = again.answer_from(options.sources, options.again)
            print(text)
            return 0 if held else 1
        page = reports.build(options.sources, options.out or only)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from rich.console import Console

    # Into a file or a pipe there is no width to find out.
    Console(width=None if sys.stdout.isatty() else 120).print(reports.terminal_table(options.sources))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
