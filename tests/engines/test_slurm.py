"""The script that `reasoning launch --slurm` writes, run by Slurm itself on simulated machines.

    apt-get install -y --no-install-recommends slurm-wlm munge
    python -m pytest -v tests/engines/test_slurm.py

Servers answer from a toy model, each call after a while; the run, its script and Slurm are real.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from reasoning.cli.app import app
from tests.engines.slurm_cluster import Cluster, missing, processes

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("slurm_server.py")
PROBLEMS = 40
RECIPE = {
    "task": {"name": "nano", "n": PROBLEMS},
    "generator": {
        "name": "openai",
        "model": "toy",
        "base_url": "http://localhost:8000/v1",
        "max_in_flight": 4,
        "patience": 60,
    },
    "strategies": [{"searcher": "self_consistency", "n": 4}],
    "sampling": {"max_tokens": 64},
}
ALONE = "127.0.0.1"

pytestmark = pytest.mark.skipif(
    bool(missing()),
    reason=f"Slurm is not installed here (no {', '.join(missing())}); apt-get install slurm-wlm",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "bin").mkdir()
    program = folder / "bin" / "reasoning"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m reasoning.cli "$@"\n')
    program.chmod(0o755)
    found = Cluster(folder)
    found.env |= {
        "PATH": f"{program.parent}:{found.env['PATH']}",
        "PYTHONPATH": str(ROOT),
        "POLL": "0.3",
    }
    found.up()
    yield found
    found.down()


class Job:
    """A run of RECIPE by the script that was written for it, submitted."""

    def __init__(self, cluster: Cluster, folder: Path, *options: str, seconds: float = 0.2) -> None:
        self.cluster, self.out = cluster, folder / "run"
        recipe = folder / "r.yaml"
        recipe.write_text(yaml.safe_dump(RECIPE))
        server = shlex.join([sys.executable, str(SERVER), "{port}", str(seconds)])
        given = {"nodes": "3", "gpus": str(cluster.gpus), "servers": "2", "cpus": "2"}
        given |= {"server": server, "address": ALONE, "time": "10"}
        given |= dict(option.split("=", 1) for option in options)
        said = CliRunner().invoke(
            app,
            ["launch", str(recipe), "--slurm", "--out", str(self.out)]
            + [f"{key}={value}" for key, value in given.items()],
            catch_exceptions=False,
        )
        assert said.exit_code == 0, said.output
        self.script = self.out / "launch" / "slurm.sh"
        self.id = cluster.submit(self.script)

    def __str__(self) -> str:
        """What it has said."""
        return "\n".join(p.read_text() for p in sorted((self.out / "launch").glob("*.log")))

    def wait(self, words: str) -> None:
        try:
            self.cluster.until(lambda: words in str(self), repr(words))
        except AssertionError:
            pytest.fail(f"{words!r} is not in:\n{self}")

    def results(self, folder: str = ".") -> list[dict[str, Any]]:
        file = self.out / folder / "results.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def under_way(self) -> None:
        """Wait until a quarter of the run is done."""
        self.cluster.until(lambda: len(self.results()) >= PROBLEMS // 4, "results")
        assert len(self.results()) < PROBLEMS, "it was too quick to be disturbed"

    def again(self) -> None:
        """Let a job that was put back into the queue start soon, and not in two minutes.

        Not at once: in the second in which its first start was killed, slurmd 22.05 takes the
        second start's credential for one that is revoked ("already killed, do not launch").
        """
        pending = lambda: self.cluster.state(self.id)["JobState"] == "PENDING"  # noqa: E731
        self.cluster.until(pending, "the job to be back in the queue")
        self.cluster.call("scontrol", "update", f"JobId={self.id}", "StartTime=now+3")

    def servers(self) -> dict[int, int]:
        """The process of the server at each port."""
        found = {}
        for pid in processes(str(SERVER)):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if str(SERVER) in words[1:2]:
                found[int(words[2])] = pid
        return found

    def logs(self) -> list[str]:
        """Of each server."""
        return [p.read_text() for p in sorted((self.out / "launch" / "logs").iterdir())]

    def finish(self, code: str = "0:0") -> None:
        """Wait for the end, which leaves nothing behind."""
        assert self.cluster.ended(self.id)["ExitCode"] == code, str(self)
        self.gone()

    def gone(self) -> None:
        self.cluster.until(lambda: not processes(str(SERVER)), "the servers' end")
        self.cluster.until(
            lambda: not processes(f"REASONING_ENGINES={self.id}"), "the processes' end"
        )


Submit = Callable[..., Job]


@pytest.fixture
def submit(cluster: Cluster, tmp_path: Path) -> Submit:
    return lambda *options, **more: Job(cluster, tmp_path, *options, **more)


def told(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What a run has found: the same, however it came about; each problem once."""
    found = {r["problem"]: (r["answer"], r["usage"]["generated_tokens"]) for r in results}
    assert len(found) == len(results)
    return found


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job(cluster, tmp_path_factory.mktemp("undisturbed"))
    job.finish()
    return job


def test_a_run_over_servers_on_several_machines(undisturbed: Job, cluster: Cluster) -> None:
    assert len(told(undisturbed.results())) == PROBLEMS
    logs = undisturbed.logs()
    assert len(logs) == 6
    assert all("asked to end after" in log for log in logs)
    assert not any("after 0 calls" in log for log in logs), "a server had nothing to do"
    if cluster.gpus:
        gpus = [log.partition("GPUs ")[2][0] for log in logs]
        assert all(one != other for one, other in zip(gpus[::2], gpus[1::2], strict=True))
    assert json.loads((undisturbed.out / "summary.json").read_text())


def test_a_requeued_job_goes_on(submit: Submit, cluster: Cluster, undisturbed: Job) -> None:
    job = submit()
    job.under_way()
    left = subprocess.Popen(  # a server on a machine that Slurm had lost sight of
        ["sleep", "600"], env={"REASONING_ENGINES": job.id}, start_new_session=True
    )
    cluster.call("scontrol", "requeue", job.id)
    job.again()
    job.finish()
    assert left.wait(60) == -signal.SIGKILL
    assert cluster.state(job.id)["Restarts"] == "1"
    assert told(job.results()) == told(undisturbed.results())


def test_before_its_time_is_up_it_requeues_itself(
    submit: Submit, cluster: Cluster, undisturbed: Job
) -> None:
    job = submit("requeue=1")
    job.under_way()
    cluster.call("scancel", "--batch", "--signal=USR1", job.id)  # as Slurm does
    job.again()
    assert all("asked to end after" in log for log in job.logs())
    job.finish()
    assert told(job.results()) == told(undisturbed.results())


def test_no_more_often_than_was_said(submit: Submit, cluster: Cluster) -> None:
    job = submit("requeue=0")
    job.under_way()
    cluster.call("scancel", "--batch", "--signal=USR1", job.id)
    job.finish("75:0")


def test_a_server_that_is_killed_is_not_needed(
    submit: Submit, cluster: Cluster, undisturbed: Job
) -> None:
    job = submit("restarts=0")
    job.under_way()
    port, pid = min(job.servers().items())
    os.kill(pid, signal.SIGKILL)
    job.wait(f"{ALONE}:{port} is gone")
    replicas = job.out / "launch" / "replicas" / "generator.txt"
    left = [f"http://{ALONE}:{port + i}/v1" for i in range(1, 6)]
    cluster.until(lambda: replicas.read_text().split() == left, f"{left} in {replicas}")
    job.finish()
    assert told(job.results()) == told(undisturbed.results())


def test_a_server_that_is_killed_comes_back(submit: Submit, undisturbed: Job) -> None:
    job = submit()
    job.under_way()
    port, pid = min(job.servers().items())
    os.kill(pid, signal.SIGKILL)
    job.wait("ended with code 137, started 1 times of 4 at most")
    job.finish()
    assert str(job).count(f"{ALONE}:{port} is up") == 2
    assert told(job.results()) == told(undisturbed.results())


def test_scancel_leaves_nothing_and_the_script_goes_on(
    submit: Submit, cluster: Cluster, undisturbed: Job
) -> None:
    job = submit()
    job.under_way()
    cluster.call("scancel", job.id)
    assert cluster.ended(job.id)["JobState"] == "CANCELLED"
    job.gone()
    before = len(job.results())
    job.id = cluster.submit(job.script)
    job.finish()
    assert before < PROBLEMS
    assert told(job.results()) == told(undisturbed.results())


def test_tasks_of_an_array_run_shards(submit: Submit, cluster: Cluster, undisturbed: Job) -> None:
    job = submit("array=2", "nodes=1")
    cluster.until(
        lambda: all((job.out / f"shard-{i}-of-2" / "summary.json").exists() for i in (1, 2)),
        "both shards",
    )
    cluster.until(lambda: not cluster.call("squeue", "--noheader"), "the array's end")
    merged = CliRunner().invoke(app, ["merge", str(job.out)], catch_exceptions=False)
    assert merged.exit_code == 0
    assert told(job.results()) == told(undisturbed.results())


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("server=false {port}", "restarts=1"), "70:0", "no server has come up"),
        (("server=sleep 600 {port}", "start=3"), "71:0", "not every engine has a healthy"),
    ],
)
def test_servers_that_do_not_come_up(
    submit: Submit, options: tuple[str, ...], code: str, words: str
) -> None:
    job = submit(*options)
    job.finish(code)
    assert words in str(job)
