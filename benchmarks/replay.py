"""Time and memory of a replay of a large stored run, which is made up here.

    python -m benchmarks.replay [--problems 1319] [--n 64] [--orders 20] [--logprobs 200] \\
        [--strategy NAME] [--against CHECKOUT]

Writes a run's folder as the runner does (results and one tree a problem), then replays every
strategy it supports in a process of its own, so that the peak of memory is the replay's alone.
`--against` does the same with the code of another checkout (git worktree add), and compares.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from reasoning.runs.files import file_name
from reasoning.tree import RolloutTree, Sample


def make(folder: Path, problems: int, n: int, logprobs: int) -> None:
    """A run of best_of_n whose samples have lengths, scores and `logprobs` log-probabilities."""
    trees = folder / "trees" / file_name("best_of_n-n=64")
    trees.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "results.jsonl").open("w", encoding="utf-8") as results:
        for number in range(problems):
            skill, candidates = rng.beta(1, 1), []
            tree = RolloutTree(f"p{number}")
            for slot in range(n):
                answer = "0" if rng.random() < skill else str(rng.integers(1, 12))
                tokens = int(rng.lognormal(5.5, 0.4))
                values = rng.exponential(0.3, logprobs).astype(np.float32)
                sample = Sample(
                    f"step\n\n\\boxed{{{answer}}}",
                    generated_tokens=tokens,
                    logprobs=-values if logprobs else None,
                    confidence=values + 2 if logprobs else None,
                )
                node = tree.add(tree.root, slot, sample)
                steps = rng.random(4).round(4).tolist()
                node.scores["prm"], node.emitted = tuple(steps), (1.0, 0.0)
                candidates.append(
                    {
                        "path": [slot],
                        "answer": answer,
                        "key": answer,
                        "correct": answer == "0",
                        "weight": 1.0,
                        "rank": 0.0,
                        "steps": steps,
                    }
                )
            (trees / f"p{number}.jsonl").write_text(tree.to_jsonl(), encoding="utf-8")
            line = {
                "problem": f"p{number}",
                "strategy": "best_of_n-n=64",
                "answer": "0",
                "correct": True,
                "candidates": candidates,
                "usage": {"cancelled_calls": 0},
            }
            results.write(json.dumps(line) + "\n")


_MEASURE = """
import json, resource, sys, time
try:
    from evals.replay.show import main
except ImportError:
    from evals.replay_show import main
start = time.perf_counter()
main(sys.argv[1], orders=int(sys.argv[2]), strategies=sys.argv[4:], out=sys.argv[3])
seconds = time.perf_counter() - start
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(u.ru_utime + u.ru_stime for u in used)
print(json.dumps([seconds, cpu, used[0].ru_maxrss / 2**20]))
"""
"""Works in earlier versions, too."""


def measure(folder: Path, tree: str, orders: int, strategies: list[str]) -> list[float]:
    """Replay `folder` with the code in `tree`: seconds, processor seconds, GiB."""
    out = str(folder / "replay" / Path(tree).name)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(folder), str(orders), out, *strategies],
        env={**os.environ, "PYTHONPATH": tree},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    *shown, last = done.stdout.splitlines()
    print("\n".join(shown))
    seconds, cpu, peak = json.loads(last)
    print(f"{tree}: {seconds:.1f} s, {cpu:.1f} s of processors, peak memory {peak:.2f} GiB")
    return [seconds, cpu]


def cli() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, value in {"problems": 1319, "n": 64, "orders": 20, "logprobs": 200}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--against", help="A checkout of another version, to be measured too.")
    parser.add_argument("--strategy", action="append", default=[], help="Only this one.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), asked.problems, asked.n, asked.logprobs)
        trees = [os.getcwd(), *([os.path.abspath(asked.against)] if asked.against else [])]
        found = [measure(Path(folder), tree, asked.orders, asked.strategy) for tree in trees]
    if asked.against:
        ours, theirs = found
        print(f"time {ours[0] / theirs[0]:.3f}, processor time {ours[1] / theirs[1]:.3f} of theirs")


if __name__ == "__main__":
    cli()
