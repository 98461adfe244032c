"""How time, memory and disk grow with a run, beside another checkout of this project.

    python -m benchmarks.growth [--against CHECKOUT] [--scale 1]

Each figure is taken at one, two and four times a size, in a process of its own: with --against by
the code of that checkout too (git worktree add), one after the other in one run. Seconds are of
the processor, but for the pause, which is the longest time that the event loop stood still; on a
busy machine that is mostly others' time, so it is at most what this process has worked meanwhile.

--goals takes the figures that have a goal of their own, each at its size. The whole run is that of
10,000 problems only if it is asked for (--goals --figure whole): it takes 10 GB of disk meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FIGURES = {
    "journal": "bytes on disk a token (ids, log-probabilities, text)",
    "resume": "MB in memory to go on with one of n problems in progress",
    "whole": "MB in memory at most to go on with n problems, each 64 samples of 2000 tokens in the "
    "journal, 64 problems at once, each gone from disk as it ends",
    "store": "longest pause (s) while a tree of 64 samples of n tokens is stored",
    "strategies": "MB on disk of n strategies that share 32 samples of 1000 tokens",
    "partial": "s for the best partial path of n steps of 250 tokens, none with an answer",
    "path": "s to walk, score and journal a path of n steps of 250 tokens",
    "path_memory": "MB in memory to walk, score and journal a path of n steps of 250 tokens",
    "stop": "s to read n streamed tokens, of which the last complete a stop string",
    "summary": "s for the summary of n problems with 64 samples",
    "weighted": "s for weighted@k of n problems with 64 samples",
}
SIZES = {
    "journal": 2000,
    "resume": 4,
    "whole": 50,
    "store": 1250,
    "strategies": 1,
    "partial": 50,
    "path": 100,
    "path_memory": 100,
    "stop": 2500,
    "summary": 25,
    "weighted": 10,
}
GOALS = {"stop": (40_000, 0.2), "store": (100_000, 0.05), "whole": (10_000, 2_000)}
"""The size and what is to be reached there, in seconds or MB."""
QUICK = ("stop", "store")

_COMMON = """
import asyncio, importlib, json, sys, tempfile, time, tracemalloc
from pathlib import Path
import numpy as np
from reasoning.tree import RolloutTree, Sample

def sample(tokens, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.zipf(1.3, tokens), 150_000)
    text = "".join(f" {'abcdefgh'[i % 8]}{i % 500}" for i in ids)
    logprobs = -(rng.exponential(1.0, tokens) ** 4).astype(np.float32)
    return Sample(text, token_ids=tuple(ids.tolist()), logprobs=logprobs, generated_tokens=tokens)

def named(now, before):
    # What an earlier version has under its name of then.
    for name in (now, before):
        module, _, path = name.partition(":")
        try:
            found = importlib.import_module(module)
            if not found.__file__.startswith(sys.argv[3]):
                continue  # of another version that is installed
            for part in path.split("."):
                found = getattr(found, part)
            return found
        except (ImportError, AttributeError, ValueError):
            continue

def journal(folder, problems, samples, tokens):
    # A journal of a run's folder with so many entries, and how to open it again.
    from reasoning.backends.journal import Journal
    from reasoning.problem import Problem
    Store = named("reasoning.runs.store:Store", "")
    if Store:
        from reasoning.backends.ledger import Entry
        kept = Store(folder).ledger()
        for p in range(problems):
            for s in range(samples):
                kept.add(f"p{p}", f"k{s}", Entry(sample(tokens, p * samples + s), 1.0))
        kept.close()
        return lambda: Store(folder).ledger().of("p0")
    else:
        lines = [
            {"version": 2, "problem": f"p{p}", "key": f"k{s}", "seconds": 1.0,
             "sample": sample(tokens, p * samples + s).to_json(digits=None)}
            for p in range(problems) for s in range(samples)
        ]
        path = folder / "journal.jsonl"
        path.write_text("".join(json.dumps(line) + "\\n" for line in lines))
        return lambda: Journal(None, path=path)

def results(problems):
    rng = np.random.default_rng(0)
    names = "generated_tokens wasted_tokens prompt_tokens cached_tokens calls cancelled_calls " \\
        "failed_calls retried_calls verifier_calls verifier_tokens seconds critical_tokens"
    for i in range(problems):
        skill, found = rng.beta(1, 1), []
        for j in range(64):
            key = "0" if rng.random() < skill else str(rng.integers(1, 20))
            found.append({"path": [j], "answer": key, "key": key, "correct": key == "0",
                          "weight": 1.0, "rank": 0.0, "steps": [float(rng.random())]})
        yield {"problem": str(i), "strategy": "s", "answer": "0", "correct": True, "failures": [],
               "stop_reason": "finished", "candidates": found,
               "usage": dict.fromkeys(names.split(), 0)}

folder, n = Path(tempfile.mkdtemp(dir=sys.argv[1])), int(sys.argv[2])
def say(value):
    print(json.dumps(value))
def timed(work):
    start = time.process_time()
    work()
    say(time.process_time() - start)
"""
_PATH = """
from contextlib import nullcontext
from reasoning.backends.journal import Journal
from reasoning.backends.scripted import Scripted
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from verifiers.logprob import logprob
from dataclasses import replace
Cached = named("reasoning.cached:Cached", "reasoning.verify:Cached")
steps = [replace(sample(250, i), finish="stop") for i in range(50)]
def walked():
    inner = Scripted(lambda prompt, seed: steps[seed % 50])
    journal = Journal(inner, path=folder / "journal.jsonl", shared=True)
    verifier = Cached(logprob(), lambda problem: nullcontext())
    search = Search(Problem("p", "q"), journal, verifier=verifier,
                    sampling=Sampling(max_tokens=10**6))
    async def main():
        node = search.root
        for _ in range(n):
            draws = search.draws if hasattr(Search, "draws") else search.expand
            [node] = await draws(node, 1)
            await search.score(node)
        assert node.depth == n and not search.failures, search.failures
    asyncio.run(main())
    journal.close()
"""
_SCRIPTS = {
    "path": _PATH + "timed(walked)",
    "path_memory": _PATH
    + """
tracemalloc.start()
walked()
say(tracemalloc.get_traced_memory()[1] / 1e6)
""",
    "journal": """
journal(folder, 1, 4, n)
say(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / (4 * n))
""",
    "resume": """
again = journal(folder, n, 8, 1000)
tracemalloc.start()
found = again()
say(tracemalloc.get_traced_memory()[1] / 1e6)
""",
    "whole": """
import resource, shutil
from reasoning.backends.ledger import Entry
Store = named("reasoning.runs.store:Store", "")
kept = Store(folder).ledger()
for s in range(64):
    kept.add("p0", f"k{s}", Entry(sample(2000, s), 1.0))
kept.close()
[path] = [p for p in folder.rglob("*") if p.is_file()]
for p in range(1, n):
    shutil.copy(path, path.with_name(path.name.replace("p0", f"p{p}")))
print(n * path.stat().st_size / 1e9, "GB of journal", file=sys.stderr)
again = Store(folder).ledger()
for first in range(0, n, 64):
    problems = [f"p{p}" for p in range(first, min(n, first + 64))]
    for p in problems:
        known = again.of(p)
        assert len(known) == 64 and len(known["k63"].sample.token_ids) == 2000, (p, len(known))
    for p in problems:
        again.drop(p)
assert not any(p.is_file() for p in folder.rglob("*"))
say(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
""",
    "store": """
async def main():
    tree = RolloutTree("p")
    for slot in range(64):
        tree.add(tree.root, slot, sample(n, slot))
    pauses, over = [], False
    async def tick():
        last = time.perf_counter(), time.process_time()
        while not over:
            await asyncio.sleep(0.001)
            now = time.perf_counter(), time.process_time()
            pauses.append(min(b - a for a, b in zip(last, now)))
            last = now
    Store = named("reasoning.runs.store:Store", "reasoning.store:Store")
    with Store(folder / "run").opened({"run": {}}) as store:
        task = asyncio.create_task(tick())
        await asyncio.sleep(0.02)
        result = {"strategy": "s", "problem": "p"}
        if hasattr(store, "keep"):
            await store.keep([(result, tree)])
        else:
            store.append(result, tree)
        over = True
        await task
    say(max(pauses))
asyncio.run(main())
""",
    "strategies": """
tree = RolloutTree("p")
for slot in range(32):
    tree.add(tree.root, slot, sample(1000, slot))
Store = named("reasoning.runs.store:Store", "reasoning.store:Store")
independent = {f"s{i}": True for i in range(n)}
with Store(folder / "run").opened({"run": {}, "independent": independent}) as store:
    for name in independent:
        store.append({"strategy": name, "problem": "p"}, tree)
say(sum(p.stat().st_size for p in (folder / "run").rglob("*") if p.is_file()) / 1e6)
""",
    "partial": """
from reasoning.backends.scripted import Scripted
from reasoning.problem import Problem
from reasoning.search import Search
search = Search(Problem("p", "q"), Scripted(["a"]))
node = search.root
for step in range(n):
    node = search.tree.add(node, 0, Sample("word " * 250, finish="stop", generated_tokens=250))
best = named("reasoning.search:Search.best_partial", "searchers.growing:_best_partial")
timed(lambda: best(search, lambda node: 0.5))
""",
    "stop": """
from functools import partial
Answer = named("reasoning.backends.openai.answer:Answer", "")
Reply = named("reasoning.http.connection:Reply", "reasoning.backends.openai.connection:Reply")
words = [*[f" w{i}" for i in range(n - 2)], "\\nE", "ND"]
events = [json.dumps({"choices": [{"index": 0, "text": word}]}).encode() for word in words]
events[:] = [b"data: " + event + b"\\n\\n" for event in events]
async def main():
    answer, reply, stop = Answer(), Reply(), ("\\nEND",)
    reply.status, reply.headers = 200, {b"content-type": b"text/event-stream"}
    if hasattr(reply, "streamed"):
        reply.streamed = True
    if hasattr(answer, "until"):
        look = partial(answer.until, stop)
    else:
        look = named("reasoning.backends.openai.generator:_stop_here", "")(answer, stop)
    def work():
        for event in events:
            reply.body += event
            over = look(reply)
        assert over
    timed(work)
asyncio.run(main())
""",
    "summary": """
summarise = named("evals.statistics.summary:summarise", "evals.summary:summarise")
import scipy.stats
kept = list(results(n))
one = {"name": "s", "independent": True}
timed(lambda: summarise(kept, strategies=[one], problem_ids=[r["problem"] for r in kept]))
""",
    "weighted": """
Samples, at_k_curve = (
    named(f"evals.statistics.curves:{name}", f"evals.curves:{name}")
    for name in ("Samples", "at_k_curve")
)
kept = [Samples([c["key"] for c in r["candidates"]], [c["correct"] for c in r["candidates"]],
                [c["steps"][0] for c in r["candidates"]]) for r in results(n)]
timed(lambda: at_k_curve(kept, "weighted"))
""",
}


def measure(figure: str, tree: str, size: int) -> float | None:
    """One figure with the code in `tree`; None if that version knows nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _COMMON + _SCRIPTS[figure], folder, str(size), tree],
            env={**os.environ, "PYTHONPATH": tree, "OMP_NUM_THREADS": "1"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        print(f"{figure} in {tree}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return float(json.loads(done.stdout))


def reached(figure: str, tree: str) -> bool:
    """Whether a goal is met; says so."""
    size, goal = GOALS[figure]
    found = measure(figure, tree, size)
    met = found is not None and found <= goal
    print(f"{figure}: {FIGURES[figure]}")
    print(f"  n = {size}: {found}, goal {goal} {'met' if met else 'MISSED'}", flush=True)
    return met


def cli() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--against", help="A checkout of another version, to be measured too.")
    parser.add_argument("--scale", type=float, default=1, help="Of the sizes; 1 takes a minute.")
    parser.add_argument("--figure", action="append", choices=FIGURES, help="Only this one.")
    parser.add_argument("--goals", action="store_true", help="Only figures with a goal, once each.")
    asked = parser.parse_args()
    if asked.against and not Path(asked.against, "reasoning").is_dir():
        parser.error(f"{asked.against} is no checkout of this project")
    root = str(Path(__file__).resolve().parent.parent)
    if asked.goals:
        raise SystemExit(sum([not reached(f, root) for f in asked.figure or QUICK if f in GOALS]))
    for figure in asked.figure or FIGURES:
        print(f"{figure}: {FIGURES[figure]}")
        for times in (1, 2, 4):
            size = round(SIZES[figure] * asked.scale * times)
            ours = measure(figure, root, size)
            told = f"  n = {size}: {ours:.4g}" if ours is not None else f"  n = {size}: none"
            if asked.against:
                theirs = measure(figure, str(Path(asked.against).resolve()), size)
                if ours is not None and theirs:
                    told += f", theirs {theirs:.4g}, ratio {ours / theirs:.3f}"
            print(told, flush=True)


if __name__ == "__main__":
    cli()
