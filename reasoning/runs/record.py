"""One line of results.jsonl: what came of one strategy on one problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from reasoning.errors import StoreError
from reasoning.problem import Problem
from reasoning.result import Result

VERSION = 2
"""Of the form of a line. 1, the first, had no version, text, node, confidence and error."""


@dataclass(frozen=True, slots=True)
class Record:
    """Plain values only. `correct` is None where nobody can tell, `question` where it is withheld.

    `node` is the path of the chosen candidate, `text` the end of its text, `confidence` in [0, 1]
    where the strategy has one, `measures` what else there is to say of its work and its answer, by
    name (see `Search.measure`, `Answers.measures`). `error` is the traceback of a search that
    failed (stop reason "failed"): it has no answer, and what it had put forward is in its tree.
    """

    problem: str
    strategy: str
    question: str | None
    answer: str | None
    gold: str | None
    correct: bool | None
    stop_reason: str
    candidates: list[dict[str, Any]]
    usage: dict[str, Any]
    failures: list[str]
    meta: dict[str, Any]
    text: str | None = None
    node: list[int] | None = None
    confidence: float | None = None
    measures: dict[str, float] | None = None
    error: str | None = None
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what is unset beyond the first version is left out."""
        out = asdict(self)
        for name in ("text", "node", "confidence", "measures", "error"):
            if out[name] is None:
                del out[name]
        return out

    def withheld(self) -> Record:
        """The line without the question, and without words that could stand in it.

        Equal answers keep equal keys.
        """
        candidates = [
            {**c, "key": None if c["key"] is None else sha256(c["key"].encode()).hexdigest()[:16]}
            for c in self.candidates
        ]
        return replace(self, question=None, text=None, candidates=candidates)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Read a line of any version so far; keys of later ones are ignored.

        Raises StoreError for one that lacks what every version has.
        """
        first: dict[str, Any] = {
            "gold": None,
            "correct": None,
            "failures": [],
            "meta": {},
            "version": 1,
        }
        known = {**first, **{k: v for k, v in data.items() if k in cls.__slots__}}
        try:
            return cls(**known)
        except TypeError as error:
            raise StoreError(f"a stored result is not one: {error}") from None


_TEXT = 2000
"""Characters kept of the end of the winner's text; the tree has all of it."""


async def recorded(
    problem: Problem, strategy: str, result: Result, error: str | None = None
) -> Record:
    """The line of a search that is over. An answer whose grading fails has no grade."""
    failures = list(result.failures)
    grades = await _graded(problem, result, failures)
    chosen = result.chosen

    def grade(answer: Any) -> bool | None:
        return grades.get(_told_by(problem, answer))

    correct = grade(chosen.answer if chosen else None)
    return Record(
        problem=problem.id,
        strategy=strategy,
        question=problem.question,
        answer=result.answer,
        gold=problem.gold,
        correct=False if error is not None and problem.answers.graded else correct,
        stop_reason=result.stop_reason,
        candidates=[
            {
                "path": list(c.path),
                "answer": c.answer.text if c.answer else None,
                "key": c.answer.key if c.answer else None,
                "correct": grade(c.answer),
                "weight": c.weight,
                "rank": c.rank,
                "steps": list(c.steps),
                # The search has written the end of the text itself.
                **({"written": True} if c.node and c.node.sample.finish == "written" else {}),
                # It was drawn greedily, and is no sample like the others.
                **({"hedge": True} if c.node and (c.node.sample.info or {}).get("hedge") else {}),
            }
            for c in result.candidates
        ],
        usage=result.usage.to_json(),
        failures=failures,
        # Labels to group by (level, subject), not whole solutions.
        meta={
            k: v
            for k, v in problem.meta.items()
            if isinstance(v, (int, float)) or (isinstance(v, str) and len(v) <= 80)
        },
        text=None if result.text is None else result.text[-_TEXT:],
        node=None if chosen is None else list(chosen.path),
        confidence=result.confidence,
        measures=await _measured(problem, result, failures),
        error=error,
    )


def _told_by(problem: Problem, answer: Any) -> str | None:
    """What answers are told apart by where they are graded."""
    if answer is None:
        return None
    return str(answer.key if problem.answers.same_grade else answer.text)


async def _measured(
    problem: Problem, result: Result, failures: list[str]
) -> dict[str, float] | None:
    """What the strategy says of its work, and the kind of answers beside right and wrong; None if
    nothing."""
    found = dict(result.measures)
    try:
        answer = result.chosen.answer if result.chosen else None
        found |= await problem.answers.measures(answer)
    except Exception as error:  # whatever a task's own kind raises
        failures.append(f"measuring: {type(error).__name__}: {error}")
    return found or None


async def _graded(
    problem: Problem, result: Result, failures: list[str]
) -> dict[str | None, bool | None]:
    """Whether each answer is right; none at all counts as an answer."""
    if not problem.answers.graded:
        return {}
    answers: dict[str | None, Any] = {None: None}
    for candidate in (*result.candidates, *filter(None, [result.chosen])):
        if candidate.answer is not None:
            answers.setdefault(_told_by(problem, candidate.answer), candidate.answer)
    grades: dict[str | None, bool | None] = {}
    for key, answer in answers.items():
        try:
            grades[key] = await problem.answers.grade(answer)
        except Exception as error:  # whatever a task's own grader raises
            grades[key] = None
            failures.append(f"grading {key!r}: {type(error).__name__}: {error}")
    return grades
