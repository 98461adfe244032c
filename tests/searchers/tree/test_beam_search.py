from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.clock import Deadline
from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Sampling
from reasoning.search import Search
from reasoning.testing.toys import Steps, ToyModel, ToyVerifier, markov, random_tree
from reasoning.tree import Node
from reasoning.verify import Reduction
from searchers.tree.beam_search import beam_search

OPTIONS = 3  # of every step in random_tree


def by_slot(model: ToyModel, **setting: Any) -> Scripted:
    """Says the i-th possible step in slot i, so that nothing is left to chance."""

    def script(prompt: Any, _: int) -> str:
        steps, _rest = model.parse(prompt.text)
        start, slot = len(steps), prompt.slot
        while not model.is_complete(steps) and len(steps) < start + 10:
            options = [name for name, _p in model.step_distribution(steps)]
            steps, slot = (*steps, options[slot % len(options)]), 0
        return "".join(model.piece(steps[:i], steps[i]) for i in range(start, len(steps)))

    return Scripted(script, **setting)


def run(
    model: ToyModel,
    *,
    verifier: ToyVerifier | None = None,
    tokens: int | None = None,
    verifier_calls: int | None = None,
    seconds: float | None = None,
    max_tokens: int = 200,
    token_seconds: float = 1.0,
    **params: Any,
) -> Search:
    search = Search(
        model.problem,
        source := by_slot(model, token_seconds=token_seconds),
        verifier=verifier or ToyVerifier(model),
        sampling=Sampling(max_tokens=max_tokens),
        budget=Budget(tokens, verifier_calls),
    )
    search.clock = source.clock(model.problem)

    async def work() -> None:
        with Deadline(search.clock, seconds):
            await beam_search(search, **params)

    asyncio.run(work())
    return search


def found(model: ToyModel, search: Search) -> list[Steps]:
    """The solutions put forward, in path order."""
    nodes = [search.tree[c.path] for c in search.candidates]
    return [model.parse(node.text)[0] for node in nodes if node.finished]


def by_hand(
    model: ToyModel, width: int, expansions: int, finished: str, most: int = 40
) -> set[Steps]:
    """Beam search without a tree, a generator or a budget, slow and plain."""
    frontier, places, ends = [((), width * expansions)], width, set()  # type: ignore[var-annotated]
    for _ in range(most):
        children: list[Steps] = []
        for steps, count in frontier:
            names = [name for name, _p in model.step_distribution(steps)]
            children += [(*steps, names[slot % len(names)]) for slot in range(count)]
        ends |= {steps for steps in children if model.is_complete(steps)}
        ranked = sorted(children, key=lambda steps: -model.value(steps))  # stable: path order
        if finished == "keep":
            beam = ranked[:places]
            places -= sum(model.is_complete(steps) for steps in beam)
            kept = _indices(children, beam)
            frontier = [
                (children[i], expansions)
                for i in sorted(kept)
                if not model.is_complete(children[i])
            ]
        else:
            beam = [steps for steps in ranked if not model.is_complete(steps)][:width]
            share, extra = divmod(width * expansions, len(beam)) if beam else (0, 0)
            kept = _indices(children, beam)
            frontier = [(children[i], share + (at < extra)) for at, i in enumerate(sorted(kept))]
        if not frontier:
            break
    return ends


def _indices(children: list[Steps], beam: list[Steps]) -> set[int]:
    """Where the members of the beam stand; equals are taken from the left."""
    left = list(enumerate(children))
    out = set()
    for steps in beam:
        at = next(entry for entry in left if entry[1] == steps)
        left.remove(at)
        out.add(at[0])
    return out


# -------------------------------------------------------------------------- exact results


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("finished", ["keep", "free"])
def test_full_width_is_exhaustive_search(seed: int, finished: str) -> None:
    model = random_tree(seed, depth=3, width=OPTIONS)
    search = run(
        model, width=OPTIONS**3, expansions=OPTIONS, finished=finished, merge_duplicates=True
    )
    assert set(found(model, search)) == {steps for steps, _ in model.complete()}


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["keep", "free"]))
def test_like_beam_search_by_hand(seed: int, width: int, expansions: int, finished: str) -> None:
    model = random_tree(seed, depth=4, width=OPTIONS)
    search = run(model, width=width, expansions=expansions, finished=finished)
    assert set(found(model, search)) == by_hand(model, width, expansions, finished)


def test_width_one_follows_the_best_step() -> None:
    values = {("a",): 0.2, ("b",): 0.9, ("b", "c"): 0.3, ("b", "d"): 0.6}
    model = markov({"": {"a": 0.9, "b": 0.1}, "a": {"1": 1.0}, "b": {"c": 0.5, "d": 0.5},
                    "c": {"2": 1.0}, "d": {"3": 1.0}})  # fmt: skip
    verifier = ToyVerifier(model, lambda steps: values.get(steps, 0.5))
    search = run(model, verifier=verifier, width=1, expansions=2)
    assert found(model, search) == [("b", "d", "3"), ("b", "d", "3")]
    assert len(search.tree) == 6


def test_a_finished_path_keeps_or_frees_its_place() -> None:
    model = markov({"": {"1": 0.5, "a": 0.5}, "a": {"a": 0.5, "b": 0.5}, "b": {"2": 1.0}})
    verifier = ToyVerifier(model, lambda steps: {"1": 0.9, "a": 0.5, "b": 0.8, "2": 0.7}[steps[-1]])
    kept = run(model, verifier=verifier, width=1, expansions=2, finished="keep")
    assert found(model, kept) == [("1",)]
    freed = run(model, verifier=verifier, width=1, expansions=2, finished="free")
    assert found(model, freed) == [("1",), ("a", "b", "2"), ("a", "b", "2")]


def test_free_shares_out_the_whole_width_among_fewer_paths() -> None:
    model = markov({"": {"1": 0.4, "2": 0.3, "a": 0.3}, "a": {"1": 0.5, "2": 0.5}})
    search = run(model, width=3, expansions=1, finished="free")
    assert [len(node.children) for node in search.root.children] == [0, 0, 3]


# ------------------------------------------------------------------- look-ahead, diversity


def garden_path() -> tuple[ToyModel, ToyVerifier]:
    """Step a looks better than b and leads nowhere."""
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"x": 1.0}, "b": {"y": 1.0}, "x": {"0": 1.0},
                    "y": {"1": 1.0}})  # fmt: skip
    values = {"a": 0.9, "b": 0.8, "x": 0.1, "y": 0.7, "0": 0.0, "1": 1.0}
    return model, ToyVerifier(model, lambda steps: values[steps[-1]])


def test_lookahead_is_scored() -> None:
    model, verifier = garden_path()
    assert found(model, run(model, verifier=verifier, width=1, expansions=2))[0] == ("a", "x", "0")
    ahead = run(model, verifier=verifier, width=1, expansions=2, lookahead=1)
    assert found(model, ahead)[0] == ("b", "y", "1")


def test_rollouts_are_paid_for_and_are_no_candidates() -> None:
    model, verifier = garden_path()
    search = run(model, verifier=verifier, width=1, expansions=2, lookahead=5)
    rollouts = [node for node in search.tree if 0 in node.path[1:]]
    assert any(node.finished for node in rollouts)
    assert not any(node.emitted for node in rollouts)
    assert search.usage.calls == len(search.tree)
    assert search.usage.generated_tokens == sum(n.sample.generated_tokens for n in search.tree)
    assert all(node.scores for node in search.tree)


def test_lookahead_reduces_over_the_rollout_too() -> None:
    model, _ = garden_path()
    values = {"a": 0.9, "b": 0.8, "x": 0.2, "y": 0.7, "0": 0.9, "1": 0.1}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    last = run(model, verifier=verifier, width=1, expansions=2, lookahead=2)
    assert found(model, last)[0][0] == "a"
    verifier.reduction = "mean"
    mean = run(model, verifier=verifier, width=1, expansions=2, lookahead=2)
    assert found(model, mean)[0][0] == "a"
    verifier.reduction = "min"
    least = run(model, verifier=verifier, width=1, expansions=2, lookahead=1)
    assert found(model, least)[0][0] == "b"


def test_diversity_lets_another_parents_child_pass() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"c": 0.5, "d": 0.5}, "b": {"e": 1.0},
                    "c": {"1": 1.0}, "d": {"2": 1.0}, "e": {"3": 1.0}})  # fmt: skip
    values = {"a": 0.9, "b": 0.8, "c": 0.9, "d": 0.85, "e": 0.6}
    verifier = ToyVerifier(model, lambda steps: values.get(steps[-1], 0.5))
    setting: dict[str, Any] = {
        "verifier": verifier,
        "width": 2,
        "expansions": 2,
        "merge_duplicates": True,
    }
    assert {s[-1] for s in found(model, run(model, **setting))} == {"1", "2"}
    assert {s[-1] for s in found(model, run(model, diverse=0.3, **setting))} == {"1", "3"}


def test_merged_duplicates_take_no_place_and_have_no_vote() -> None:
    model = markov({"": {"a": 1.0}, "a": {"1": 0.5, "2": 0.5}})
    plain = run(model, width=2, expansions=2)
    assert len(plain.tree) == 4 + 4
    merged = run(model, width=2, expansions=2, merge_duplicates=True)
    assert len(merged.tree) == 4 + 2
    ends = run(markov({"": {"1": 1.0}}), width=2, expansions=2, merge_duplicates=True)
    assert [c.weight for c in ends.candidates] == [1, 0, 0, 0]


# ------------------------------------------------------------------------ scores that fail


def test_an_unscored_path_ranks_lowest() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"1": 1.0}, "b": {"2": 1.0}})

    def failure(node: Node) -> Exception | None:
        return VerificationError("no") if node.text.startswith("a") else None

    verifier = ToyVerifier(model, lambda _: 0.0, failure=failure)
    search = run(model, verifier=verifier, width=1, expansions=2)
    assert {s[-1] for s in found(model, search)} == {"2"}


def test_a_path_whose_last_step_is_unscored_does_not_live_off_the_one_before() -> None:
    model = markov({"": {"a": 1.0}, "a": {"b": 0.5, "c": 0.5}, "b": {"1": 1.0}, "c": {"2": 1.0}})

    def failure(node: Node) -> Exception | None:
        return VerificationError("no") if node.sample.text.startswith("b") else None

    verifier = ToyVerifier(model, lambda s: 0.9 if len(s) == 1 else 0.1, failure=failure)
    search = run(model, verifier=verifier, width=1, expansions=2)
    assert {s[-1] for s in found(model, search)} == {"2"}


def test_constant_scores_keep_the_first() -> None:
    model = random_tree(0, depth=4)
    verifier = ToyVerifier(model, lambda _: 0.5)
    search = run(model, verifier=verifier, width=2, expansions=2)
    grown = [node.path for node in search.tree if node.depth == 1 and node.children]
    assert grown == [node.path for node in search.root.children[:2] if not node.finished]


def test_without_a_verifier_nothing_is_spent() -> None:
    model = random_tree(0)
    search = Search(model.problem, by_slot(model))
    with pytest.raises(RecipeError, match="no verifier"):
        asyncio.run(beam_search(search, width=2))
    assert search.usage.calls == 0


# --------------------------------------------------------------------------------- limits


def test_no_tokens_no_candidates() -> None:
    search = run(random_tree(1), tokens=0, width=2)
    assert not search.candidates
    assert not len(search.tree)


def test_one_token_short_of_the_end() -> None:
    model = markov({"": {"a b": 1.0}, "a b": {"c": 1.0}, "c": {"1": 1.0}})
    setting: dict[str, Any] = {"width": 1, "expansions": 1, "max_tokens": 10}
    whole = run(model, **setting)
    (solution,) = whole.candidates
    assert solution.answer is not None
    need = whole.usage.generated_tokens
    (same,) = run(model, tokens=need, **setting).candidates
    assert (same.path, same.answer, same.score) == (solution.path, solution.answer, solution.score)
    short = run(model, tokens=need - 1, **setting)
    assert short.usage.generated_tokens == need - 1
    assert [c.answer for c in short.candidates] == [None]  # the best path so far
    assert short.candidates[0].path == (0, 0)
    assert run(model, tokens=1, **setting).candidates[0].path == (0,)


def test_a_path_without_room_is_cut_off() -> None:
    model = markov({"": {"a b c": 0.5, "1": 0.5}, "a b c": {"a b c": 1.0}})
    search = run(model, max_tokens=3, width=1, expansions=2)
    assert found(model, search) == [("1",)]
    assert search.usage.calls == 2


def test_the_best_partial_path_has_an_answer_if_any_has() -> None:
    model = markov({"": {"a": 0.5, "\\boxed{7} or": 0.5}, "a": {"a": 1.0},
                    "\\boxed{7} or": {"a": 1.0}})  # fmt: skip
    verifier = ToyVerifier(model, lambda steps: 0.9 if steps[0] == "a" else 0.1)
    search = run(model, verifier=verifier, max_tokens=3, width=2, expansions=1)
    assert [c.answer.text for c in search.candidates if c.answer] == ["7"]
    assert len(search.candidates) == 1


def test_the_last_step_runs_to_the_end() -> None:
    model = markov({"": {"a": 1.0}, "a": {"b": 1.0}, "b": {"c": 1.0}, "c": {"1": 1.0}})
    search = run(model, width=1, expansions=1, max_steps=2)
    assert found(model, search) == [("a", "b", "c", "1")]
    (node,) = (search.tree[c.path] for c in search.candidates)
    assert node.depth == 2
    assert len(node.scores["toy"]) == 3


def test_a_deadline_keeps_what_has_ended() -> None:
    model = markov({"": {"1": 0.5, "a a a": 0.5}, "a a a": {"2": 1.0}})
    verifier = ToyVerifier(model, lambda steps: float(len(steps)))
    setting: dict[str, Any] = {"verifier": verifier, "width": 2, "expansions": 1}
    assert not run(model, seconds=0.5, **setting).candidates
    assert found(model, run(model, seconds=1.5, **setting)) == [("1",)]
    assert found(model, run(model, seconds=9, **setting)) == [("1",), ("a a a", "2")]


def test_a_deadline_before_any_end_keeps_the_best_path() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"a": 1.0}, "b": {"b": 1.0}})
    verifier = ToyVerifier(model, lambda steps: 0.9 if steps[0] == "b" else 0.1)
    search = run(model, verifier=verifier, seconds=3, width=2, expansions=1)
    assert [c.path for c in search.candidates] == [(1,)]


def test_verifier_calls_that_run_out_leave_the_rest_unscored() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"1": 1.0}, "b": {"2": 1.0}})
    verifier = ToyVerifier(model, lambda _: 0.1)
    search = run(model, verifier=verifier, verifier_calls=1, width=1, expansions=2)
    assert verifier.calls == 1
    assert {s[-1] for s in found(model, search)} == {"1"}  # the one that was scored


@pytest.mark.parametrize(
    ("reduction", "first"), [("last", "a"), ("min", "b"), ("prod", "b"), ("mean", "b")]
)
def test_reductions_rank_differently(reduction: Reduction, first: str) -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"c": 0.5, "d": 0.5},
                    "b": {"e": 0.5, "f": 0.5}, "c": {"1": 1.0}, "d": {"1": 1.0}, "e": {"2": 1.0},
                    "f": {"2": 1.0}})  # fmt: skip
    values = {"a": 0.2, "c": 0.9, "d": 0.8, "b": 0.6, "e": 0.6, "f": 0.6}
    verifier = ToyVerifier(model, lambda steps: values.get(steps[-1], 0.5))
    verifier.reduction = reduction
    search = run(model, verifier=verifier, width=2, expansions=2, merge_duplicates=True)
    assert {steps[0] for steps in found(model, search)} == {first}
