"""Challenged: whether an answer stays, what that costs, and whether nano_think knows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evals.tasks import nano_think as task
from evals.tasks.nano_think import Program, problems
from reasoning.backends.scripted import Scripted
from reasoning.errors import GenerationError, TransientError, VerificationError
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import Verdict, ask
from reasoning.tree import RolloutTree, Sample
from reasoning.verify import Verifier

PROBLEM = Problem("p", "What is 12 * 7 + 5?", system="Be brief.")


def make(generator: Any, **options: Any) -> Verifier:
    spec = {"name": "challenge", "generator": generator, **options}
    return names.build("verifier", spec)  # type: ignore[no-any-return]


def verdict(
    verifier: Verifier, text: str = r"So \boxed{89}", problem: Problem = PROBLEM
) -> Verdict:
    tree = RolloutTree(problem.id)
    return asyncio.run(ask(verifier, problem, tree.add(tree.root, 0, Sample(text))))


@pytest.mark.parametrize(
    ("said", "n", "score"),
    [
        ([r"Still \boxed{89}"], 1, 1.0),
        ([r"Then \boxed{88}"], 1, 0.0),
        ([r"\boxed{88}", r"\boxed{89.0}", r"\boxed{89}"], 3, 2 / 3),
        (["I cannot say.", r"\boxed{89}"], 2, 1.0),  # without an answer: left out
    ],
    ids=["stays", "flips", "two of three", "one of one"],
)
def test_the_share_that_stays(said: list[str], n: int, score: float) -> None:
    assert verdict(make(Scripted(said), n=n)).steps == (pytest.approx(score),)


def test_it_is_told_after_its_own_solution() -> None:
    seen: list[Prompt] = []

    def reply(prompt: Prompt, seed: int) -> Sample:
        seen.append(prompt)
        return Sample(r"\boxed{89}", prompt_tokens=40, generated_tokens=7)

    found = verdict(make(Scripted(reply), turn="No.", n=2))
    assert [(m.role, m.content) for m in seen[0].messages] == [
        ("system", "Be brief."),
        ("user", PROBLEM.question),
        ("assistant", r"So \boxed{89}"),
        ("user", "No."),
    ]
    assert len(seen) == 2
    assert found.tokens == 2 * (40 + 7)


@pytest.mark.parametrize("n", [1, 2])
def test_greedy_where_there_is_one(n: int) -> None:
    assert make(Scripted(["x"]), n=n).sampling.temperature == (0.0 if n == 1 else 1.0)  # type: ignore[attr-defined]
    assert make(Scripted(["x"]), n=n, temperature=0.5).sampling.temperature == 0.5  # type: ignore[attr-defined]


def test_what_has_no_answer_has_no_score() -> None:
    with pytest.raises(VerificationError, match="without an answer"):
        verdict(make(Scripted([r"\boxed{1}"])), "I wonder.")
    with pytest.raises(VerificationError, match="no revision has an answer"):
        verdict(make(Scripted(["I cannot say."])))
    with pytest.raises(VerificationError, match="gone"):
        verdict(make(Scripted([GenerationError("gone")])))
    with pytest.raises(TransientError, match="busy"):
        verdict(make(Scripted([TransientError("busy")])))


def solution(item: Program, slip: int) -> str:
    """All steps right but the last, whose value is `slip` too much."""
    values, steps = item.values(), []
    for line in item.lines:
        left, right = task.operands(line, values)
        value = (values[line.name] + slip * (line is item.lines[-1])) % task.MODULUS
        steps.append(f"{line.name}={left}{line.op}{right}={value}.")
    thought = "\n\n".join(steps)
    return f"<think>\n{thought}\n</think>\n\nThe answer is \\boxed{{{value}}}."


def test_nano_think_rather_stands_by_what_is_right() -> None:
    verifier = make({"name": "nano", "model": "nano_think"}, turn=task.UNNAMED_TURN)
    stood = [0.0, 0.0]
    for item in problems(12):
        problem = Problem(item.id, item.question, gold=item.answer)
        for slip in (0, 1):
            found = verdict(verifier, solution(item, slip), problem)
            stood[slip] += found.steps[0]
            assert found.tokens > 60  # the question, the solution and the revision
    asyncio.run(verifier.aclose())
    assert stood[0] - stood[1] >= 6
