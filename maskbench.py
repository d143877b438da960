"""maskbench in Python: ``maskbench.load("runs/demo")`` gives results as data frames, ``maskbench.main`` is the command.

docs/notebook.ipynb shows it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

# A notebook's folder may hold packages of these names; importing ours first takes the names, as run_bench.py does.
_ROOT = str(Path(__file__).resolve().parent)
sys.path.insert(0, _ROOT)
for _name in ("adapters", "bench", "reports"):
    importlib.import_module(_name)
sys.path.remove(_ROOT)

from bench.results import Results, load  # noqa: E402

__all__ = ["Results", "load", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, as ``maskbench ARGUMENTS`` does; give its exit status."""
    from run_bench import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
