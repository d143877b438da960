"""This command writes the report of any set of result files anew, or answers a question about them.

python -m reports DIR... [--out DIR]                                              the report
python -m reports DIR... --where "fps_model >= 20 and host_rss_mb <= 8000" --best mask_ap   which model to take
python -m reports DIR --split                                                     pictures beside the page
python -m reports DIR --again DIR                                                 the same study twice: is it the same?
python -m reports DIR --latex table.tex --columns model,mask_ap,fps_model         a table for a paper
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import reports
from bench.errors import UserError, visible
from bench.files.folder_lock import REPORTING, locked
from bench.files.paths import path_argument
from reports.text.output import output_width, tolerant_output

OF_LATEX = ("columns", "rows", "intervals", "caption", "label")
"""Options of a table for a paper."""


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m reports") -> int:
    """Run the command and give its exit status.

    The status is 0 for a report and for the answer yes, 1 where no row meets the condition or where too few rows
    repeat, and 2 for wrong input.
    """
    parser = _parser(program)
    options = parser.parse_args(arguments)
    if options.again and (options.where or options.best):
        parser.error("--again compares all rows; leave out --where and --best")
    if options.latex is None and (lonely := [f"--{name}" for name in OF_LATEX if getattr(options, name) is not None]):
        parser.error(f"{' and '.join(lonely)}: of a table for a paper; give --latex FILE, too")
    try:
        if options.where or options.best:
            from reports.table.selection import answer_from

            return _print_answer(*answer_from(options.sources, options.where, options.best))
        if options.again:
            from reports.text import again

            return _print_answer(*again.answer_from(options.sources, options.again))
        if options.latex:
            return _write_latex(options)
        _print_report(options.sources, options.out, options.split)
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Rebuild the report from result files; or, with --where and --best, choose among them; or, with "
        "--again, compare them with a second run of the same study.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        type=path_argument,
        metavar="DIR",
        help="a run's folder, a folder of runs, or a result.json",
    )
    parser.add_argument(
        "--out", type=path_argument, help="where to write it; default: DIR, or ./comparison for several"
    )
    parser.add_argument(
        "--where", metavar="CONDITION", help="rows to choose among, a condition on columns: 'fps_model >= 20'"
    )
    parser.add_argument("--best", metavar="COLUMN", help="the column that decides, as mask_ap")
    parser.add_argument("--split", action="store_true", help="leave pictures and the charts' library beside the pages")
    parser.add_argument(
        "--again", type=path_argument, metavar="DIR", help="the folder of a second run of the same study"
    )
    paper = parser.add_argument_group("a table for a paper")
    paper.add_argument("--latex", type=path_argument, metavar="FILE", help="write it to FILE, for booktabs and siunitx")
    paper.add_argument("--columns", metavar="A,B", help="its columns: model,backbone,mask_ap,fps_model")
    paper.add_argument("--rows", metavar="CONDITION", help="its rows, a condition on columns as that of --where")
    paper.add_argument(
        "--intervals", choices=("pm", "small", "none"), help="95 %% intervals: ± (pm, the default), in small type, none"
    )
    paper.add_argument("--caption", metavar="TEXT", help="what it is of; how to read it is added")
    paper.add_argument("--label", metavar="NAME", help="default: tab:maskbench")
    return parser


def _write_latex(options: argparse.Namespace) -> int:
    """Write the table that a paper takes in, and say how."""
    from reports.paper.latex_table import Paper, write_paper

    given = {name: value for name in OF_LATEX if (value := getattr(options, name)) is not None}
    if "columns" in given:
        given["columns"] = tuple(name.strip() for name in given["columns"].split(",") if name.strip())
    rows = write_paper(options.sources, options.latex, Paper(**given))
    print(visible(f"{options.latex}: {rows} row{'' if rows == 1 else 's'}"))
    return 0


def _print_answer(text: str, yes: bool) -> int:
    """Print the answer to a question and give the exit status that says yes or no."""
    print(visible(text))
    return 0 if yes else 1


def _print_report(sources: Sequence[Path], out: Path | None, split: bool) -> None:
    """Write the report, then print its table and the path of its page."""
    from rich.console import Console

    from reports.ci.step_summary import append_answers

    only = sources[0] if len(sources) == 1 and sources[0].is_dir() else Path("comparison")
    with locked(out or only, REPORTING, lambda line: print(visible(line), file=sys.stderr), key="--out"):
        page = reports.build(sources, out or only, split=split)
    Console(width=output_width()).print(reports.terminal_table(sources), crop=False)
    print(visible(str(page)))
    append_answers(sources)


if __name__ == "__main__":
    sys.exit(main())
