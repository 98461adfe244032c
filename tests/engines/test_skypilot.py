"""The script that SkyPilot would start on each of two machines, on two addresses of this one."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from reasoning.cli.app import app
from tests.engines.slurm_cluster import free_ports, processes
from tests.engines.test_slurm import PROBLEMS, RECIPE, ROOT, SERVER

HOSTS = ("127.0.0.1", "127.0.0.2")
LIMIT = 120  # seconds


class Machines:
    """What runs on each."""

    def __init__(self, folder: Path, *options: str, seconds: float) -> None:
        server = shlex.join([sys.executable, str(SERVER), "{port}", str(seconds)])
        given = {"nodes": "2", "servers": "2", "server": server}
        given |= dict(option.split("=", 1) for option in options)
        (folder / "r.yaml").write_text(yaml.safe_dump({**RECIPE, "name": folder.name}))
        said = CliRunner().invoke(
            app,
            ["launch", "r.yaml", "--skypilot", "--out", "runs/x"]
            + [f"{key}={value}" for key, value in given.items()],
            catch_exceptions=False,
        )
        assert said.exit_code == 0, said.output
        self.out = folder / "runs" / folder.name
        script = yaml.safe_load(Path("runs/x/launch/skypilot.yaml").read_text())["run"]
        (folder / "bin").mkdir()
        program = folder / "bin" / "reasoning"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m reasoning.cli "$@"\n')
        program.chmod(0o755)
        port = free_ports(3)
        self.running = [
            subprocess.Popen(
                ["bash", "-c", script],
                env={
                    **os.environ,
                    "PATH": f"{program.parent}:{os.environ['PATH']}",
                    "PYTHONPATH": str(ROOT),
                    "POLL": "0.3",
                    "PORT": str(port),
                    "DOOR": str(port + 2),
                    "HOST": host,
                    "SKYPILOT_NODE_RANK": str(rank),
                    "SKYPILOT_NODE_IPS": "\n".join(HOSTS),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            for rank, host in enumerate(HOSTS)
        ]

    def end(self) -> list[tuple[int, str]]:
        """What each ended with and what it said."""
        said = [process.communicate(timeout=LIMIT)[0] for process in self.running]
        return [(p.returncode, text) for p, text in zip(self.running, said, strict=True)]


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Machines]]:
    monkeypatch.chdir(tmp_path)
    yield Machines
    for pid in processes(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)


def test_two_machines_serve_and_one_runs(machines: type[Machines], tmp_path: Path) -> None:
    found = machines(tmp_path, seconds=0.02)
    (first, said), (second, told) = found.end()
    assert (first, second) == (0, 0), said + told
    assert all(f"http://{host}:" in said for host in HOSTS)
    assert "the first machine is done" in told
    lines = (found.out / "results.jsonl").read_text().splitlines()
    assert len({json.loads(line)["problem"] for line in lines}) == len(lines) == PROBLEMS
    assert not processes(str(SERVER))


def test_no_server_comes_up(machines: type[Machines], tmp_path: Path) -> None:
    found = machines(tmp_path, "server=false {port}", "restarts=0", "start=5", seconds=0)
    (first, said), (second, told) = found.end()
    assert first == 70, said + told
    assert second in (0, 71)  # by whether it has seen the first one's door open
