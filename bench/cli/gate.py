"""``maskbench gate BASE HEAD``, or ``python -m bench.cli.gate``, compares the results of one run with those of another.

    maskbench gate BASE HEAD [thresholds.fps_model=-3% on_ambiguous=fail ...] [--out DIR]

BASE and HEAD are folders of results. Exit status: 0 nothing is worse, 3 something is, 2 wrong input.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import Container, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from bench.cli.arguments import filled, filled_path
from bench.cli.composing.errors import as_user_error
from bench.errors import UserError, nearest
from bench.files.folder_lock import REPORTING, locked
from bench.files.paths import expanded
from bench.gate.compare import compare
from bench.gate.rows import check_apart, load_rows
from bench.history.baseline import find_baseline
from bench.schema.config import GateConfig
from bench.schema.gate_report import GATE_FILE, GateReport, write_report
from bench.schema.metrics import METRICS
from bench.schema.typed.hydra_text import as_read, names_decoded
from bench.schema.typed.overrides import as_text
from reports.ci.files import write_all
from reports.parts import Parts
from reports.text.gate_table import gate_table
from reports.text.output import output_width, tolerant_output
from reports.text.styled import shown

DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "gate" / "default.yaml"

WORSE_EXIT = 3


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m bench.cli.gate") -> int:
    """Run the command; give the exit status: 0, 3 where the gate does not pass, 2 for wrong input."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Compare the results of one run with those of another. Exit status: 0 nothing is worse, 3 something"
        " is, 2 wrong input.",
    )
    parser.add_argument(
        "base", type=filled, metavar="BASE", help="the baseline: a folder of results, or main@latest with --history"
    )
    parser.add_argument("head", type=filled_path, metavar="HEAD", help="the results to be judged")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="keys of configs/gate/, as on_ambiguous=fail")
    parser.add_argument("--out", type=filled_path, help="where to write gate.json and what CI reads; default: nowhere")
    parser.add_argument(
        "--history", type=filled, metavar="PATH", help="where a baseline that is a name, as last-good, is looked up"
    )
    options = parser.parse_args(arguments)
    console = Console(width=output_width())
    try:
        gate = from_settings(options.settings)
        if expanded(options.base, "BASE").exists() and options.head.exists():
            check_apart(Path(options.base), options.head)
        base = find_baseline(options.base, options.history)
        report = compare(base.rows, load_rows(options.head), gate, (base.name, str(options.head)))
        with _locked(options.out, console):
            show(report, console)
            if options.out:
                with Parts("what is written") as parts:
                    parts.run(GATE_FILE, write_report, report, options.out / GATE_FILE)
                    write_rest = functools.partial(write_all, warn=False)  # reading the head has told of these already
                    parts.run("what CI reads", write_rest, report, options.head, options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if report.passed else WORSE_EXIT


def _locked(out: Path | None, console: Console) -> contextlib.AbstractContextManager[None]:
    """Hold the folder of ``--out``, which is thereby known to be one that can be written; nothing without one."""
    if out is None:
        return contextlib.nullcontext()
    return locked(out, REPORTING, lambda line: console.print(shown(line), soft_wrap=True), key="--out")


def show(report: GateReport, console: Console) -> None:
    """Print the findings and the outcome."""
    console.print(gate_table(report))


def from_settings(settings: Sequence[str]) -> GateConfig:
    """Give the default gate with ``KEY=VALUE`` settings in it, as ``thresholds.fps_model=-3%``.

    A key may have ``gate.`` before it, as messages print it.

    Raises:
        UserError: a setting is not KEY=VALUE, or its key is unknown.
    """
    schema = OmegaConf.structured(GateConfig)
    try:
        gate = OmegaConf.merge(schema, OmegaConf.load(DEFAULT))
        for setting in settings:
            _set(gate, setting)
        # Once more through plain containers, in which every name is itself again.
        merged = OmegaConf.merge(schema, names_decoded(OmegaConf.to_container(gate, resolve=True)))
        checked = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = as_read(str(error.full_key or ""))
        raise UserError(f"{key}: {str(error).splitlines()[0]}; {nearest(key, schema)}") from error
    assert isinstance(checked, GateConfig)
    for name in checked.thresholds:
        if name not in METRICS:
            raise UserError(f"thresholds.{name}: no such metric; {nearest(name, METRICS)}")
    return checked


def _set(gate: Container, setting: str) -> None:
    """Set one key of a gate, in the grammar of Hydra, as the command that measures does."""
    key, equals, value = setting.removeprefix("gate.").partition("=")
    if not equals:
        raise UserError(f"{setting}: must be KEY=VALUE, as thresholds.fps_model=-3%")
    if not value.strip():
        raise UserError(f"{key}= is empty (an unset variable?); give {key}=VALUE, or leave it out")
    try:
        [override] = OverridesParser.create().parse_overrides([as_text(f"gate.{key}={value}")])
    except OverrideParseException as error:
        raise as_user_error(error, DEFAULT.parents[1]) or error from error
    if override.is_sweep_override():
        raise UserError(f"{setting}: a comma makes a sweep, and a gate has one value of each key")
    given = override.key_or_group.removeprefix("gate.")
    OmegaConf.update(gate, given, override.value(), force_add=override.is_force_add())


if __name__ == "__main__":
    sys.exit(main())
