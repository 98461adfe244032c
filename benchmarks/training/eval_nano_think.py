"""Measure what `nano_think` has learnt, on held-out problems and by the framework's own verbs.

::

    python -m benchmarks.training.eval_nano_think  # the shipped model, on NumPy; a few minutes
    python -m benchmarks.training.eval_nano_think --path FOLDER --split train --seed 9  # to choose
    python -m benchmarks.training.eval_nano_think --verdicts  # these alone
    python -m benchmarks.training.eval_nano_think --generator '{"name": "vllm", "model": ...}'

It prints a table in Markdown: accuracy with, without and with some thinking, how well its verdicts
tell right attempts from wrong ones, and what revising is worth. Every problem counts once; where
there are several attempts a problem, it counts with their mean. Intervals are of 95 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from asyncio import TaskGroup
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from evals.statistics.calibration import auroc_interval
from evals.statistics.intervals import accuracy
from evals.tasks import nano_think as task
from evals.tasks.nano_think import Program, answer_of, first_error
from reasoning.generate import Generator, Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.search import Search
from reasoning.tree import Node
from searchers.thinking.budget_forcing import budget_forcing
from searchers.thinking.truncated_answer import truncated_answer

BUDGETS = (0, 8, 16, 24, 32, 48, 64, 96, 128)
"""Tokens of thinking of the curve."""
MOST = 512
"""Tokens of an attempt: none that ends by itself is as long."""
TOGETHER = 16
"""Problems at once."""


@dataclass(slots=True)
class Attempt:
    """One attempt: whether it is right, its length in tokens, and what came after it."""

    right: bool
    tokens: int
    verdict: float
    """P(Yes) against P(No) in a second turn."""
    judged: float | None
    """The same by verifier judge, in its own prompt."""
    challenged: float | None
    """By verifier challenge: 1 if the answer stays when it is told that it is wrong, else 0."""
    again: bool
    """Whether its greedy answer to the bare question is the same."""
    checking: int
    """Tokens that the challenge has generated and read."""
    named: bool = False
    """Right in the end, if its first error is named and it is revised; as it is if it is right."""
    unnamed: bool = False
    """The same with no word on where the error is."""
    own: bool = False
    """The same with the error that the model itself finds; right attempts are revised, too."""


@dataclass(slots=True)
class Row:
    """What was measured on one problem."""

    item: Program
    curve: list[bool] = field(default_factory=list)
    waited: list[bool] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)


def right(item: Program, node: Node | None) -> bool:
    """Whether a node's text ends in the right answer."""
    return node is not None and answer_of(node.text) == item.answer


class Measuring:
    """Everything that is asked of one generator."""

    def __init__(
        self, generator: Generator, verifiers: dict[str, Any], attempts: int, whole: bool = True
    ) -> None:
        self.generator, self.verifiers = generator, verifiers
        self.attempts, self.whole = attempts, whole
        self.sampling = Sampling(MOST)

    def search(self, item: Program, seed: int) -> Search:
        problem = Problem(item.id, item.question, gold=item.answer)
        return Search(
            problem, self.generator, verifiers=self.verifiers, sampling=self.sampling, seed=seed
        )

    async def row(self, item: Program) -> Row:
        """All that is measured on one problem."""
        found = Row(item)
        for i, tokens in enumerate(BUDGETS if self.whole else ()):
            found.curve.append(await self.emitted(item, 100 + i, truncated_answer, tokens=tokens))
        for waits in (0, 1, 2) if self.whole else ():
            found.waited.append(await self.emitted(item, 200, budget_forcing, waits=waits))
        search = self.search(item, 0)
        nodes = await search.draws(search.root, self.attempts, until="end")
        greedy = await search.draw(search.root, until="end", temperature=0.0)
        for node in nodes:
            revised = await self.revised(search, item, node) if self.whole else ()
            found.attempts.append(await self.judged(search, item, node, greedy, revised))
        return found

    async def emitted(
        self, item: Program, seed: int, searcher: Callable[..., Any], **params: Any
    ) -> bool:
        """Whether what a searcher emits is right."""
        search = self.search(item, seed)
        await searcher(search, **params)
        return any(right(item, c.node) for c in search.candidates)

    async def judged(
        self,
        search: Search,
        item: Program,
        node: Node,
        greedy: Node | None,
        revised: Sequence[bool],
    ) -> Attempt:
        """An attempt, the verdicts on it and what revising it came to."""
        await search.score(node, verifier="judge")
        before = search.usage.verifier_tokens
        await search.score(node, verifier="challenge")
        return Attempt(
            right(item, node),
            node.generated_tokens,
            await self.verdict(search, node),
            search.reward(node, "judge"),
            search.reward(node, "challenge"),
            greedy is not None and answer_of(greedy.text) == answer_of(node.text),
            search.usage.verifier_tokens - before,
            *revised,
        )

    async def revised(self, search: Search, item: Program, node: Node) -> tuple[bool, bool, bool]:
        """Right in the end: with the error named, not named, and found by itself."""
        is_right, error = right(item, node), first_error(item, node.text)
        named = unnamed = own = is_right
        if not is_right:
            unnamed = right(item, await self.draw(search, node, task.UNNAMED_TURN))
            if error is not None:
                ask = task.NAMED_TURN.format(step=error)
                named = right(item, await self.draw(search, node, ask))
        critique = await self.draw(search, node, task.CRITIQUE_TURN)
        if critique is not None and "wrong" in critique.sample.text:
            own = right(item, await self.draw(search, critique, task.REVISE_TURN))
        return named, unnamed, own

    async def draw(self, search: Search, node: Node, turn: str) -> Node | None:
        """The model's answer to a turn."""
        return await search.draw(node, until="end", turn=turn)

    async def verdict(self, search: Search, node: Node) -> float:
        """P(Yes) / (P(Yes) + P(No)) in answer to the judging turn."""
        sums = []
        for word in ("Yes", "No"):
            found = await search.likelihood(search.write(node, word, turn=task.JUDGE_TURN))
            sums.append(-math.inf if found is None else float(found.sum()))
        yes, no = sums
        return 1 / (1 + math.exp(min(700.0, no - yes)))


async def measure(measuring: Measuring, items: Iterable[Program]) -> list[Row]:
    """The rows of these problems."""
    queue: list[Callable[[], Coroutine[Any, Any, Row]]] = [
        partial(measuring.row, item) for item in items
    ]
    found: list[Row | None] = [None] * len(queue)
    todo = iter(enumerate(queue))

    async def work() -> None:
        for i, one in todo:
            found[i] = await one()

    async with TaskGroup() as group:
        for _ in range(TOGETHER):
            group.create_task(work())
    return [row for row in found if row is not None]


def table(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Measures with their values and intervals, in words."""

    def shares(name: str, of: Callable[[Row], float]) -> tuple[str, str, str]:
        found = accuracy([of(row) for row in rows])
        return name, f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}"

    def mean(row: Row, name: str) -> float:
        return fmean(float(getattr(a, name)) for a in row.attempts)

    lines = [shares("accuracy, thinking to the end", lambda row: mean(row, "right"))]
    for i, tokens in enumerate(BUDGETS if rows[0].curve else ()):
        label = f"accuracy, {tokens} tokens of thinking" if tokens else "accuracy, no thinking"
        lines.append(shares(label, lambda row, i=i: float(row.curve[i])))  # type: ignore[misc]
    for waits in range(len(rows[0].waited)):
        name = f'accuracy, "Wait" {waits} times'
        lines.append(shares(name, lambda row, i=waits: float(row.waited[i])))  # type: ignore[misc]
    every = [(row.item.id, attempt) for row in rows for attempt in row.attempts]
    ids, answers = [i for i, _ in every], [a.right for _, a in every]
    told: dict[str, list[float | None]] = {
        "its verdict at once, second turn": [a.verdict for _, a in every],
        "its verdict at once, verifier judge": [a.judged for _, a in every],
        "its standing by it, verifier challenge": [a.challenged for _, a in every],
        "its greedy answer being the same": [float(a.again) for _, a in every],
    }
    for name, given in told.items():
        scores = [0.5 if score is None else score for score in given]  # None: nobody can say
        if found := auroc_interval(scores, answers, ids):
            row = (f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}")
            lines.append((f"AUROC of {name}", *row))
    if rows[0].curve:
        lines += [
            shares("right after revising, error named", lambda row: mean(row, "named")),
            shares("right after revising, not named", lambda row: mean(row, "unnamed")),
            shares("right after revising by its own critique", lambda row: mean(row, "own")),
        ]
    for name, counts in (
        ("tokens of an attempt", sorted(a.tokens for _, a in every)),
        ("tokens read and written by a challenge", sorted(a.checking for _, a in every)),
    ):
        low, middle, high = (counts[int(len(counts) * q)] for q in (0.1, 0.5, 0.9))
        lines.append((f"{name}, median", str(middle), f"{low} to {high} (80 %)"))
    return lines


def verifiers_of(generator: Generator, spec: dict[str, Any]) -> dict[str, Any]:
    """The model as a judge at once, and challenged."""
    asked: dict[str, dict[str, Any]] = {
        "judge": {"prompt": task.JUDGE_PROMPT, "both": True},
        "challenge": {"turn": task.UNNAMED_TURN},
    }
    found = {
        name: names.build("verifier", {"name": name, "generator": spec, **options})
        for name, options in asked.items()
    }
    for verifier in found.values():
        verifier.generator = generator
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=200, help="problems")
    parser.add_argument("--attempts", type=int, default=2, help="attempts at each")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--seed", type=int, default=0, help="of the problems")
    parser.add_argument("--verdicts", action="store_true", help="verdicts on attempts alone")
    parser.add_argument("--path", type=Path, help="a checkpoint instead of the shipped one")
    parser.add_argument("--generator", type=json.loads, help="a generator's mapping, as JSON")
    args = parser.parse_args()
    spec: dict[str, Any] = args.generator or {"name": "nano", "model": "nano_think"}
    if args.path:
        spec["path"] = str(args.path)
    generator = names.build("generator", spec)

    async def run() -> list[Row]:
        await generator.astart()
        try:
            items = task.problems(args.n, split=args.split, seed=args.seed)
            verifiers = verifiers_of(generator, spec)
            measuring = Measuring(generator, verifiers, args.attempts, not args.verdicts)
            return await measure(measuring, items)
        finally:
            await generator.aclose()

    print("| measure | value | 95 % interval |\n|---|---|---|")
    for line in table(asyncio.run(run())):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
