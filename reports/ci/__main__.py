"""Every file that CI reads, written again from the folder of a finished run.

    python -m reports.ci RESULTS [--gate gate.json] [--out DIR]

RESULTS is a folder of results. Without a gate only what is drawn from results alone is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.errors import UserError, visible
from bench.files.folder_lock import REPORTING, locked
from bench.files.paths import path_argument
from bench.schema.gate_report import read_report
from reports.ci.files import write_all
from reports.text.output import tolerant_output


@tolerant_output()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit status: 0, or 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m reports.ci", description="Write every file that CI reads.")
    parser.add_argument("results", type=path_argument, metavar="RESULTS", help="a folder of results")
    parser.add_argument(
        "--gate", type=path_argument, metavar="FILE", help="the gate.json of the comparison that judged them"
    )
    parser.add_argument("--out", type=path_argument, help="where to write the files; default: RESULTS")
    options = parser.parse_args(arguments)
    try:
        report = read_report(options.gate) if options.gate else None
        out = options.out or options.results
        with locked(out, REPORTING, lambda line: print(visible(line), file=sys.stderr), key="--out"):
            for path in write_all(report, options.results, out):
                print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
