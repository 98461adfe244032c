"""Several verifiers as one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.errors import EngineError, RecipeError, TransientError, VerificationError
from reasoning.generate import Meter
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import Verdict, ask
from reasoning.tree import Node, RolloutTree, Sample
from reasoning.verify import Scores, Verifier
from verifiers.ensemble import Combine, Ensemble

PROBLEM = Problem("p", "?")


class Fixed(Verifier):
    """Says what it was told to."""

    def __init__(self, *steps: float, name: str = "fixed", error: Exception | None = None) -> None:
        self.name = name
        self.steps = steps
        self.error = error
        self.closed = 0

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        meter(len(self.steps))
        if self.error:
            raise self.error
        return self.steps

    async def aclose(self) -> None:
        self.closed += 1
        if self.error:
            raise self.error


def make(*members: Any, **options: Any) -> Ensemble:
    spec = {"name": "ensemble", "members": list(members), **options}
    return names.build("verifier", spec)  # type: ignore[no-any-return]


def score(verifier: Ensemble) -> Verdict:
    tree = RolloutTree("p")
    return asyncio.run(ask(verifier, PROBLEM, tree.add(tree.root, 0, Sample("x"))))


@pytest.mark.parametrize(
    ("combine", "weights", "expected"),
    [
        ("mean", None, (0.5, 0.35)),
        ("mean", [3, 1], (0.35, 0.425)),
        ("min", None, (0.2, 0.2)),
        ("product", None, (0.16, 0.1)),
        ("product", [2, 1], (0.032, 0.05)),
    ],
)
def test_by_hand(combine: Combine, weights: Any, expected: tuple[float, ...]) -> None:
    found = score(make(Fixed(0.2, 0.5), Fixed(0.8, 0.2), combine=combine, weights=weights))
    assert found.steps == pytest.approx(expected, rel=1e-12)
    assert found.tokens == 4


def test_a_single_score_is_for_every_step() -> None:
    assert score(make(Fixed(0.2, 0.4), Fixed(0.8), combine="min")).steps == (0.2, 0.4)
    assert score(make(Fixed(0.2, 0.4), Fixed(0.8))).steps == pytest.approx((0.5, 0.6))


def test_different_steps_do_not_combine() -> None:
    with pytest.raises(VerificationError, match=r"different numbers of steps \(a 2, b 3\)"):
        score(make(Fixed(0.2, 0.4, name="a"), Fixed(0.1, 0.2, 0.3, name="b")))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
    st.sampled_from(["mean", "min", "product"]),
)
def test_scores_in_the_unit_interval_stay_there(
    pairs: list[tuple[float, float]], combine: Combine
) -> None:
    one, other = (Fixed(*scores) for scores in zip(*pairs, strict=True))
    found = score(make(one, other, combine=combine)).steps
    assert all(0 <= s <= 1 for s in found)
    assert found == score(make(other, one, combine=combine)).steps
    for mixed, pair in zip(found, pairs, strict=True):
        assert mixed <= max(pair)


def test_a_product_takes_nothing_negative() -> None:
    with pytest.raises(VerificationError, match=r"gave -1; use combine: rank"):
        score(make(Fixed(-1.0), Fixed(0.5), combine="product"))


@pytest.mark.parametrize(
    "error", [TransientError("later"), VerificationError("odd"), EngineError("gone")]
)
def test_what_a_member_raises_is_raised(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        score(make(Fixed(0.5), Fixed(error=error)))


def test_what_members_read_is_metered_also_if_one_of_them_fails() -> None:
    node = RolloutTree("p").root
    for wrong in (Fixed(0.1, 0.2, 0.3), Fixed(-1.0, 0.5), Fixed(0.1, error=TransientError("busy"))):
        told: list[int] = []
        members = make(Fixed(0.5, 0.6), wrong, combine="product")
        with pytest.raises((VerificationError, TransientError)):
            asyncio.run(members.score(PROBLEM, node, meter=told.append))
        assert sum(told) == 2 + len(wrong.steps)


def test_all_members_are_closed() -> None:
    members = [Fixed(0.5), Fixed(error=EngineError("stuck")), Fixed(0.5)]
    with pytest.raises(EngineError, match="stuck"):
        asyncio.run(make(*members).aclose())
    assert [member.closed for member in members] == [1, 1, 1]


def test_members_by_name() -> None:
    verifier = make("oracle", {"name": "logprob", "kind": "min"})
    assert verifier.notes == [
        "verifier oracle looks at the gold answers: an upper bound, not a result"
    ]
    with pytest.raises(RecipeError, match="unknown verifier 'oracel'; did you mean 'oracle'"):
        make("oracel", "logprob")


# ------------------------------------------------------------------------------ ranks


def run_with(folder: Path, **scores: list[float]) -> Path:
    """The folder of a run whose tree has nodes with these scores."""
    tree = RolloutTree("p")
    for name, values in scores.items():
        for value in values:
            node = tree.add(tree.root, len(tree), Sample("x"))
            node.scores[name] = (value,)
    (folder / "trees" / "s").mkdir(parents=True)
    (folder / "trees" / "s" / "p.jsonl").write_text(tree.to_jsonl())
    return folder


def test_ranks_put_scales_together(tmp_path: Path) -> None:
    first = run_with(tmp_path / "a", nats=[1.0, 2.0, 3.0, 4.0], share=[0.1])
    second = run_with(tmp_path / "b", share=[0.2, 0.3, 0.3, 0.9, 0.95])
    folders = [str(first), str(second)]

    def rank(nats: float, share: float, **more: Any) -> float:
        members = Fixed(nats, name="nats"), Fixed(share, name="share")
        return score(make(*members, combine="rank", reference=folders, **more)).steps[0]

    assert rank(2.5, 0.3) == pytest.approx((2 / 4 + 3 / 6) / 2)
    assert rank(-100, 0) == 0
    assert rank(100, 1) == 1
    assert rank(2.5, 1, weights=[3, 1]) == pytest.approx((3 * 0.5 + 1) / 4)
    assert rank(3.5, 0.5) > rank(2.5, 0.5)


def test_ranks_need_scores(tmp_path: Path) -> None:
    run = str(run_with(tmp_path / "a", nats=[1.0]))
    with pytest.raises(RecipeError, match=r"holds no rollout trees"):
        make(Fixed(), Fixed(), combine="rank", reference=str(tmp_path / "none"))
    with pytest.raises(RecipeError, match=r"no node in .* was scored by share"):
        make(Fixed(name="nats"), Fixed(name="share"), combine="rank", reference=run)
    (tmp_path / "a" / "trees" / "s" / "p.jsonl").write_text("{")
    with pytest.raises(RecipeError, match=r"p\.jsonl: line 1 of a stored tree is damaged"):
        make(Fixed(name="nats"), Fixed(name="nats"), combine="rank", reference=run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": ["oracle"]}, "members has 1 entries"),
        ({"weights": [1]}, "1 weights for 2 members under mean"),
        ({"weights": [1, 2], "combine": "min"}, "none with min"),
        ({"weights": [0, 2]}, "weights="),
        ({"combine": "rank"}, "goes with reference"),
        ({"reference": "runs/x"}, "goes with reference"),
        ({"combine": "max"}, "combine='max'"),
        ({"members": ["logprob", 5]}, "is 5, and no reasoning.Verifier"),
        ({"members": ["logprob", ["logprob"]]}, "and no reasoning.Verifier"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        names.build("verifier", {"name": "ensemble", "members": ["oracle", "logprob"], **options})
