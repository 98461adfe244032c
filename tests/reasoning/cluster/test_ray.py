"""Real actors on a cluster of several nodes, all on this machine; things are killed.

Needs `pip install ray`; one cluster serves the whole file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reasoning.cluster.conftest import contents

if importlib.util.find_spec("ray") is None:
    pytest.skip("ray is not installed: pip install ray", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[3]

PLUG = '''
import asyncio, os, signal
from reasoning.backends.scripted import Scripted, scripted

def slow(*, log: str, seconds: float = 0.05, kills: str = ""):
    """Slow in real time; every call that comes back is a line in `log`."""
    class Slow(Scripted):
        async def generate(self, prompt, params, *, seed, meter):
            if prompt.problem.id == kills:
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(seconds)
            sample = await super().generate(prompt, params, seed=seed, meter=meter)
            with open(log, "a") as file:
                file.write(f"{os.getpid()} {prompt.problem.id} {prompt.path} {seed}\\n")
            return sample
    return Slow(scripted().script)
'''


class Machines:
    """A cluster of a head that runs nothing and nodes for one worker each."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.nodes: list[Any] = []

    def of(self, count: int) -> list[Any]:
        while len(self.nodes) < count:
            self.nodes.append(self.cluster.add_node(num_cpus=2, object_store_memory=80 << 20))
        return self.nodes

    def processes(self, node: Any) -> list[int]:
        """The node's raylet and everything that it has begun."""
        raylet = node.all_processes["raylet"][0].process.pid
        found = [raylet]
        for parent in found:
            tasks = Path(f"/proc/{parent}/task").glob("*/children")
            found += [int(pid) for path in tasks for pid in path.read_text().split()]
        return found

    def kill(self, node: Any) -> None:
        for pid in self.processes(node):
            os.kill(pid, signal.SIGKILL)
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    changed = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changed.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        utils = importlib.import_module("ray.cluster_utils")
        head = {"num_cpus": 0, "object_store_memory": 80 << 20, "include_dashboard": False}
        cluster = utils.Cluster(initialize_head=True, head_node_args=head)
        patch.setenv("RAY_ADDRESS", cluster.address)
        try:
            yield Machines(cluster)
        finally:
            cluster.shutdown()


class Place:
    """A folder with a recipe, and what was called there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "plug.py").write_text(PLUG)
        rows = [{"id": f"q{i}", "question": "x" * i, "answer": str(i)} for i in range(1, 17)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "questions.jsonl").write_text(lines)

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in dict.fromkeys(line.split()[0] for line in self.calls)]

    def begin(self, out: str, workers: dict[str, Any] | None, **plug: Any) -> subprocess.Popen[str]:
        recipe = {
            "task": {"name": "jsonl", "path": "questions.jsonl"},
            "generator": {"name": "plug:slow", "log": str(self.folder / "calls"), **plug},
            "verifier": "logprob",
            "strategies": [
                {"searcher": "self_consistency", "n": [2, 4]},
                {"searcher": "beam_search", "width": 4, "expansions": 2, "max_steps": 3},
            ],
            **({"workers": workers} if workers else {}),
        }
        (self.folder / "t.yaml").write_text(json.dumps(recipe))
        words = ["run", "t.yaml", "--trust", "--out", out]
        return subprocess.Popen(
            [sys.executable, "-m", "reasoning.cli", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *args: Any, **plug: Any) -> str:
        return end(self.begin(*args, **plug))

    def wait(self, enough: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not enough():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, output
    return output


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, machines: Machines) -> dict[str, Any]:
    """What one process stores of the same recipe."""
    place = Place(tmp_path_factory.mktemp("alone"))
    place.run("one", None, seconds=0.0)
    return {**contents(place.folder / "one"), "calls": len(place.calls)}


def assert_same(place: Place, alone: dict[str, Any], lost: int = 0) -> None:
    """Results, trees and, but for the note of what was lost, the summary."""
    found = contents(place.folder / "out")
    mine, notes = found["summary"], alone["summary"]["notes"]
    more = [note for note in mine["notes"] if note not in notes]
    assert len(more) == bool(lost), more
    assert all(f"workers were lost {lost} time(s)" in note for note in more)
    assert {**mine, "notes": notes} == alone["summary"]
    assert found["trees"] == alone["trees"]
    assert found["results"] == alone["results"]


def gone(pids: list[int]) -> bool:
    states = [Path(f"/proc/{pid}/stat") for pid in pids]
    return not any(s.exists() and ") Z " not in s.read_text() for s in states)


def test_a_worker_that_is_killed(place: Place, alone: Any, machines: Machines) -> None:
    machines.of(2)
    run = place.begin("out", {"n": 2, "num_cpus": 2, "at_once": 2})
    place.wait(lambda: len(place.calls) > 60 and len(place.pids) == 2)
    drawn = len(place.calls)
    os.kill(place.pids[0], signal.SIGKILL)
    end(run)
    assert len(place.pids) == 3  # another took its place
    assert_same(place, alone, lost=1)
    assert len(place.calls) - alone["calls"] < drawn  # what had arrived was not drawn again
    pids = place.pids
    place.wait(lambda: gone(pids))


def test_a_machine_that_is_gone(place: Place, alone: Any, machines: Machines) -> None:
    machines.of(2)
    run = place.begin("out", {"n": 2, "num_cpus": 2, "at_once": 2})
    place.wait(lambda: len(place.calls) > 40 and len(place.pids) == 2)
    victim = next(n for n in machines.nodes if place.pids[1] in machines.processes(n))
    machines.kill(victim)
    end(run)
    assert len(place.pids) == 2  # there is no room for another
    assert_same(place, alone, lost=1)


def test_a_machine_that_freezes_and_wakes(place: Place, alone: Any, machines: Machines) -> None:
    machines.of(2)
    run = place.begin("out", {"n": 2, "num_cpus": 2, "at_once": 2, "patience": 2})
    place.wait(lambda: len(place.calls) > 30 and len(place.pids) == 2)
    frozen = place.pids[1]
    node = next(n for n in machines.nodes if frozen in machines.processes(n))
    pids = machines.processes(node)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(5)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    end(run)
    assert_same(place, alone, lost=1)
    place.wait(lambda: gone([frozen]))


def test_a_problem_that_kills(place: Place, alone: Any, machines: Machines) -> None:
    machines.of(2)
    place.run("out", {"n": 2, "num_cpus": 2, "at_once": 4}, kills="q3")
    found = contents(place.folder / "out")["results"]
    failed = {key for key, line in found.items() if line["stop_reason"] == "failed"}
    assert failed == {key for key in alone["results"] if key[1] == "q3"}
    good = {key: line for key, line in alone["results"].items() if key not in failed}
    assert {key: line for key, line in found.items() if key not in failed} == good


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_driver_that_ends(
    place: Place, alone: Any, machines: Machines, number: int, code: int
) -> None:
    machines.of(2)
    run = place.begin("out", {"n": 2, "num_cpus": 2, "at_once": 2})
    place.wait(lambda: len(place.calls) > 120 and len(place.pids) == 2)
    run.send_signal(number)
    said = end(run, code)
    assert ("the same command continues" in said) == (code == 130)
    first, drawn = place.pids, len(place.calls)
    place.wait(lambda: gone(first))
    place.run("out", {"n": 1, "num_cpus": 2, "at_once": 8})
    found = contents(place.folder / "out")
    assert found["results"] == alone["results"]
    assert found["trees"] == alone["trees"]
    assert len(place.calls) - alone["calls"] < drawn  # as above


def test_no_cluster_is_a_mistake_with_a_cure(place: Place, machines: Machines) -> None:
    workers = {"n": 2, "address": "127.0.0.1:9"}
    said = end(place.begin("out", workers), 2)
    assert "ray start --head" in " ".join(said.split())
