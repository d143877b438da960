"""The command: ``maskbench OVERRIDES`` measures; ``check``, ``export``, ``report``, ``gate``, ``history``,
``status`` and ``site`` do the rest."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence

from bench.errors import called_as_maskbench, nearest, visible
from reports.text.output import tolerant_output

COMMANDS = {
    "check": "bench.cli.dataset",
    "export": "bench.cli.export",
    "report": "reports.__main__",
    "gate": "bench.cli.gate",
    "history": "bench.cli.history",
    "status": "bench.cli.status",
    "site": "reports.site.__main__",
}
"""Module of each command that is a word; its ``main`` takes the arguments and the beginning of its usage line."""

ANSWER = "--answer"

BUG_EXIT = 70
"""The exit status after an error of maskbench's own, which Python would make 1, the status of a row that failed."""


@tolerant_output()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; give the exit status."""
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except Exception:
        traceback.print_exc()
        return BUG_EXIT


def _main(given: Sequence[str]) -> int:
    word = given[0] if given else ""
    if word == ANSWER:
        from bench.cli.answer import answer_all

        return answer_all()
    if word.isalpha() and word not in COMMANDS:
        hint = nearest(word, COMMANDS)
        told = f"maskbench: {word}: no such command; {hint} (what is measured is given as KEY=VALUE)"
        print(visible(told), file=sys.stderr)
        return 2
    if word not in COMMANDS:
        from bench.cli.run import run

        return run(given)
    program = "maskbench" if called_as_maskbench() else "python run_bench.py"
    command = importlib.import_module(COMMANDS[word]).main
    # The check of a dataset has its word as a subcommand, and adds it to the usage line itself.
    status: int = command(given, program) if word == "check" else command(given[1:], f"{program} {word}")
    return status
