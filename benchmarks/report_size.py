"""Time, memory and size of a report on a large run: 1,319 problems with 64 samples each.

Makes a synthetic run folder (about 0.6 GB with the default of two strategies, removed afterwards)
and writes its report. Goals: under 60 s of CPU time, 2 GB of memory and 5 MB of page.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from evals.report import write
from reasoning.runs.store import Store

STEP = "Then {a} times {b} is {c}, so that many are left over when the others have gone.\n\n"
MANIFEST = {"run": {"name": "synthetic", "task": {"name": "synthetic"}}}


Solution = tuple[str, list[float]]


def solutions(count: int, rng: random.Random) -> list[Solution]:
    """The rest of a tree's line, less its path and answer, and the scores of its steps."""
    found = []
    for _ in range(count):
        steps = [
            STEP.format(a=rng.randrange(99), b=rng.randrange(99), c=rng.randrange(9999))
            for _ in range(rng.randrange(3, 9))
        ]
        tokens = sum(map(len, steps)) // 3
        scores = [round(rng.random(), 5) for _ in steps]
        line = {
            "finish": "end",
            "prompt_tokens": 120,
            "generated_tokens": tokens,
            "token_ids": [rng.randrange(150_000) for _ in range(tokens)],
            "logprobs": [round(-rng.random(), 5) for _ in range(tokens)],
            "scores": {"prm": scores},
            "weight": 1.0,
            "rank": 0.0,
            "text": "".join(steps),
        }
        found.append((json.dumps(line)[1:-2], scores))
    return found


def result(problem: int, strategy: str, n: int, pool: list[Solution]) -> tuple[str, str]:
    """One line of results.jsonl and its tree's file."""
    rng = random.Random(f"{problem} {strategy}")
    name, difficulty = f"p{problem}", rng.random()
    tree = [json.dumps({"problem": name, "seed": 0})]
    candidates = []
    for slot in range(n):
        right = rng.random() > difficulty
        answer = str(problem if right else rng.randrange(20))
        rest, steps = rng.choice(pool)
        tree.append(f'{{"path": [{slot}], {rest}{slot} of {name}: \\\\boxed{{{answer}}}"}}')
        candidates.append(
            {"path": [slot], "answer": answer, "key": answer, "correct": right}
            | {"weight": 1.0, "rank": 0.0, "steps": steps}
        )
    usage = dict.fromkeys(("wasted_tokens", "cached_tokens", "failed_calls", "cancelled_calls"), 0)
    usage |= {"generated_tokens": 150 * n, "prompt_tokens": 120 * n, "calls": n}
    usage |= {"verifier_calls": n, "verifier_tokens": 270 * n, "critical_tokens": 300, "seconds": 6}
    line = {"problem": name, "strategy": strategy, "question": "How many? " * 20}
    line |= {"answer": candidates[0]["answer"], "gold": str(problem), "stop_reason": "finished"}
    line |= {"correct": candidates[0]["correct"], "candidates": candidates, "usage": usage}
    line |= {"failures": [], "meta": {"level": problem % 5 + 1}}
    return json.dumps(line), "\n".join(tree) + "\n"


def make(run: Path, problems: int, strategies: int, n: int) -> None:
    """Write a run folder."""
    store, pool = Store(run), solutions(500, random.Random(0))
    run.mkdir(parents=True)
    store.write_json("manifest.json", MANIFEST)
    with (run / "results.jsonl").open("w") as file:
        for problem in range(problems):
            for i in range(strategies):
                line, tree = result(problem, f"best_of_n-seed={i}", n, pool)
                file.write(line + "\n")
                path = store.tree_path(f"best_of_n-seed={i}", f"p{problem}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(tree)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1319)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--strategies", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        make(run, args.problems, args.strategies, args.samples)
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
