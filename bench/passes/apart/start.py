"""The file that the interpreter of a process beside the model's is given.

    start.py FD MODULE PATH   runs ``work(Messages)`` of a module of this package, over the socket FD

PATH is the model's ``sys.path`` as JSON, so that this process imports the packages that the model's process imports.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the model's process, which closes the socket
    _HERE = os.path.dirname(os.path.realpath(__file__))
    sys.path[:1] = [os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))]
    importlib.import_module("bench")  # from the place of this file, as the worker has it
    sys.path[:] = json.loads(sys.argv[3])

    from bench.passes.apart.messages import Messages
    from bench.passes.apart.process import STARTED, Failure

    messages = Messages(socket.socket(fileno=int(sys.argv[1])))
    status = 0
    try:
        importlib.import_module("bench.device.cores").leave_cores_to_worker()
        work = importlib.import_module(f"bench.passes.apart.{sys.argv[2]}").work
        gc.freeze()  # what the imports have made is no garbage
        messages.send(STARTED)
        work(messages)
    except (EOFError, ConnectionError):
        pass  # the model's process has closed the socket, or has ended
    except Exception as error:
        status = 1
        traceback.print_exc()
        with contextlib.suppress(EOFError, ConnectionError):
            messages.send(Failure.of(error))
            while True:  # else what was sent meanwhile would reset the socket before the failure is read
                messages.receive()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # nothing is left to do, and an interpreter takes its time to end
