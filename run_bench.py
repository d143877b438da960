"""maskbench: compare instance-segmentation models on the same images, the same clock and the same evaluator.

    python run_bench.py                                         the demo study
    python run_bench.py model=a,b dataset=coco dataset.images=DIR dataset.annotations=FILE
    python run_bench.py study=variants device=cuda:0 precision=fp16 out=runs/mine
    python run_bench.py study=ci model=a baseline=runs/mine     compare it with an earlier run
    python run_bench.py check|report|gate|history ...           the other commands

Installed, ``maskbench`` is the same command. Exit status: 0 all rows ok or skipped, 1 a row failed, 2 wrong input,
3 worse than the baseline, 70 an error of maskbench itself, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

# A folder on PYTHONPATH may hold other packages of these names; importing ours first takes the names.
_ROOT = str(Path(__file__).resolve().parent)
sys.path.insert(0, _ROOT)
for _name in ("adapters", "bench", "reports"):
    importlib.import_module(_name)
sys.path.remove(_ROOT)

from bench.cli.main import main  # noqa: E402
from bench.cli.run import compose  # noqa: E402

__all__ = ["compose", "main"]

if __name__ == "__main__":
    sys.exit(main())
