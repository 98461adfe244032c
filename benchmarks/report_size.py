"""Time, memory and size of a report on a large run: 1,319 problems with 64 samples each.

Makes a synthetic run folder (about 0.3 GB with the default of two strategies, removed afterwards)
and writes its report. Goals: under 60 s of CPU time, 2 GB of memory and 5 MB of page.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from evals.report import write
from reasoning.store import Store
from reasoning.tree import RolloutTree, Sample

STEP = "Then {a} times {b} is {c}, so that many are left over when the others have gone.\n\n"
MANIFEST = {"run": {"name": "synthetic", "task": {"name": "synthetic"}}}


def solution(rng: random.Random, answer: int) -> tuple[Sample, list[float]]:
    """A text of a few steps with its tokens, and a score for each step."""
    steps = [
        STEP.format(a=rng.randrange(99), b=rng.randrange(99), c=rng.randrange(9999))
        for _ in range(rng.randrange(3, 9))
    ]
    text = "".join([*steps, f"The answer is \\boxed{{{answer}}}"])
    tokens = len(text) // 3
    sample = Sample(
        text,
        token_ids=[rng.randrange(150_000) for _ in range(tokens)],
        logprobs=np.array([-rng.random() for _ in range(tokens)], dtype=np.float32),
        prompt_tokens=120,
        generated_tokens=tokens,
    )
    return sample, [round(rng.random(), 5) for _ in range(len(steps) + 1)]


def result(problem: int, strategy: str, n: int) -> tuple[dict[str, Any], RolloutTree]:
    """One line of results.jsonl and its tree."""
    rng = random.Random(f"{problem} {strategy}")
    tree, candidates, difficulty = RolloutTree(f"p{problem}"), [], rng.random()
    for slot in range(n):
        right = rng.random() > difficulty
        answer = problem if right else rng.randrange(20)
        sample, steps = solution(rng, answer)
        node = tree.add(tree.root, slot, sample)
        node.scores = {"prm": tuple(steps)}
        node.emitted = (1.0, 0.0)
        candidates.append(
            {"path": [slot], "answer": str(answer), "key": str(answer), "correct": right}
            | {"weight": 1.0, "rank": 0.0, "steps": steps}
        )
    tokens = sum(node.sample.generated_tokens for node in tree)
    usage = dict.fromkeys(("wasted_tokens", "cached_tokens", "failed_calls", "cancelled_calls"), 0)
    usage |= {"generated_tokens": tokens, "prompt_tokens": 120 * n, "calls": n}
    usage |= {"verifier_calls": n, "verifier_tokens": tokens, "critical_tokens": 300, "seconds": 6}
    line = {"problem": f"p{problem}", "strategy": strategy, "question": "How many? " * 20}
    line |= {"answer": candidates[0]["answer"], "gold": str(problem), "stop_reason": "finished"}
    line |= {"correct": candidates[0]["correct"], "candidates": candidates, "usage": usage}
    return line | {"failures": [], "meta": {"level": problem % 5 + 1}}, tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1319)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--strategies", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        store = Store(run)
        with store.opened(MANIFEST):
            for problem in range(args.problems):
                for i in range(args.strategies):
                    store.append(*result(problem, f"best_of_n-seed={i}", args.samples))
        megabytes = sum(f.stat().st_size for f in run.rglob("*") if f.is_file()) / 1e6
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        clock, cpu = time.perf_counter(), time.process_time()
        written = write([run], Path(folder) / "report.html")
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"run: {megabytes:,.0f} MB; page: {written.size / 1e6:.2f} MB")
    print(f"time: {clock:.1f} s, of CPU {cpu:.1f} s; memory: {peak / 1e3:,.0f} MB")
    print(f"of which before the report: {base / 1e3:,.0f} MB")
    for note in written.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main()
