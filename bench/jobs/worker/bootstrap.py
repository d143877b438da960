"""The file that a worker's interpreter is given; it runs :mod:`bench.jobs.worker.main`.

``python -m bench.jobs.worker.main`` would import a ``bench`` package of the current folder, which may be the user's
own. And the interpreter may differ from the parent's, so the folder that holds ``bench`` must not stay on its path:
where maskbench is installed, that folder also holds the parent's torch. Therefore this file imports our packages from
its own place, which takes their names. Then it sets the path as ``-m`` does: the current folder first, and behind it
the folders of ``MASKBENCH_FIRST``, which are those of one side of a gate.

Before anything large is imported, :func:`bench.jobs.worker.supervise.supervise` divides the process in two. The second
argument is always the descriptor of the worker's messages.
"""

from __future__ import annotations

import contextlib
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
sys.path[:1] = [os.getcwd(), *filter(None, os.environ.get("MASKBENCH_FIRST", "").split(os.pathsep))]

if __name__ == "__main__":  # a process that a data loader starts needs only the lines above
    from bench.jobs.worker.supervise import supervise

    supervise(int(sys.argv[2]))
    if sys.argv[1] != "--check":
        with contextlib.suppress(OSError):  # by hand: what makes messages takes longer to import than it may
            os.write(int(sys.argv[2]), b'{"kind": "doing", "part": "import"}\n')
    runpy.run_module("bench.jobs.worker.main", run_name="__main__")
