"""Uncertainty over paraphrases of a question: Inv-Entropy (2025, arXiv:2506.09684)."""

from __future__ import annotations

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, mean
from evals.measures.perturbed import PLAIN, worded
from evals.measures.stored import Stored
from evals.report.load import StoredStrategy
from evals.statistics.calibration import auroc_interval
from evals.statistics.intervals import Floats
from searchers.kernels.nearest import Nearest

MEANS = (
    "U = -sum of Q_ii ln Q_ii, Q = Py Px, of how alike the paraphrases of a question are (Px, "
    "TF-IDF cosine) and their answers (Py, the same answer or not), a mean over 20 draws of one "
    "answer each. AUROC: how well a low U tells right answers from wrong ones."
)
NOT = (
    "U does not rise with uncertainty throughout: where all answers differ and so do the "
    "paraphrases it falls to 0. Believe it only where its AUROC on labelled problems is above 0.5. "
    "The paper compares both by the embeddings of a model; its U is another number."
)

DRAWS = 20


def inv_entropy(px: Floats, py: Floats) -> float:
    """U in nats from similarities [n, n] in [0, 1] of n questions, and of an answer to each.

    Rows are normalised first. Raises ValueError for a row of nothing, or matrices that differ in
    size.
    """
    px, py = np.asarray(px, dtype=float), np.asarray(py, dtype=float)
    n = len(px)
    if px.shape != (n, n) or py.shape != (n, n) or not n:
        raise ValueError(f"both must be [n, n], got {px.shape} and {py.shape}")
    if np.any(px < 0) or np.any(py < 0) or not (px.sum(1).all() and py.sum(1).all()):
        raise ValueError("similarities must be 0 or more, and not all 0 in a row")
    px, py = (x / x.sum(axis=1, keepdims=True) for x in (px, py))
    return entropy(np.einsum("yx,xy->y", py, px))


def entropy(q: Floats) -> float:
    """-sum q ln q of a diagonal [n], in nats; what is 0 adds nothing. q need not add up to 1."""
    x = np.asarray(q, dtype=float)
    return float(-np.sum(x[x > 0] * np.log(x[x > 0])))


def measure(stored: Stored) -> Finding:
    known = worded(stored.runs)
    groups: dict[str, list[str]] = {}
    for name, (variant, original) in known.items():
        if variant == PLAIN or variant.startswith("paraphrase-"):
            groups.setdefault(original, []).append(name)
    rows: list[tuple[Cell, ...]] = []
    for strategy in stored.runs.strategies:
        found = [f for o, g in groups.items() if (f := _of(stored, strategy, o, g)) is not None]
        if found:
            values, right = [u for u, _ in found], [r for _, r in found]
            ranks = auroc_interval([-u for u in values], right)
            rows.append((strategy.label, len(found), mean(values), ranks))
    if not rows:
        raise NotMeasuredError(
            "this needs a run of task `perturbed` with `paraphrases`, whose questions are stored"
        )
    return Finding(
        f"{rows[0][0]}: U of {rows[0][1]} problems; read it by its AUROC alone.",
        ("strategy", "problems", "U, nats", "AUROC"),
        rows,
    )


def _of(
    stored: Stored, strategy: StoredStrategy, original: str, group: list[str]
) -> tuple[float, bool] | None:
    """U of a problem, and whether its plain wording is answered right; None if that is unknown."""
    asked, keys = [], []
    for name in group:
        question, row = stored.runs.problems[name].question, strategy.rows.get(name)
        if question is not None and row is not None:
            candidates = strategy.run.result(row).get("candidates") or ()
            asked.append(question)
            keys.append([c.get("key") for c in candidates] or [None])
    plain = strategy.rows.get(f"{PLAIN}-{original}")
    if len(asked) < 2 or plain is None or plain.correct is None:
        return None
    near = Nearest(asked)
    px = np.array([near.cosines(text) for text in asked])
    np.fill_diagonal(px, 1.0)  # also where a question has no word
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        drawn = [row[rng.integers(len(row))] for row in keys]
        same = [[float(i == j or (a is not None and a == b)) for j, b in enumerate(drawn)]
                for i, a in enumerate(drawn)]  # fmt: skip
        draws.append(inv_entropy(px, np.array(same)))
    return float(np.mean(draws)), plain.correct
