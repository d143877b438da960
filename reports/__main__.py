"""``python -m reports DIR... [--out DIR]``: rebuild the report from any set of result files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import reports
from bench.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; gives the exit status: 0, or 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="Rebuild the report from result files.")
    parser.add_argument(
        "sources", nargs="+", type=Path, metavar="DIR", help="a run's folder, a folder of runs, or a result.json"
    )
    parser.add_argument("--out", type=Path, help="where to write it; default: DIR, or ./comparison for several")
    options = parser.parse_args(arguments)
    only = options.sources[0] if len(options.sources) == 1 and options.sources[0].is_dir() else Path("comparison")
    try:
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
