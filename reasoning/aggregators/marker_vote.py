"""A vote weighed by length and wording (2025, arXiv:2504.14047)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.voting import in_order, weighed

VOTES = True
READS = "text"

HEDGES = ("perhaps", "maybe", "might", "possibly", "seems", "not sure", "i think")
THINKING = ("wait", "hmm", "alternatively", "let me check", "actually")
DISCOURSE = ("therefore", "thus", "so", "because", "first", "next", "finally")

Words = Annotated[tuple[str, ...], Field(min_length=1)]


def marker_vote(
    candidates: Sequence[Candidate],
    *,
    betas: tuple[float, float, float, float] = (-1.0, -0.5, -0.5, 0.25),
    hedges: Words = HEDGES,
    thinking: Words = THINKING,
    discourse: Words = DISCOURSE,
) -> Choice | None:
    """A vote in which each weighs sigmoid(betas . x).

    x = (log tokens, hedges, thinking markers, discourse markers a thousand words), each
    standardised among the candidates of the problem. The paper finds that reasoning models are
    right in shorter texts with fewer hedges and thinking markers and more discourse markers, and
    gives no weights: these betas are a guess with the paper's signs, and the signs turn around for
    models that do not reason. All 0 is `majority`. Solutions that a limit cut off have a length
    that says nothing: they do not vote unless all were.
    """
    ended = [c for c in in_order(candidates) if c.node is not None and c.node.finished]
    voters = ended or in_order(candidates)
    if not voters:
        return None
    rows = [_features(c, (hedges, thinking, discourse)) for c in voters]
    table = np.array(rows, dtype=float)
    spread = table.std(axis=0)
    z = (table - table.mean(axis=0)) / np.where(spread > 1e-12, spread, np.inf)
    worth = z @ np.array(betas)
    weights = {c.path: 1 / (1 + math.exp(-w)) for c, w in zip(voters, worth, strict=True)}
    return weighed(voters, lambda c: weights[c.path])


def _features(candidate: Candidate, lists: Iterable[tuple[str, ...]]) -> tuple[float, ...]:
    text = "" if candidate.node is None else candidate.node.text
    tokens = 0 if candidate.node is None else candidate.node.generated_tokens
    thousands = max(1, len(text.split())) / 1000
    counts = (len(_marks(words).findall(text)) / thousands for words in lists)
    return (math.log(max(1, tokens)), *counts)


@lru_cache(maxsize=64)
def _marks(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(map(re.escape, words)) + r")\b", re.IGNORECASE)
