"""What a driver costs as its workers become many: CPU a call from 1 to 8 real Ray workers.

    python -m benchmarks.workers

A scripted engine in every worker, so that nothing but ours takes time: 64 solutions and
a beam search for each problem. The processor time is that of the driver's process alone, Ray's
threads in it with it, from when the first problems have ended (workers are hired by then) to the
end of the last. Needs `pip install 'reasoning[ray]'`.

Goal: flat within a tenth from 1 to 8 workers.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from reasoning.runs.recipe import parse
from reasoning.runs.run import Progress, run

WORKERS = (1, 2, 4, 8)
GOAL = 1.1


def recipe(questions: Path, workers: int) -> Any:
    return parse(
        {
            "name": "workers",
            "task": {"name": "jsonl", "path": str(questions)},
            "generator": "scripted",
            "verifier": "logprob",
            "strategies": [
                {"searcher": "self_consistency", "n": 64},
                {"searcher": "beam_search", "width": 4, "expansions": 2, "max_steps": 4},
            ],
            "workers": {"n": workers, "num_cpus": 0.1, "patience": 600},
        }
    )


def measured(folder: Path, problems: int, workers: int) -> tuple[float, float]:
    """CPU seconds of this process a call while problems end, and those of the whole run."""
    questions = folder / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": "x" * (1 + i % 40), "answer": "1"} for i in range(problems)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen: list[tuple[int, float]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.done, time.process_time()))

    begin = time.process_time()
    summary = asyncio.run(run(recipe(questions, workers), folder / "run", watch=watch))
    whole = time.process_time() - begin
    assert all(s["problems"] == problems for s in summary["strategies"])
    calls = sum(s["calls"] for s in summary["strategies"]) / problems
    started = next(i for i, (done, _) in enumerate(seen) if done)
    (first, early), (last, late) = seen[started], seen[-1]
    return (late - early) / (last - first) / calls, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many counts")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray: Any = importlib.import_module("ray")

    ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    each: dict[int, float] = {}
    for _ in range(options.rounds):
        for workers in WORKERS:
            with tempfile.TemporaryDirectory() as folder:
                found, whole = measured(Path(folder), options.problems, workers)
            each[workers] = min(found, each.get(workers, found))
            print(
                f"{workers} workers: {found * 1e6:.0f} us a call of the driver's CPU, "
                f"{whole:.2f} s for all of the run",
                flush=True,
            )
    ratio = max(each.values()) / each[1]
    told = ", ".join(f"{n}: {cost * 1e6:.0f}" for n, cost in each.items())
    print(f"us a call by workers, best of {options.rounds}: {told}")
    print(
        f"at most {ratio:.2f} times that of one: goal {GOAL} {'met' if ratio <= GOAL else 'MISSED'}"
    )
    ray.shutdown()
    raise SystemExit(ratio > GOAL)


if __name__ == "__main__":
    main()
