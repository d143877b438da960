"""A pytest plugin: ``def test_speed(maskbench): maskbench.check("solov2_r50_mmdet", fps_model=">= 20")``.

pytest loads it in every session of every user who has maskbench installed. So it imports next to nothing and does
nothing until a test asks for the fixture. And it imports nothing of maskbench, since the tests may be those of a
repository that has a ``bench`` package of its own. Installed, this package is called ``maskbench_pytest``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .session import Maskbench

_SESSION = pytest.StashKey["Maskbench"]()
_RESULTS = pytest.StashKey[list[str]]()
"""Folders of the results that tests have asked for, those of xdist's workers included."""
_WRITTEN = pytest.StashKey[bool]()
"""Whether pytest-benchmark has written them."""

_OPTIONS = {
    "out": "folder for the measurements (default: pytest's temporary folder)",
    "device": "device that models are measured on, as cuda:0 (default: the command's own choice)",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("maskbench", "instance-segmentation models, measured")
    for name, text in _OPTIONS.items():
        group.addoption(f"--maskbench-{name}", metavar=name.upper(), help=text)
        parser.addini(f"maskbench_{name}", f"{text}; --maskbench-{name} goes before it")


@pytest.fixture(scope="session")
def maskbench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Maskbench:
    """Give the object that measures models by the real command and checks their figures; see ``Maskbench.check``."""
    from .session import Maskbench

    session = pytestconfig.stash.get(_SESSION, None)
    if session is None:
        worker: dict[str, Any] = getattr(pytestconfig, "workerinput", {})
        base = tmp_path_factory.getbasetemp()
        # Under xdist every worker has a temporary folder of its own, all of them in one that they share.
        own = (base.parent if worker else base) / "maskbench"
        given = _option(pytestconfig, "out")
        session = Maskbench(
            root=pytestconfig.rootpath / given if given else own,
            device=_option(pytestconfig, "device"),
            session=worker.get("testrunuid"),
            cwd=pytestconfig.rootpath,
        )
        pytestconfig.stash[_SESSION] = session
    return session


def _option(config: pytest.Config, name: str) -> str | None:
    given = config.getoption(f"maskbench_{name}")
    if given is not None and not given.strip():
        raise pytest.UsageError(f"--maskbench-{name} is empty (an unset variable?); give a value, or leave it out")
    return given or config.getini(f"maskbench_{name}") or None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Note the folders of results that an xdist worker hands over as it ends."""
    known = node.config.stash.setdefault(_RESULTS, [])
    known += getattr(node, "workeroutput", {}).get("maskbench_results", [])


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Add the samples of the models to the file that pytest-benchmark is about to write."""
    if folders := _folders(config):
        from .answers import ask

        output_json["benchmarks"] += ask(benchmarks=folders)["benchmarks"]
        config.stash[_WRITTEN] = True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over the folders of results in an xdist worker; write ``--benchmark-json`` in the main process.

    The latter is needed where pytest-benchmark did not write: it does not without a benchmark of its own, so never
    under xdist.
    """
    config = session.config
    folders = _folders(config)
    if hasattr(config, "workeroutput"):
        config.workeroutput["maskbench_results"] = folders
        return
    path: Path | None = config.getoption("benchmark_json", None)
    off = config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False)
    if not folders or path is None or off or config.stash.get(_WRITTEN, False):
        return
    from .answers import ask

    written = ask(document=folders)["document"]
    # Through these hooks pytest-benchmark itself, and a user's conftest, describe machine and commit.
    written["machine_info"] = config.hook.pytest_benchmark_generate_machine_info(config=config)
    config.hook.pytest_benchmark_update_machine_info(config=config, machine_info=written["machine_info"])
    written["commit_info"] = config.hook.pytest_benchmark_generate_commit_info(config=config)
    config.hook.pytest_benchmark_update_commit_info(config=config, commit_info=written["commit_info"])
    Path(path).write_text(json.dumps(written, indent=4), encoding="utf-8")


def _folders(config: pytest.Config) -> list[str]:
    """Give the folders of results, each once, that tests of this process and of all ended workers asked for."""
    session = config.stash.get(_SESSION, None)
    own = [str(folder) for folder in session.folders] if session else []
    return list(dict.fromkeys([*config.stash.get(_RESULTS, []), *own]))
