"""``python run_bench.py OVERRIDES``, or ``maskbench OVERRIDES``, measures, reports, and compares with a baseline.

Hydra composes one job per model and setting (a comma makes a sweep). Every job is checked, and then run in worker
processes of its own. Modules that ``--help`` does not need are imported in the functions that need them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bench.cli.arguments import Arguments, for_hydra
from bench.cli.composing.errors import in_one_line
from bench.cli.composing.help import first_of_sweeps, made_readable
from bench.cli.composing.quicker import quicken
from bench.cli.config_dir import check_names, seen_by_hydra
from bench.cli.free_form import schema_for_hydra, with_own_names
from bench.errors import UserError, called_as_maskbench
from bench.private.texts import publishable, without_credentials
from bench.schema.typed.hydra_text import as_read

if TYPE_CHECKING:
    from bench.jobs.job import ComposedJob
    from bench.jobs.run import Run

quicken()
# Every configuration that a job gets, or that --cfg and --info print, comes by here; a sweep is divided before.
_set_config = HydraConfig.set_config
HydraConfig.set_config = lambda self, cfg: _set_config(self, with_own_names(cfg))  # type: ignore[method-assign]

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

PLAN = "--plan"


def compose(overrides: Sequence[str]) -> list[ComposedJob]:
    """Compose the jobs that a command line asks for, in order, and check each against the schema; run none.

    Raises:
        UserError: a key, an option or a value is unknown, and the message has the nearest valid name; or there is
            nothing to run.
    """
    given = for_hydra(overrides)
    with in_one_line(CONFIGS):
        composed = _composed_by_hydra(given)
    from bench.cli.model_keys import TARGET, given_keys, refuse_foreign_keys
    from bench.jobs.validate import check_shared, to_config

    if not composed and not given.prints:
        raise UserError("nothing to run")
    if given.config_dir is not None:
        check_names(Path(given.config_dir), CONFIGS, (choices for _, choices in composed))
    own_class = TARGET in given_keys(overrides)
    with in_one_line(CONFIGS):
        jobs = [to_config(cfg, choices, own_class=own_class) for cfg, choices in composed]
    check_shared(jobs)
    own_configs = [] if given.config_dir is None else [Path(given.config_dir)]
    refuse_foreign_keys(overrides, jobs, [CONFIGS, *own_configs])
    return jobs


def _composed_by_hydra(given: Arguments) -> list[tuple[DictConfig, dict[str, str]]]:
    """Give the composed configuration of each job, and the chosen option of each group; or print what is asked for."""
    composed: list[tuple[DictConfig, dict[str, str]]] = []

    def collect(cfg: DictConfig) -> None:
        choices = dict(HydraConfig.get().runtime.choices)
        composed.append((cfg, {k: v for k, v in choices.items() if v and not k.startswith("hydra/")}))

    # With the schema under everything composed, each of its keys has a type and can be set without a plus.
    ConfigStore.instance().store(name="schema", node=schema_for_hydra())
    argv = sys.argv
    # Without this, Hydra prints its errors and exits; we want one line of our own.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with tempfile.TemporaryDirectory(prefix="maskbench-") as folder:
        options = list(given.options)
        if given.config_dir is not None:
            options.append(f"--config-dir={seen_by_hydra(Path(given.config_dir), Path(folder, 'configs'))}")
        of_ours = [f"hydra.help.app_name='{' '.join(_program())}'", f"hydra.sweep.dir='{folder}/sweep'"]
        helps = "--help" in options
        overrides = first_of_sweeps(given.overrides) if helps else given.overrides
        sys.argv = [argv[0], *options, *overrides, *_implied(given.overrides), *of_ours]
        try:
            with made_readable(CONFIGS) if helps else contextlib.nullcontext():
                hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(collect)()
        finally:
            sys.argv = argv
    return composed


def _implied(overrides: Sequence[str]) -> list[str]:
    """Give the overrides that others imply.

    A model without a study is measured alone, with the default protocol; the demo's protocol is for a quick look. A
    baseline implies a gate.
    """
    named = {override.partition("=")[0] for override in overrides}
    added = ["study=none"] if "model" in named and "study" not in named else []
    return added + (["gate=default"] if "baseline" in named and "gate" not in named else [])


def run(given: Sequence[str]) -> int:
    """Run the command; give the exit status."""
    _take_as_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    try:
        if "--version" in given:
            return _say_version()
        if given[:1] == [PLAN]:
            return plan_only(Path(given[1]), given[2:])
        jobs = compose(given)
        return _measured(jobs, given) if jobs else 0
    except UserError as error:
        print(f"maskbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        from bench.jobs.study import INTERRUPTED_EXIT

        return INTERRUPTED_EXIT


def _say_version() -> int:
    from importlib.metadata import PackageNotFoundError, version

    try:
        print(f"maskbench {version('maskbench')}")
    except PackageNotFoundError:  # a checkout that nobody installed
        print("maskbench, not installed")
    return 0


def _measured(jobs: list[ComposedJob], given: Sequence[str]) -> int:
    """Measure the study, report it and append it to its history; give the exit status."""
    from rich.console import Console

    from bench.cli.outputs import check_history, keep, output_folder, report
    from bench.cli.tracking.track import check_installed, track
    from bench.device.slots.find import find_slots
    from bench.jobs.local import LocalLauncher
    from bench.jobs.run import Run
    from bench.jobs.slots.fit import fitted
    from bench.jobs.study import INTERRUPTED_EXIT, run_study
    from reports.text.output import output_width

    slots = find_slots(jobs[0].config.devices)
    jobs = fitted(jobs, slots)
    console = Console(width=output_width())
    config, command, arguments = jobs[0].config, _command(given), for_hydra(given)
    check_history(config.history)
    check_installed(config.tracker)
    with output_folder(jobs, command, partial(console.print, markup=False, highlight=False, soft_wrap=True)) as out:
        launcher = LocalLauncher(slots[0] if slots else None)
        this = Run(
            out, [*arguments.options, *arguments.overrides], command, launcher, console, slots=slots, wait=config.wait
        )
        if config.launcher.name != "local":
            from bench.jobs.elsewhere.study import run_elsewhere

            status = run_elsewhere(jobs, this)
        elif config.gate is not None or config.baseline is not None:
            return _gated(jobs, this)
        else:
            status = run_study(jobs, this)
        if any(out.glob("jobs/*/result.json")):
            report(out, out, console)
            if status != INTERRUPTED_EXIT:
                keep(config.history, out, console)
                track(config.tracker, out, out, this.say)
            elif config.history is not None:  # a run that lacks rows and rounds must not be anyone's baseline
                this.say(f"history: {config.history} does not get this run, since it was interrupted")
        return status


def _program() -> list[str]:
    return ["maskbench"] if called_as_maskbench() else ["python", "run_bench.py"]


def _command(given: Sequence[str]) -> str:
    """Give what the user typed, to be kept beside weights and published.

    It is without ``out=``, the address of a cluster, home folder and secrets.
    """
    typed = [as_read(argument) for argument in given if not argument.startswith(("out=", "launcher."))]
    kept = [without_credentials(a) if a.startswith("model.zoo.url=") else a for a in typed]
    return shlex.join([*_program(), *(publishable(a) for a in kept)])


def _gated(jobs: list[ComposedJob], this: Run) -> int:
    """Run a study with a gate; give the exit status, 3 where the gate does not pass."""
    from bench.cli.gate import WORSE_EXIT, show
    from bench.cli.outputs import keep, report
    from bench.cli.tracking.track import track
    from bench.files.paths import expanded
    from bench.gate.rows import check_apart
    from bench.gate.run import NothingComparedError, run_gated, the_gate
    from bench.history.baseline import find_baseline

    out, console = this.out, this.console
    gate, baseline, history = the_gate(jobs, this.command), jobs[0].config.baseline, jobs[0].config.history
    assert gate is not None
    if baseline is not None and expanded(baseline, "baseline").exists():
        check_apart(Path(baseline), out)
    base = None if baseline is None else find_baseline(baseline, history)
    try:
        gated = run_gated(jobs, gate, base, this)
    except NothingComparedError as error:
        # The results are valid, even where they cannot be compared with the baseline.
        report(error.results, out, console)
        raise
    if any(gated.results.glob("jobs/*/result.json")):
        report(gated.results, out, console, gated.report)
    if gated.report is None:
        return gated.status
    show(gated.report, console)
    keep(history, gated.results, console, gated.report)
    track(jobs[0].config.tracker, gated.results, out, this.say)
    return gated.status if gated.report.passed else WORSE_EXIT


def plan_only(out: Path, given: Sequence[str]) -> int:
    """Plan the jobs, run none, and print them as JSON; give the exit status.

    Another maskbench asks this one in this way for the base of an interleaved comparison.
    """
    from bench.jobs.job import to_description
    from bench.jobs.plan import plan

    planned = plan(compose(given), out, lambda *_: None, _command(given))
    print(json.dumps([to_description(job) for job in planned]))
    return 0


def _take_as_ctrl_c(*signals: signal.Signals) -> None:
    """Take these signals as Ctrl-C, so that what was measured is reported: CI cancels so, and a terminal that closes.

    One that this process was started to ignore, as by ``nohup``, is ignored.
    """
    for number in signals:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    # A terminal that closes may tell it twice, by its shell and by the kernel; the second must not end the report.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt
