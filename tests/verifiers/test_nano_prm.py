"""The embedded process reward model as a verifier."""

from __future__ import annotations

import asyncio
import random
from asyncio import TaskGroup
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.tasks import nano
from reasoning.backends.nano import reward
from reasoning.errors import EngineError, RecipeError, VerificationError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import Verdict, ask
from reasoning.tree import Node, RolloutTree, Sample
from verifiers.engines.steps import STEP_BREAK, new_steps, steps_of
from verifiers.nano_prm import NanoPRM, nano_prm

PROBLEM = Problem("p", "What is 12 * 7 + 5?", prompt="Wrapped: what is 12 * 7 + 5?")
STEPS = ("12 * 7 = 84.\n\n", "84 + 5 = 89.\n\n", r"The answer is \boxed{89}.")

needs_weights = pytest.mark.skipif(
    not (reward.WEIGHTS / "model.safetensors").is_file(), reason="no bundled reward model"
)


def node_of(*texts: str) -> Node:
    """The last node of a path with these samples."""
    tree = RolloutTree("p")
    node = tree.root
    for text in texts:
        node = tree.add(node, 0, Sample(text))
    return node


# ------------------------------------------------------------------------------ cutting into steps


def test_steps_are_cut_as_in_training() -> None:
    assert STEP_BREAK == nano.STEP_BREAK
    rng = random.Random(0)
    for item in nano.problems(50):
        text = nano.solution(item, rng, slips=0.5)
        assert steps_of(text) == text.strip().split(nano.STEP_BREAK)
        assert len(steps_of(text)) == len(nano.step_labels(item, text))


def test_steps_of_odd_text() -> None:
    assert steps_of("") == steps_of(" \n\n\n \n\n") == []
    assert steps_of("\n\na\n\n\n\n b \n\nc\nd") == ["a", "b", "c\nd"]


@given(st.lists(st.sampled_from(["a", "b ", "\n", "\n\n", " "]), max_size=12), st.data())
def test_every_step_is_new_once_or_goes_on(parts: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(parts)))
    before, text = "".join(parts[:cut]), "".join(parts[cut:])
    steps, new = new_steps(before, text)
    assert steps == steps_of(before + text)
    assert (new > 0) == bool(text.strip())
    goes_on = bool(text.strip()) and new + len(steps_of(before)) == len(steps) + 1
    assert goes_on or new + len(steps_of(before)) == len(steps)


def test_a_step_that_goes_on_is_scored_again() -> None:
    assert new_steps("a\n\nb", "c\n\nd") == (["a", "bc", "d"], 2)
    assert new_steps("a\n\nb\n\n", "c") == (["a", "b", "c"], 1)
    assert new_steps("a\n\nb\n", "\nc") == (["a", "b", "c"], 1)
    assert new_steps("a", " ") == (["a"], 0)


# ---------------------------------------------------------------------- the bundled model


@pytest.fixture(scope="module")
def prm() -> Iterator[NanoPRM]:
    verifier = nano_prm()
    yield verifier
    asyncio.run(verifier.aclose())


def score(prm: NanoPRM, node: Node, problem: Problem = PROBLEM) -> Verdict:
    return asyncio.run(ask(prm, problem, node))


@needs_weights
def test_a_whole_solution_and_its_steps_score_alike(prm: NanoPRM) -> None:
    whole = score(prm, node_of("".join(STEPS)))
    single = [score(prm, node_of(*STEPS[: i + 1])) for i in range(3)]
    assert whole.steps == tuple(v.steps[0] for v in single)
    assert [len(v.steps) for v in single] == [1, 1, 1]
    assert all(0 < s < 1 for s in whole.steps)
    assert 0 < single[0].tokens < single[1].tokens < single[2].tokens == whole.tokens


@needs_weights
def test_the_question_counts_and_not_the_prompt_around_it(prm: NanoPRM) -> None:
    bare = Problem("p", PROBLEM.question)
    other = Problem("p", "What is 3 - 2?")
    node = node_of("".join(STEPS))
    assert score(prm, node) == score(prm, node, bare) != score(prm, node, other)


@needs_weights
def test_together_and_alone_score_alike(prm: NanoPRM) -> None:
    nodes = [node_of(*STEPS[: 1 + i % 3]) for i in range(12)]

    async def together() -> list[Verdict]:
        async with TaskGroup() as group:
            tasks = [group.create_task(ask(prm, PROBLEM, node)) for node in nodes]
        return [task.result() for task in tasks]

    assert asyncio.run(together()) == [score(prm, node) for node in nodes]


@needs_weights
@pytest.mark.parametrize("texts", [("",), (" \n\n",), (*STEPS, "")])
def test_a_node_without_text_has_no_step(prm: NanoPRM, texts: Sequence[str]) -> None:
    with pytest.raises(VerificationError, match="no step"):
        score(prm, node_of(*texts))


@needs_weights
@pytest.mark.parametrize(
    "text",
    ["1 + 1 = 2.\n\n" * 2000, "a" * 5_000_000, "\U0001d7d9" * 20_000, "\n\n".join("12345" * 900)],
)
def test_text_beyond_the_context(prm: NanoPRM, text: str) -> None:
    with pytest.raises(VerificationError, match=r"context|at most"):
        score(prm, node_of(text))


@needs_weights
@pytest.mark.parametrize(
    "text",
    [
        "数学很有趣。\n\n答案是 5。",
        "٣ + ٤ = ٧",
        "\x00\x01",
        "<extra_0>\n\n<|im_end|>",
        "🙂" * 20,
        "é\u0301",
    ],
)
def test_odd_scripts_get_scores(prm: NanoPRM, text: str) -> None:
    assert all(0 <= s <= 1 for s in score(prm, node_of(text)).steps)


@needs_weights
def test_half_a_surrogate_pair(prm: NanoPRM) -> None:
    with pytest.raises(VerificationError, match="not valid text"):
        score(prm, node_of("a \ud800 b"))


@needs_weights
def test_closed_is_closed() -> None:
    verifier = names.build("verifier", {"name": "nano_prm", "max_batch": 2})
    assert verifier.name == "nano_prm"
    asyncio.run(verifier.aclose())
    with pytest.raises(EngineError):
        score(verifier, node_of("1 + 1 = 2."))


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"holds no usable checkpoint.*verifier\.path"):
        nano_prm(path=tmp_path)
    with pytest.raises(RecipeError, match="max_batch=0"):
        nano_prm(max_batch=0)


@needs_weights
def test_one_wrong_digit_is_found_where_it_stands(prm: NanoPRM) -> None:
    """On gold solutions, and on the same with the result of one equation changed."""
    rng = random.Random(1)
    good, bad = [], []
    for item in nano.problems(60, seed=3):
        at = rng.randrange(len(item.steps) - 1)
        head, _, value = item.steps[at].removesuffix(".").rpartition(" ")
        digit = rng.randrange(len(value))
        other = rng.choice([d for d in "123456789" if d != value[digit]])
        wrong = f"{head} {value[:digit]}{other}{value[digit + 1 :]}."
        problem = Problem(item.id, item.question)
        good += score(prm, node_of("\n\n".join(item.steps)), problem).steps
        bad.append(score(prm, node_of("\n\n".join((*item.steps[:at], wrong))), problem).steps[-1])
    assert sum(s > 0.5 for s in good) / len(good) > 0.75  # one doubt is carried on to the end
    assert sum(s < 0.5 for s in bad) / len(bad) > 0.9
