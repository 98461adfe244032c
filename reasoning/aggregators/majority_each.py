"""A vote on every question of a prompt that asks several (task `rest`; 2025, arXiv:2507.10541)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.majority import majority
from reasoning.aggregators.voting import count, in_order
from reasoning.answers import Answer
from reasoning.answers.kind import Answers
from reasoning.answers.several import Several
from reasoning.search import Search

VOTES = True


async def majority_each(candidates: Sequence[Candidate], search: Search) -> Choice | None:
    """The most frequent answer to each question, whoever gave it; confidence is the least share.

    The chosen candidate is the earliest of those that say most of what was voted for. Where a
    problem asks one question it is `majority`.
    """
    kind = search.problem.answers
    if not isinstance(kind, Several):
        return majority(candidates)
    voters = in_order(candidates)
    if not voters:
        return None
    said = [kind.split(voter.answer) for voter in voters]
    won: list[Answer | None] = []
    shares: list[float] = []
    agree = [0] * len(voters)
    for i, one in enumerate(kind.kinds):
        answers = await _grouped(one, [parts[i] for parts in said])
        ballot = [
            (replace(voter, answer=answer), voter.weight)
            for voter, answer in zip(voters, answers, strict=True)
            if answer is not None
        ]
        choice = count([voter for voter, _ in ballot], [weight for _, weight in ballot])
        best = choice.candidate.answer if choice and choice.candidate else None
        won.append(best)
        shares.append((choice.confidence or 0.0) if choice else 0.0)
        agree = [
            n + (answer is not None and best is not None and answer.key == best.key)
            for n, answer in zip(agree, answers, strict=True)
        ]
    chosen = voters[max(range(len(voters)), key=agree.__getitem__)]
    return Choice(replace(chosen, answer=kind.joined(won)), min(shares))


async def _grouped(kind: Answers, answers: Sequence[Answer | None]) -> list[Answer | None]:
    """Answers that mean the same under one key."""
    found = [answer for answer in answers if answer is not None]
    first = await kind.group(found)
    renamed = iter([replace(a, key=found[i].key) for a, i in zip(found, first, strict=True)])
    return [None if answer is None else next(renamed) for answer in answers]
