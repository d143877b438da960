"""A Slurm cluster of one node on the loopback, by Debian's own daemons, for tests on two cores."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "squeue")

_CONFIGURATION = """\
ClusterName=maskbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
MessageTimeout=20
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Give the reason why no cluster can be started here; None where one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    absent = [name for name in DAEMONS if shutil.which(name, path=_path()) is None]
    return f"{', '.join(absent)} not installed (Debian: slurmctld slurmd munge)" if absent else None


@contextlib.contextmanager
def cluster(folder: Path, private: Path, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start a cluster in a folder; give the variables by which Slurm's commands find it. It is ended with the block.

    private: a folder of which the node sees one of its own, as of a file system that is not shared
    """
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # pytest's are for their owner alone, and munged wants to be seen
    configuration = folder / "slurm.conf"
    controller, node = _free_ports()
    host = platform.node().partition(".")[0]
    configuration.write_text(
        _CONFIGURATION.format(host=host, folder=folder, controller=controller, node=node, cpus=cpus)
    )
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": _path()}
    mount = f"mount -t tmpfs tmpfs {private} && exec slurmd -D -f {configuration}"
    commands = (
        ["munged", "--foreground", "--force", f"--key-file={key}", *_munge_files(folder / "munge")],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["unshare", "-m", "sh", "-c", mount],
    )
    with contextlib.ExitStack() as stack:
        for command in commands:
            stack.enter_context(_daemon(command, environment, folder / f"{command[0]}.out"))
            if command[0] == "munged":
                _wait(lambda: (folder / "munge" / "socket").exists(), "munged made no socket")
        _wait(lambda: _idle(environment), f"the node is not idle; see the logs in {folder}")
        yield {"SLURM_CONF": str(configuration), "PATH": _path()}
        subprocess.run(["scancel", "--me"], env=environment, check=False, timeout=20)
        _wait(lambda: not _asked(environment, "squeue", "-h"), "jobs do not end")


def _munge_files(folder: Path) -> list[str]:
    return [f"--{option}={folder / name}" for option, name in _MUNGE_FILES.items()]


_MUNGE_FILES = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


@contextlib.contextmanager
def _daemon(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def _free_ports() -> tuple[int, int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        one, two = (each.getsockname()[1] for each in sockets)
        return one, two


def _idle(environment: dict[str, str]) -> bool:
    return _asked(environment, "sinfo", "-h", "-o", "%T") == "idle"


def _asked(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()


def _wait(condition, otherwise: str, seconds: float = 30) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.1)
