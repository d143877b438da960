"""The file that a worker's interpreter is given; it runs :mod:`bench.jobs.worker.main`.

``python -m bench.jobs.worker.main`` would take a ``bench`` that lies in the current folder, which may be the user's
own. And the interpreter may be another than the parent's, so the folder that holds ``bench`` must not stay on its path:
with maskbench installed, the parent's torch lies beside it. Hence our packages are imported here from where this file
lies, which takes their names, and then the path is as ``-m`` makes it: the current folder first.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))

if sys.path and os.path.realpath(sys.path[0]) == _HERE:  # the folder of a script, where Python puts it
    del sys.path[0]
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(_HERE))))
for name in ("adapters", "bench"):
    importlib.import_module(name)
sys.path[0] = os.getcwd()

if __name__ == "__main__":  # not in a process that a data loader starts, which needs the lines above alone
    runpy.run_module("bench.jobs.worker.main", run_name="__main__")
