"""A Slurm cluster of several nodes on this machine, without munge, cgroups or systemd.

Its nodes share the machine's address, disk and processes; their GPUs are nodes of /dev/null.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue")
_LOOK = 0.2  # seconds
_CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/controller.pid
SlurmctldLogFile={folder}/log/controller
SlurmdSpoolDir={folder}/spool/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
KillWait=10
SchedulerParameters=sched_interval=1,bf_interval=1
{gres}NodeName=n[1-{nodes}] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] \
CPUs=16 RealMemory=16000{gpus}
PartitionName=main Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE
"""


def missing() -> list[str]:
    """The programs of Slurm that are not here."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class Cluster:
    """`nodes` nodes with 16 cores each, and with 4 GPUs if this is root, who may make devices."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self.folder, self.nodes = folder, nodes
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        self.env |= {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{self.env['PATH']}:/usr/sbin:/sbin",
        }
        for name in ("state", "spool", "log"):
            (folder / name).mkdir()
        port = free_ports(nodes + 1)
        text = _CONF.format(
            folder=folder,
            user=getpass.getuser(),
            port=port,
            first=port + 1,
            last=port + nodes,
            nodes=nodes,
            gres="GresTypes=gpu\n" if os.getuid() == 0 else "",
            gpus=" Gres=gpu:4" if os.getuid() == 0 else "",
        )
        (folder / "slurm.conf").write_text(text)
        if os.getuid() == 0:
            for i in range(4):
                os.mknod(folder / f"gpu{i}", 0o20666, os.makedev(1, 3))
            gres = f"NodeName=n[1-{nodes}] Name=gpu File={folder}/gpu[0-3]\n"
            (folder / "gres.conf").write_text(gres)

    @property
    def gpus(self) -> int:
        """Of a node."""
        return 4 if os.getuid() == 0 else 0

    def up(self) -> None:
        self.call("slurmctld")
        for i in range(1, self.nodes + 1):
            self.call("slurmd", "-N", f"n{i}")
        self.call("srun", f"-N{self.nodes}", f"-n{self.nodes}", "true")

    def down(self) -> None:
        self.call("scancel", "--user", getpass.getuser())
        self.until(lambda: not self.call("squeue", "--noheader"), "the jobs' end")
        for file in self.folder.glob("*.pid"):
            pid = int(file.read_text())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            self.until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"{file.stem}'s end")

    def call(self, *command: str, **env: str) -> str:
        """What a command of Slurm says. Raises CalledProcessError."""
        done = subprocess.run(
            command,
            env={**self.env, **env},
            text=True,
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, file: Path, **env: str) -> str:
        return self.call("sbatch", "--parsable", str(file), **env).partition(";")[0]

    def state(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        told = self.call("scontrol", "--oneliner", "show", "job", job)
        return dict(word.partition("=")[::2] for word in told.split())  # type: ignore[misc]

    def ended(self, job: str, seconds: float = 120) -> dict[str, str]:
        """Wait until it is over."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        self.until(lambda: self.state(job)["JobState"] in over, f"the end of job {job}", seconds)
        return self.state(job)

    def until(self, true: Callable[[], Any], what: str, seconds: float = 60) -> None:
        """Look until it is so."""
        last = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < last, f"waited {seconds} s for {what}"
            time.sleep(_LOOK)


def processes(word: str) -> list[int]:
    """Those that have `word` in their environment or command line."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            text = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in text and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def free_ports(count: int) -> int:
    """The first of `count` free ports in a row."""
    for first in range(20000 + os.getpid() % 1000 * 10, 32000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for i, probe in enumerate(sockets):
                probe.bind(("127.0.0.1", first + i))
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
        return first
    raise AssertionError("no free ports")
