"""What a driver costs as its workers become many: from 1 to 8 real Ray workers.

    python -m benchmarks.workers

Every worker has an engine that takes a tenth of a second for a call, whatever else the machine
does, and as many problems of its own: each 64 solutions and a beam search. (Engines as fast as the
machine allows would be the slower the more of them share it, and the driver, who asks each of them
twenty times a second at most, would have less to hear each time.) What is told is of the driver's
process alone, from when the first problem has ended (workers are hired by then) to the last:

- operations: functions that Python calls, its own and those in C, counted by a profiler;
- processor time, in runs of their own. It is with that of Ray's threads, which take some by the
  second, and on a busy machine mostly noise.

Needs `pip install 'reasoning[ray]'`. Goal: operations a call flat within a tenth from 1 to 8.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import itertools
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

from reasoning.backends.scripted import Scripted, scripted
from reasoning.clock import Clock, RealClock
from reasoning.problem import Problem
from reasoning.runs.recipe import parse
from reasoning.runs.run import Progress, run

WORKERS = (1, 2, 4, 8)
SECONDS = 0.1
"""What a call takes."""
GOAL = 1.1


class Paced(Scripted):
    """In real time."""

    def clock(self, problem: Problem) -> Clock:
        return RealClock()


def paced() -> Paced:
    return Paced(scripted().script, delay=lambda seed: SECONDS)


def recipe(questions: Path, workers: int) -> Any:
    return parse(
        {
            "name": "workers",
            "task": {"name": "jsonl", "path": str(questions)},
            "generator": "benchmarks.workers:paced",
            "verifier": "logprob",
            "strategies": [
                {"searcher": "self_consistency", "n": 64},
                {"searcher": "beam_search", "width": 4, "expansions": 2, "max_steps": 4},
            ],
            "workers": {"n": workers, "num_cpus": 0.1, "at_once": 2, "patience": 600},
            "concurrency": 10,
        }
    )


class Operations:
    """Counts what functions are called in the thread that makes it, and in those begun later."""

    def __init__(self) -> None:
        self._ticks = itertools.count()
        sys.setprofile(self._see)
        threading.setprofile(self._see)

    def _see(self, frame: object, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            next(self._ticks)

    def so_far(self) -> float:
        return next(self._ticks)

    def end(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


def measured(folder: Path, problems: int, workers: int, used: Callable[[], float]) -> float:
    """How much a call takes of what `used` tells of this process; `problems` for each worker."""
    problems *= workers
    questions = folder / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": "x" * (1 + i % 40), "answer": "1"} for i in range(problems)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen: list[tuple[int, int, float]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.done, progress.new_tokens, used()))

    summary = asyncio.run(run(recipe(questions, workers), folder / "run", watch=watch))
    assert all(s["problems"] == problems for s in summary["strategies"])
    calls = sum(s["calls"] for s in summary["strategies"])
    (_, first, early), *_, (_, last, late) = (row for row in seen if row[0])
    return (late - early) / (last - first) * last / calls


def counted(problems: int, workers: int) -> float:
    """Operations a call."""
    operations = Operations()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return measured(Path(folder), problems, workers, operations.so_far)
    finally:
        operations.end()


def timed(problems: int, workers: int) -> float:
    """CPU seconds a call."""
    with tempfile.TemporaryDirectory() as folder:
        return measured(Path(folder), problems, workers, time.process_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=12, help="for each worker")
    parser.add_argument("--rounds", type=int, default=3, help="the least of so many counts")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray: Any = importlib.import_module("ray")

    ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    each, cpu = dict.fromkeys(WORKERS, inf), dict.fromkeys(WORKERS, inf)
    for _ in range(options.rounds):
        for n in WORKERS:
            each[n] = min(each[n], counted(options.problems, n))
            cpu[n] = min(cpu[n], timed(options.problems, n))
    told = ", ".join(f"{n}: {many:.1f}" for n, many in each.items())
    print(f"operations a call by workers, the least of {options.rounds}: {told}")
    told = ", ".join(f"{n}: {seconds * 1e6:.0f}" for n, seconds in cpu.items())
    print(f"us of CPU a call, the least of {options.rounds}: {told}")
    ratio = max(each.values()) / each[1]
    met = "met" if ratio <= GOAL else "MISSED"
    print(f"at most {ratio:.2f} times the operations of one: goal {GOAL} {met}")
    ray.shutdown()
    raise SystemExit(ratio > GOAL)


if __name__ == "__main__":
    main()
