"""Whether runs of one recipe repeat (Yuan et al., 2025, arXiv:2506.09501)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, dots, mean
from evals.measures.stored import Stored
from evals.report.load import StoredRun, StoredStrategy
from evals.statistics.intervals import accuracy
from reasoning.backends.formats import run_folder
from reasoning.runs.store import Store
from reasoning.tree import Node

MEANS = (
    "How far runs that should be equal are: how many answers and grades change, by how much "
    "accuracy and lengths vary, and the first token at which two of the texts differ "
    "(Div_Index)."
)
NOT = (
    "It does not tell why: seeds, batch sizes, precision, kernels and servers all do it. With "
    "other seeds runs are meant to differ, and the figures are those of the sampling. Where "
    "token ids are not stored, places are counted in words."
)


HEAD = (
    "strategy", "problems", "grades differ", "answers differ", "Std@Acc", "Avg_Std length",
    "Div_Index", "Avg_Std top1_prob",
)  # fmt: skip


class Said(NamedTuple):
    """The text that one run chose, as tokens (or words), and their probabilities if known."""

    tokens: Sequence[Hashable]
    chances: Sequence[float] | None


def divergence(texts: Sequence[Sequence[Hashable]]) -> int:
    """The first place where not all of `texts` have the same token.

    The length of the shortest where there is none before it ends: of equal texts, their length.
    """
    if len(texts) < 2:
        raise ValueError(f"two texts or more are needed, got {len(texts)}")
    places = enumerate(zip(*texts, strict=False))
    return next((i for i, at in places if len(set(at)) > 1), min(map(len, texts)))


def spread(values: Sequence[float]) -> float:
    """The standard deviation over the runs, of a sample (ddof 1)."""
    return float(np.std(np.asarray(values, dtype=float), ddof=1))


def chance_spread(chances: Sequence[Sequence[float]], until: int) -> float | None:
    """The mean over the tokens before `until` of the spread of their probability over the runs."""
    if until < 1 or any(len(c) < until for c in chances):
        return None
    return float(np.std(np.array([c[:until] for c in chances]), axis=0, ddof=1).mean())


def measure(stored: Stored) -> Finding:
    runs = stored.several
    rows: list[tuple[Cell, ...]] = []
    said = []
    for name in dict.fromkeys(s.name for s in stored.runs.strategies):
        alike = [s for s in stored.runs.strategies if s.name == name]
        common = [p for p in alike[0].rows if all(_known(s, p) for s in alike)]
        if len(alike) == len(runs) and common:
            rows.append(_row(name, alike, common))
            said.append(rows[-1])
    if not rows:
        raise NotMeasuredError("the runs share no strategy with graded problems")
    worst = max(said, key=lambda row: row[2][0] if isinstance(row[2], tuple) else 0.0)
    flips = worst[2]
    assert isinstance(flips, tuple)
    return Finding(
        f"Over {len(runs)} runs at most {flips[0]:.1%} ({flips[1]:.1%} to {flips[2]:.1%}) of the "
        f"problems change between right and wrong ({worst[0]}); the standard deviation of its "
        f"accuracy is {worst[4]:.4f}.",
        HEAD,
        rows,
        chart=dots("share of problems", HEAD, rows, *HEAD[2:4]),
    )


def _row(name: str, alike: Sequence[StoredStrategy], common: Sequence[str]) -> tuple[Cell, ...]:
    grades = np.array([[bool(s.rows[p].correct) for s in alike] for p in common], dtype=float)
    answers = [float(len({s.rows[p].answer for s in alike}) > 1) for p in common]
    lengths = [spread([s.rows[p].usage.get("generated_tokens", 0) for s in alike]) for p in common]
    places, chances = [], []
    for problem in common:
        texts = [found for s in alike if (found := _said(s.run, s, problem))]
        if len(texts) == len(alike):
            place = divergence([t.tokens for t in texts])
            places.append(place)
            told = [t.chances for t in texts if t.chances is not None]
            if len(told) == len(texts) and (x := chance_spread(told, place)) is not None:
                chances.append(x)
    return (
        name,
        len(common),
        accuracy((np.ptp(grades, axis=1) > 0).astype(float).tolist()),
        accuracy(answers),
        spread(grades.mean(axis=0).tolist()),
        mean(lengths),
        mean(places) if places else None,
        mean(chances) if chances else None,
    )


def _known(strategy: StoredStrategy, problem: str) -> bool:
    return problem in strategy.rows and strategy.rows[problem].correct is not None


def _said(run: StoredRun, strategy: StoredStrategy, problem: str) -> Said | None:
    """The chosen text of a result, None if its tree does not hold it."""
    path = run.result(strategy.rows[problem]).get("node")
    if not path:
        return None
    try:
        tree = run_folder.load(Store(run.folder).tree_path(strategy.name, problem))
        nodes = tree[path].attempt()
    except run_folder.DAMAGE:
        return None
    if any(n.sample.token_ids is None for n in nodes):
        return Said("".join(n.sample.text for n in nodes).split(), None)
    ids = [i for n in nodes for i in n.sample.token_ids or ()]
    chances = [x for part in _chances(nodes) for x in part]
    return Said(ids, chances if len(chances) == len(ids) else None)


def _chances(nodes: Sequence[Node]) -> Iterator[list[float]]:
    for node in nodes:
        if node.sample.logprobs is not None:
            yield np.exp(np.asarray(node.sample.logprobs, dtype=float)).tolist()
