"""The purse of a run: shares by hand, laws, and runs that are cut, hurried and handed out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.errors import RecipeError
from reasoning.runs.common import SPREAD, Common, Shares, Terms
from reasoning.runs.recipe import parse
from reasoning.runs.run import run
from reasoning.runs.shard import Shard
from searchers.kernels.policy import Bound, Policy, Rung
from tests.reasoning.cluster.conftest import contents
from tests.reasoning.cluster.test_driver import nearby

# ---------------------------------------------------------------------------------- shares


def test_what_one_leaves_the_next_ones_get() -> None:
    """Two abreast: the third is told what the first has left, the fourth what the second has."""
    shares = Shares(Terms(100, 2))
    assert [shares.ready(i) for i in range(3)] == [True, True, False]
    assert [shares.share(0), shares.share(1)] == [100, 100]
    shares.spend(0, 20)
    assert (shares.ready(2), shares.ready(3)) == (True, False)
    assert shares.share(2) == 100 + 80 / 4
    shares.spend(1, 180)
    assert shares.share(3) == 100 + (80 - 80 - 20) / 4  # the third's share is promised


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=40),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_shares_do_not_depend_on_who_ends_first(spent: list[int], abreast: int, rng: Any) -> None:
    """Any order of ends that is possible gives the shares of one after another."""
    one = Shares(Terms(100, abreast))
    expected = []
    for place, tokens in enumerate(spent):
        expected.append(one.share(place))
        one.spend(place, tokens)
    other, over = Shares(Terms(100, abreast)), 0
    begun: list[int] = []
    found: list[float] = []
    while over < len(spent):
        place = len(found)
        if place < len(spent) and other.ready(place) and rng.random() < 0.6:
            found.append(other.share(place))
            begun.append(place)
        elif begun:
            ended = begun.pop(rng.randrange(len(begun)))
            other.spend(ended, spent[ended])
            over += 1
    assert found == expected
    assert min(found) >= 0


@pytest.mark.parametrize("abreast", [1, 8, 16])
def test_the_average_comes_to_what_was_said(abreast: int) -> None:
    """Problems that cost a half more than their share, as those do that are harder than others."""
    shares, total = Shares(Terms(100, abreast)), 0.0
    for place in range(600):
        begin = place - abreast
        if begin >= 0:
            shares.spend(begin, 1.5 * shares.share(begin))
            total += 1.5 * shares.share(begin)
        shares.share(place)
    assert total / (600 - abreast) == pytest.approx(100, rel=SPREAD * abreast * 0.5 / 600 + 0.01)


def test_nobody_else_has_a_share() -> None:
    common = Common(["a", "b"], {})
    common.spend({"strategy": "s", "problem": "a", "usage": {"generated_tokens": 3}})
    assert common.ready("b")
    assert common.shares("b") == {}


# ------------------------------------------------------------------------------------ runs


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Any]:
    """12 problems whose samples are the longer the later they come; a purse of 30 tokens."""
    rungs = [Rung(tokens=n * 10.0, start=n) for n in range(1, 9)]
    policy = Policy(form="fixed", start=2, rungs=tuple(rungs),
                    bound=Bound(model="scripted", task="jsonl", problems=1, samples=8))  # fmt: skip
    (tmp_path / "policy.json").write_text(policy.model_dump_json())
    rows = [{"id": f"q{i}", "question": "x " * i, "answer": str(i)} for i in range(1, 13)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def made(**change: Any) -> Any:
        data = {
            "name": "t",
            "task": {"name": "jsonl", "path": str(tmp_path / "q.jsonl")},
            "generator": {"name": "scripted", "token_seconds": 0.001, "delay": 0.01},
            "strategies": [
                {"searcher": "adaptive", "policy": str(tmp_path / "policy.json"), "tokens": 30,
                 "abreast": 3}
            ],
        }  # fmt: skip
        return parse({**data, **change})

    return made


def shares_of(folder: Path) -> dict[str, float]:
    lines = [json.loads(x) for x in (folder / "results.jsonl").read_text().splitlines()]
    return {line["problem"]: line["measures"]["allowance"] for line in lines}


def test_a_run_is_the_same_however_it_goes(
    recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another, hurried, cut off and resumed, begun with fewer, and on workers."""
    out = tmp_path / "out"
    asyncio.run(run(recipe(concurrency=1), out / "slow"))
    expected = contents(out / "slow")
    shares = shares_of(out / "slow")
    assert len(set(shares.values())) > 4  # what is left does differ
    asyncio.run(run(recipe(concurrency=64), out / "fast"))
    assert contents(out / "fast") == expected

    asyncio.run(run(recipe(), out / "cut"))
    for name in ("results.jsonl",):
        lines = (out / "cut" / name).read_text().splitlines(keepends=True)
        (out / "cut" / name).write_text("".join(lines[::2]))
    asyncio.run(run(recipe(), out / "cut"))
    assert contents(out / "cut") == expected

    asyncio.run(run(recipe(), out / "few", limit=5))
    few = shares_of(out / "few")
    assert few == {name: shares[name] for name in few}

    hired = nearby(monkeypatch)
    asyncio.run(run(recipe(workers=2), out / "away"))
    assert len(hired) == 2
    assert contents(out / "away") == expected


def test_parts_of_a_run_have_no_purse(recipe: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="purse for all problems"):
        asyncio.run(run(recipe(), tmp_path / "s", shard=Shard(1, 2)))
    plain = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps({**plain, "rungs": []}))
    with pytest.raises(RecipeError, match="one budget only"):
        asyncio.run(run(recipe(), tmp_path / "one"))
