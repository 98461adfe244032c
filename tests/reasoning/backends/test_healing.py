"""Text that ends inside a token: what is said behind it is what the model says of its bytes."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from reasoning.backends.healing import Cover, Healing, Look, chances, healable, shared_by, weighed
from reasoning.backends.nano import Nano
from reasoning.backends.token_ids import tokens_of
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import FloatArray, RolloutTree, Sample

PIECES = [b"a", b"b", b"c", b"ab", b"bc", b"cabc", b"ca", b""]
END = 7
MERGES = [("b", "c"), ("a", "b"), ("c", "a"), ("ca", "bc")]
IDS = {piece.decode(): i for i, piece in enumerate(PIECES) if piece}


def encode(text: str) -> tuple[int, ...]:
    """Byte pair encoding: the earliest merge first, from the left."""
    parts = list(text)
    for left, right in MERGES:
        at = 0
        while at < len(parts) - 1:
            if (parts[at], parts[at + 1]) == (left, right):
                parts[at : at + 2] = [left + right]
            at += 1
    return tuple(IDS[part] for part in parts)


def text_of(ids: tuple[int, ...]) -> str:
    return "".join(PIECES[i].decode() for i in ids)


@cache
def row(ids: tuple[int, ...]) -> tuple[float, ...]:
    """What a model says next that never writes what the tokenizer would not."""
    rng = np.random.default_rng([7, *ids])
    may = [i == END or encode(text_of((*ids, i))) == (*ids, i) for i in range(len(PIECES))]
    p = np.where(may, rng.gamma(0.7, size=len(PIECES)), 0)
    with np.errstate(divide="ignore"):
        return tuple(np.log(p / p.sum()))


def odds(ids: tuple[int, ...], more: int) -> dict[str, float]:
    """Of every text behind the tokens that has `more` characters or has ended; `|` is the end."""
    found: Counter[str] = Counter()

    def grow(now: tuple[int, ...], p: float) -> None:
        said = text_of(now[len(ids) :])
        if len(said) >= more:
            found[said[:more]] += p
            return
        for token, logprob in enumerate(row(now)):
            if token == END:
                found[said + "|"] += p * np.exp(logprob)
            elif logprob > -np.inf:
                grow((*now, token), p * np.exp(logprob))

    grow(ids, 1.0)
    return {text: p for text, p in found.items() if p}


TEXTS = ["".join(letters) for n in (1, 2, 3) for letters in product("abc", repeat=n)]


@pytest.mark.parametrize("text", TEXTS)
def test_what_comes_next_is_what_the_bytes_say(text: str) -> None:
    """By trying whatever can happen: both sides are sums over all token sequences."""
    more = 3
    whole = {t: p for t, p in odds((), len(text) + more).items() if t.startswith(text)}
    total = sum(whole.values())
    right = {t.removeprefix(text): p / total for t, p in whole.items()}

    covers = Healing(encode, PIECES).covers(text)
    shared = shared_by(covers)
    places = {c.kept[:i] for c in covers for i in range(len(c.kept) + 1)}
    ends, weights = weighed(covers, {p: np.array(row(p)) for p in places}, shared)
    shares = np.exp(weights - weights.max())
    found: Counter[str] = Counter()
    for (cover, token), share in zip(ends, shares / shares.sum(), strict=True):
        if not share:
            continue
        now = cover.kept if token is None else (*cover.kept, token)
        over = text_of(now)[len(text) :]
        for rest, p in odds(now, more - len(over)).items():
            found[over + rest] += share * p
    assert dict(found) == pytest.approx(right, abs=1e-12)


def vector(says: dict[tuple[int, ...], dict[str, float]]) -> float:
    """P(next is b | the text "a") of a model with tokens a, b and ab."""
    pieces = [b"a", b"b", b"ab"]
    healing = Healing(lambda t: {"": (), "a": (0,), "ab": (2,)}[t], pieces)
    rows = {
        ids: np.log(np.array([p.get(t.decode(), 0) for t in pieces]) + 1e-300)
        for ids, p in says.items()
    }
    ends, weights = weighed(healing.covers("a"), rows, 0)
    shares = np.exp(weights) / np.exp(weights).sum()
    behind = [says[(0,)].get("b", 0.0) if token is None else 1.0 for _, token in ends]
    return float(shares @ behind)


def test_published_vectors() -> None:
    first = {"a": 0.5, "ab": 0.3, "b": 0.2}
    assert vector({(): first, (0,): {"a": 1.0}}) == pytest.approx(0.3 / 0.8)
    assert vector({(): first, (0,): {"a": 0.9, "b": 0.1}}) == pytest.approx(0.4375)
    always = Healing(lambda t: {"": (), "a": (0,), "aa": (1,)}[t], [b"a", b"aa"])
    rows = {(): np.array([-np.inf, 0.0]), (0,): np.array([0.0, -np.inf])}
    ends, weights = weighed(always.covers("a"), rows, 0)
    assert [(token, w) for (_, token), w in zip(ends, weights, strict=True)] == [
        (None, -np.inf),  # naive: it can only say "a" behind the token a
        (1, 0.0),
    ]


def test_covers() -> None:
    healing = Healing(encode, PIECES)
    assert encode("abc") == (IDS["a"], IDS["bc"])
    assert encode("cab") == (IDS["c"], IDS["ab"])
    assert encode("cabc") == (IDS["cabc"],)
    own = Cover(encode("ab"))
    assert healing.covers("ab") == (own, Cover((IDS["a"],), "b", (IDS["bc"],)))
    assert healing.covers("cab") == (Cover(encode("cab")), Cover((), "cab", (IDS["cabc"],)))
    assert healing.covers("bc") == (Cover((IDS["bc"],)),)
    assert Healing(encode, [b"a", b"b", b"c"]).covers("abc") == (Cover(encode("abc")),)
    half = "é".encode()
    odd = Healing(lambda t: tuple(range(len(t))), [b"x", b"x" + half[:1], half])
    assert odd.covers("x") == (Cover((0,)),)  # a token that ends inside a character is left out


def test_of_a_long_text_only_its_end_is_looked_at() -> None:
    nano = Nano()
    asked: list[str] = []

    def listening(text: str) -> tuple[int, ...]:
        asked.append(text)
        return nano.text.encode(text)

    long = "Ann has 3 apples. " * 200 + "The answ"
    covers = Healing(listening, nano.text.pieces).covers(long)
    own = nano.text.encode(long)
    assert covers[0] == Cover(own)
    assert [c.rest for c in covers[1:]] == [" answ"]
    assert covers[1].kept == own[: len(covers[1].kept)]
    assert sum(len(text) > 100 for text in asked) == 1
    assert shared_by(covers) == len(covers[1].kept) == len(own) - len(nano.text.encode(" answ"))
    nano.close()


def exact(text: str) -> dict[tuple[int, ...], float]:
    """How likely each first token is, () for none."""
    covers = Healing(encode, PIECES).covers(text)
    places = {c.kept[:i] for c in covers for i in range(len(c.kept) + 1)}
    ends, weights = weighed(covers, {p: np.array(row(p)) for p in places}, 0)
    shares = np.exp(weights) / np.exp(weights).sum()
    tokens = (() if token is None else (token,) for _, token in ends)
    return dict(zip(tokens, shares, strict=True))


OPEN = next(t for t in TEXTS if len(exact(t)) > 1 and 0.2 < exact(t)[()] < 0.8)


def first(params: Sampling, seed: int = 0) -> Sample:
    async def look(ids: list[int]) -> Look:
        return Look(np.array(row(tuple(ids))), len(ids) + 1, 1)

    return asyncio.run(Healing(encode, PIECES).first(OPEN, (), look, params, seed))


def test_a_first_token_is_drawn_and_what_was_looked_at_is_counted() -> None:
    shares, n = exact(OPEN), 2000
    drawn = Counter(first(Sampling(max_tokens=9), seed).token_ids for seed in range(n))
    for token, p in shares.items():
        assert abs(drawn[token] / n - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-9
    one = next(s for i in range(99) if (s := first(Sampling(9, confidence_k=2), i)).token_ids)
    assert one.info is not None
    assert one.token_ids is not None
    assert one.info["heals"] + one.text == text_of(one.token_ids)
    assert OPEN.endswith(one.info["heals"])
    assert (one.generated_tokens, one.finish) == (1, "length")
    kept = encode(OPEN.removesuffix(one.info["heals"]))
    assert one.logprobs == pytest.approx([row(kept)[one.token_ids[0]]])
    assert one.confidence == pytest.approx([-np.mean(sorted(row(kept))[-2:])])
    none = next(s for i in range(99) if not (s := first(Sampling(9), i)).token_ids)
    assert (none.text, none.generated_tokens, none.info) == ("", 0, None)
    assert one.prompt_tokens == none.prompt_tokens > one.cached_tokens > 0
    likeliest = first(Sampling(max_tokens=9, temperature=0))
    assert likeliest.token_ids == max(shares, key=lambda token: shares[token])


def test_chances_are_what_a_call_draws_from() -> None:
    logprobs = np.log(np.array([0.5, 0.3, 0.15, 0.05]))

    def shares(**params: Any) -> FloatArray:
        return np.exp(chances(logprobs, Sampling(max_tokens=1, **params)))

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05])
    assert shares(temperature=0.5) == pytest.approx(np.array([25, 9, 2.25, 0.25]) / 36.5)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0])
    assert shares(top_p=0.6) == pytest.approx([0.625, 0.375, 0, 0])
    assert shares(min_p=0.25) == pytest.approx(np.array([50, 30, 15, 0]) / 95)
    assert shares(temperature=0) == pytest.approx([0.5, 0.3, 0.15, 0.05])


# -------------------------------------------------------------------------- the embedded model

PROBLEM = Problem("p", "What is 12 * 7 + 5?")


def written(text: str, **params: Any) -> Prompt:
    tree = RolloutTree("p")
    return Prompt(PROBLEM, tree.add(tree.root, 0, Sample(text, finish="written")), 0)


def test_what_is_left_as_it_is() -> None:
    plain = Sampling(max_tokens=9, temperature=0.7, top_p=0.9, stop=("\n",), confidence_k=2)
    assert healable(written("1"), plain) == "1"
    assert healable(Prompt(PROBLEM, RolloutTree("p").root, 0), plain) == ""
    for name, value in (("top_logprobs", 3), ("regex", "x"), ("min_tokens", 2)):
        assert healable(written("1"), plain.with_changes({name: value})) == ""


async def from_every_cut(model: Nano, text: str) -> list[Search]:
    """The greedy solutions that go on from the first 1, 2, ... characters of a text."""
    greedy = Sampling(max_tokens=100, temperature=0)
    found = [Search(PROBLEM, model, sampling=greedy) for _ in text]

    async def go(s: Search, cut: int) -> None:
        node = await s.draw(s.write(s.root, text[:cut]), until="end")
        assert node is not None
        s.emit(node)

    async with asyncio.TaskGroup() as group:
        for i, s in enumerate(found, start=1):
            group.create_task(go(s, i))
    return found


def test_wherever_a_text_is_cut_nano_goes_on_the_same() -> None:
    async def work() -> tuple[str, list[list[Search]], list[str]]:
        healing, plain = Nano(heal=True), Nano()
        whole = await plain.generate(
            Prompt(PROBLEM, RolloutTree("p").root, 0),
            Sampling(max_tokens=100, temperature=0),
            seed=0,
            meter=lambda _: None,
        )
        runs = [await from_every_cut(model, whole.text) for model in (healing, plain)]
        told = []
        for s in runs[0]:
            (node,) = s.root.children[0].children
            ids = tokens_of(Prompt(PROBLEM, node, 0).pieces, healing.text.encode, frozenset())
            told.append(healing.text.decode(ids))
        await healing.aclose()
        await plain.aclose()
        return whole.text, runs, told

    text, (healed, naive), told = asyncio.run(work())
    assert [s.root.children[0].children[0].text for s in healed] == [text] * len(text)
    assert sum(s.root.children[0].children[0].text == text for s in naive) < len(text)
    assert told == [text] * len(text)  # the tokens that whoever goes on from there is given
    over = 0
    for s in healed:
        (node,) = s.root.children[0].children
        sample = node.sample
        assert sample.logprobs is not None
        assert sample.generated_tokens == len(sample.token_ids or ()) == len(sample.logprobs)
        assert s.usage.generated_tokens == sample.generated_tokens
        over += "heals" in (sample.info or {})
        assert RolloutTree.from_jsonl(s.tree.to_jsonl()).to_jsonl() == s.tree.to_jsonl()
    assert over


def test_the_least_limits_and_stops_inside_the_first_token() -> None:
    async def work() -> list[Sample]:
        nano = Nano(heal=True)
        calls = [
            Sampling(max_tokens=1, temperature=0),
            Sampling(max_tokens=9, temperature=0, stop=("er",)),
        ]
        metered: list[int] = []
        found = [
            await nano.generate(written("The answ"), p, seed=0, meter=metered.append) for p in calls
        ]
        assert sum(metered) == 2
        await nano.aclose()
        return found

    one, stopped = asyncio.run(work())
    assert (one.text, one.finish, one.generated_tokens) == ("er", "length", 1)
    assert (stopped.text, stopped.finish, stopped.generated_tokens) == ("er", "stop", 1)
    assert one.info == {"heals": " answ"}
