"""Who can be believed, and which answers are toss-ups, without knowing what is right.

Top-two crowdsourcing (Jeong and Chung, 2023, ICML, Recovering top-two answers and confusion
probability in multi-choice crowdsourcing): workers (models, prompts, strategies) answer problems
with K options; each worker has a reliability, each problem a right answer and one that is mistaken
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TopTwo:
    """What N workers' answers to M problems say of both.

    `first` and `second` [M] are options from 1 to K, `sure` [M] in [.5, 1] how likely a reliable
    worker picks the first of them rather than the second (near .5: a toss-up), `reliability` [N] in
    [0, 1] (0: guesses). `voted` [M] is the answer found with workers weighed by their reliability.
    """

    first: Ints
    second: Ints
    sure: Floats
    reliability: Floats
    voted: Ints


def top_two(labels: Sequence[Sequence[int]], options: int) -> TopTwo:
    """From `labels` [N, M], options from 1 to `options` (3 or more), 0 for no answer.

    The options are cut in two at each place; the first singular vector of such a table (with its
    mean for guesses taken off everywhere, also where an answer is missing) tells workers by their
    reliability, and its products problems by their answers. Then the likeliest pair of answers is
    looked for with workers weighed. Workers need to differ, and problems to be many.
    """
    y = np.asarray(labels, dtype=np.int64)
    if y.ndim != 2 or min(y.shape, default=0) < 1 or options < 3:
        raise ValueError(
            f"labels are [workers, problems] of 3 options or more, got {y.shape} and {options}"
        )
    if y.min() < 0 or y.max() > options or not y.any():
        raise ValueError(f"labels are from 1 to {options}, or 0 for none; got {y.min()}, {y.max()}")
    share = float((y > 0).mean())
    tables = [_split(y, k, options, share) for k in range(1, options)]
    workers = np.clip(np.mean([_leading(table) for table in tables], axis=0), 0, 1)
    cuts = [np.zeros(y.shape[1]), *(t.T @ workers / (2 * share) for t in tables)]
    mass = np.diff([*cuts, np.zeros(y.shape[1])], axis=0).T  # [M, K], the lower the likelier
    ranked = np.argsort(mass.round(9), axis=1, kind="stable")  # of equals the earlier option
    first, second = ranked[:, 0] + 1, ranked[:, 1] + 1
    told = (y > 0).sum(axis=1)
    within = ((y == first) | (y == second)).sum(axis=1) / np.maximum(told, 1)
    p = np.clip((within - 2 / options) / (1 - 2 / options), 0.001, 0.999)
    lowest = mass[np.arange(len(mass)), first - 1]
    q = np.clip(1 / options - lowest / np.linalg.norm(p), 0.501, 0.999)
    return TopTwo(first, second, q, p, _likeliest(y, p, q, options))


def _split(y: Ints, k: int, options: int, share: float) -> Floats:
    """-1 for the first k options, +1 for the others, less what guesses would come to."""
    sides = np.where(y == 0, 0.0, np.where(y <= k, -1.0, 1.0))
    return sides - share * (options - 2 * k) / options


def _leading(table: Floats) -> Floats:
    """The first left singular vector, its sum positive."""
    u = np.linalg.svd(table, full_matrices=False)[0][:, 0]
    return np.asarray(u if u.sum() > 0 else -u, dtype=np.float64)


def _likeliest(y: Ints, p: Floats, q: Floats, options: int) -> Ints:
    """The first of the pair of options under which the answers are likeliest [M]."""
    odds = options * (p / (1 - p))[:, None]  # [N, 1]
    as_first, as_second = np.log1p(odds * q), np.log1p(odds * (1 - q))  # [N, M]
    chosen = np.stack([y == k for k in range(1, options + 1)])  # [K, N, M]
    a, b = (chosen * as_first).sum(axis=1), (chosen * as_second).sum(axis=1)
    both = a[:, None] + b[None]  # [K, K, M]
    both[np.arange(options), np.arange(options)] = -np.inf
    return np.asarray(both.max(axis=1).argmax(axis=0) + 1, dtype=np.int64)
