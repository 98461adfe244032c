"""Replay against the searchers it stands for, and against independent counts of real recordings."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evals.replay import strategies
from evals.replay.evaluate import (
    choose,
    default_labels,
    evaluate,
    missing,
    permutations,
    report,
    supported,
)
from evals.replay.grades import Grades
from evals.replay.samples import Drawn, Recording, Stored, confidence_of
from evals.replay.show import main, table
from evals.replay.sources import fallback_of, load
from evals.replay.strategies import STRATEGIES
from evals.statistics.metrics import majority_at_k
from reasoning.aggregators import Candidate, rpc
from reasoning.answers import Answer
from reasoning.backends.recorded import Recorded
from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.runs.names import known
from reasoning.runs.recipe import parse
from reasoning.runs.run import run
from reasoning.session import solve_async
from reasoning.tree import RolloutTree, Sample
from verifiers.recorded_scores import recorded_scores

ANSWERS = ("a", "b", "c", None)


def stored(samples: Sequence[Mapping[str, Any]], name: str = "p") -> Stored:
    """A problem whose samples say `key`; answer a is right."""
    number = {key: i for i, key in enumerate(dict.fromkeys(s["key"] for s in samples if s["key"]))}
    return Stored(
        name,
        [
            Drawn(
                -1 if s["key"] is None else number[s["key"]],
                s["key"] == "a",
                s.get("finish", "stop") != "length",
                s.get("tokens", 10),
                s.get("steps", ()),
                s.get("logprob"),
                s.get("confidence"),
            )
            for s in samples
        ],
    )


def outcome(label: str, samples: Sequence[Mapping[str, Any]], n: int) -> tuple[str | None, float]:
    """The answer and the tokens of one strategy on samples in the order given."""
    problem = stored(samples)
    ordered = problem.ordered(np.arange(len(samples))[None])
    found = choose([label])[0](ordered, [n])[0]
    place = int(found.chosen[0])
    return (None if place < 0 else samples[place]["key"]), float(found.tokens[0])


SAMPLE = st.fixed_dictionaries(
    {
        "logprob": st.sampled_from([-0.25, -0.5, -1.0, -2.0, None]),
        "sure": st.sampled_from([1.0, 1.5, 2.0, 4.0, None]),
        "key": st.sampled_from(ANSWERS),
        "tokens": st.integers(1, 6),
        "finish": st.sampled_from(["stop", "stop", "length"]),
        "steps": st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=3),
    }
)

LIVE: dict[str, dict[str, Any]] = {
    "self_consistency": {"searcher": "self_consistency"},
    "best_of_n": {"searcher": "best_of_n"},
    "best_of_n-reduction=min": {"searcher": "best_of_n", "reduction": "min"},
    "best_of_n-reduction=prod": {"searcher": "best_of_n", "reduction": "prod"},
    "weighted_majority-reduction=mean": {
        "searcher": "best_of_n",
        "vote": "weighted_majority",
        "reduction": "mean",
    },
    "weighted_majority": {"searcher": "best_of_n", "vote": "weighted_majority"},
    "first_finish": {"searcher": "first_finish"},
    "short_m_at_k-m=2": {"searcher": "short_m_at_k", "m": 2},
    "adaptive_consistency-confidence=0.85": {
        "searcher": "adaptive_consistency",
        "confidence": 0.85,
    },
    "adaptive_consistency-confidence=0.8-window=2": {
        "searcher": "adaptive_consistency",
        "confidence": 0.8,
        "window": 2,
    },
    "esc-window=2": {"searcher": "esc", "window": 2},
    "best_of_majority-alpha=0.4": {
        "searcher": "best_of_n",
        "vote": {"name": "best_of_majority", "alpha": 0.4},
    },
    "long_m_at_k-m=2": {"searcher": "self_consistency", "vote": {"name": "long_m_at_k", "m": 2}},
    "perplexity": {"searcher": "self_consistency", "vote": "perplexity"},
    "cisc-temperature=0.3": {
        "searcher": "self_consistency",
        "vote": {"name": "cisc", "temperature": 0.3},
    },
    "rpc": {"searcher": "self_consistency", "vote": "rpc"},
    "deepconf-keep=0.5": {
        "searcher": "self_consistency",
        "vote": {"name": "deepconf_filter", "keep": 0.5},
    },
    "first": {"searcher": "self_consistency", "vote": "first"},
}


class Sure(Recorded):
    """Recorded samples whose tokens all have the log-probability and confidence of their row."""

    async def generate(self, prompt: Prompt, params: Sampling, **rest: Any) -> Sample:
        sample = await super().generate(prompt, params, **rest)
        row, n = self.samples["p"][prompt.slot], sample.generated_tokens

        def each(value: float | None) -> Any:
            return None if value is None else np.full(n, value, np.float32)

        return replace(sample, logprobs=each(row["logprob"]), confidence=each(row["sure"]))


async def live(label: str, samples: Sequence[Mapping[str, Any]], n: int) -> tuple[Any, ...]:
    """The same by the searcher itself over the recorded generator."""
    setting = dict(LIVE[label])
    vote_name, reduction = setting.pop("vote", None), setting.pop("reduction", None)
    verifier = recorded_scores()
    verifier.reduction = reduction or "last"
    texts = [
        {
            "text": f"\\boxed{{{s['key']}}}" if s["key"] else "?",
            "n_tokens": s["tokens"],
            "finish_reason": s["finish"],
            "scores": s["steps"],
            "logprob": s["logprob"],
            "sure": s["sure"],
        }
        for s in samples
    ]
    result = await solve_async(
        Problem("p", "?"),
        generator=Sure({"p": texts}, "here", 1.0),
        verifier=verifier,
        aggregator=vote_name,
        sampling={"confidence_k": 2},
        **{"k" if setting["searcher"] == "short_m_at_k" else "n": n},
        **setting,
    )
    usage = result.usage
    return result.answer, usage.generated_tokens, usage.seconds, usage.calls


@pytest.mark.parametrize("label", LIVE)
@hypothesis_settings(max_examples=15)
@given(samples=st.lists(SAMPLE, min_size=2, max_size=7), data=st.data())
def test_a_replay_is_what_the_searcher_does(
    label: str, samples: list[dict[str, Any]], data: st.DataObject
) -> None:
    n = data.draw(st.integers(2, len(samples)))
    answer, tokens, seconds, calls = asyncio.run(live(label, samples, n))
    measures = ("mean", "tail", "bottom", "least")
    problem = stored(
        [
            {
                **s,
                "steps": tuple(s["steps"]),
                "confidence": None if s["sure"] is None else dict.fromkeys(measures, s["sure"]),
            }
            for s in samples
        ]
    )
    found = choose([label])[0](problem.ordered(np.arange(len(samples))[None]), [n])[0]
    place = int(found.chosen[0])
    assert (None if place < 0 else samples[place]["key"]) == answer
    assert found.tokens[0] == tokens
    assert found.serial[0] == seconds, "one token a second"
    assert found.samples[0] == calls


def test_orders_do_not_mix() -> None:
    """Many orders at once give what each gives alone."""
    rng = np.random.default_rng(0)
    samples = [
        {
            "key": ANSWERS[rng.integers(4)],
            "tokens": int(rng.integers(1, 9)),
            "steps": (float(rng.random()),),
            "logprob": -float(rng.random()),
            "confidence": {m: float(rng.random()) for m in ("mean", "tail", "bottom", "least")},
        }
        for _ in range(12)
    ]
    problem = stored(samples)
    orders = permutations(problem, 6, seed=1)
    for strategy in choose(default_labels(Recording("r", [problem]))):
        budgets = strategy.budgets([1, 2, 5, 12])
        together = strategy(problem.ordered(orders), budgets)
        for i in range(len(orders)):
            alone = strategy(problem.ordered(orders[i : i + 1]), budgets)
            for a, b in zip(together, alone, strict=True):
                assert [float(x[i]) for x in a] == [float(x[0]) for x in b], strategy.label


# ------------------------------------------------------------------------- offline-only rules


def test_best_of_majority() -> None:
    samples = [
        {"key": key, "steps": (score,)}
        for key, score in [("a", 0.4), ("b", 0.9), ("a", 0.3), (None, 1)]
    ]
    assert (
        outcome("best_of_majority-alpha=0", samples, 4)[0]
        == "b"
        == outcome("best_of_n", samples, 4)[0]
    )
    assert outcome("best_of_majority-alpha=0.5", samples, 4)[0] == "a"
    assert outcome("best_of_majority-alpha=0.6", samples, 4)[0] == "a", "the majority, if none is"
    nothing = [{"key": None, "steps": (0.5,)}] * 2
    assert outcome("best_of_majority", nothing, 2) == (None, 20)


def test_long_m_at_k_votes_among_the_longest_that_ended() -> None:
    samples: list[dict[str, Any]] = [
        {"key": k, "tokens": t}
        for k, t in [("a", 9), ("b", 3), ("b", 4), ("b", 5), ("c", 8), (None, 99)]
    ]
    assert outcome("long_m_at_k-m=1", samples, 6) == ("a", 128)
    assert outcome("long_m_at_k-m=2", samples, 6)[0] == "a", "the longest wins a tie"
    assert outcome("long_m_at_k-m=5", samples, 6)[0] == "b"
    samples[0]["finish"] = "length"
    assert outcome("long_m_at_k-m=1", samples, 6)[0] == "c", "who was cut off has not ended"
    assert outcome("long_m_at_k-m=1", [{"key": None}], 1)[0] is None


def test_cisc_ranges_from_the_likeliest_to_self_consistency() -> None:
    samples = [
        {"key": k, "logprob": p} for k, p in [("a", -0.1), ("b", -0.5), ("b", -0.6), (None, 0)]
    ]
    assert outcome("cisc-temperature=1000000", samples, 4)[0] == "b"
    assert (
        outcome("cisc-temperature=0.001", samples, 4)[0]
        == "a"
        == outcome("perplexity", samples, 4)[0]
    )
    weights = np.exp(np.exp([-0.1, -0.5, -0.6]) / 0.5)
    expected = "a" if weights[0] > weights[1] + weights[2] else "b"
    assert outcome("cisc-temperature=0.5", samples, 4)[0] == expected


def test_rpc_prunes_the_unlikely_and_counts_a_text_once() -> None:
    high, low = np.log([0.90, 0.91, 0.92, 0.93]), np.log([0.30 + i / 100 for i in range(16)])
    likely = [{"key": "a", "logprob": p} for p in high]
    many = [{"key": "b", "logprob": p} for p in low]
    assert outcome("self_consistency", many + likely, 20)[0] == "b"
    assert outcome("rpc", many + likely, 20)[0] == "a", "sixteen at .3 are pruned"
    assert outcome("rpc", many, 16)[0] == "b", "never all of them"
    assert outcome("rpc", [{"key": "a"}, {"key": "b", "logprob": -1.0}], 2)[0] == "b"
    again = [{"key": "a", "logprob": -0.5, "tokens": 9}] * 3 + [{"key": "b", "logprob": -0.2}]
    assert outcome("cisc-temperature=9", again, 4)[0] == "a"
    assert outcome("rpc", again, 4)[0] == "b", "three copies are one text"


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=40))
def test_rpc_prunes_below_the_mean_alone(p: list[float]) -> None:
    left_out = rpc.pruned(np.array(p))
    assert set(left_out) <= set(p)
    assert (left_out < np.mean(p)).all()


def test_the_mixture_of_rpc_is_found_again() -> None:
    rng = np.random.default_rng(0)
    p = np.r_[0.4 * rng.weibull(6, 300), 0.8 * rng.weibull(30, 700)]
    fit = rpc.mixture(p)
    assert fit is not None
    (_, scale), (_, other) = sorted([fit[1:3], fit[3:5]], key=lambda part: part[1])
    assert (scale, other) == (pytest.approx(0.4, rel=0.05), pytest.approx(0.8, rel=0.05))
    x = np.array([0.4, 2, 0.5, 8, 0.9])
    gap = scipy.optimize.check_grad(lambda x: rpc._loss(x, p)[0], lambda x: rpc._loss(x, p)[1], x)
    assert gap < 1e-5


def test_deepconf_keeps_the_confident() -> None:
    samples = [
        {"key": k, "confidence": {"mean": c, "tail": c, "bottom": c, "least": -c}}
        for k, c in [("a", 9.0), ("b", 3.0), ("b", 4.0), ("b", 5.0), (None, 99.0)]
    ]
    assert outcome("deepconf", samples, 5)[0] == "a", "the top tenth of those with an answer"
    assert outcome("deepconf-keep=1", samples, 5)[0] == "b", "3 + 4 + 5 > 9"
    assert outcome("deepconf-measure=least", samples, 5)[0] == "b"


def test_confidence_of_a_trace() -> None:
    assert confidence_of([1, 2, 3], window=5) == {"mean": 2, "tail": 2, "bottom": 2, "least": 2}
    found = confidence_of([4, 0, 2, 6], window=2)
    assert found == {"mean": 3, "tail": 4, "bottom": 1, "least": 1}
    assert confidence_of(list(range(41)), window=2)["bottom"] == pytest.approx(
        np.mean([0.5, 1.5, 2.5, 3.5])
    )
    with pytest.raises(ValueError, match="needed"):
        confidence_of([])


def test_every_strategy_is_held_to_the_live_one() -> None:
    assert {choose([label])[0].name for label in LIVE} >= set(STRATEGIES) - {"sample"}


def test_aggregators_of_others_are_replayed() -> None:
    samples = [{"key": key} for key in "abc"]
    assert outcome(f"{__name__}:latest", samples, 3) == ("c", 30)
    with pytest.raises(RecipeError, match="asks models"):
        choose([f"{__name__}:asking"])


def latest(candidates: Sequence[Candidate]) -> Candidate:
    """The last one."""
    return max(candidates, key=lambda c: c.path)


async def asking(candidates: Sequence[Candidate], search: object) -> None:
    """Asks."""


# ------------------------------------------------------------------------------------- orders


def test_the_mean_over_orders_is_the_exact_majority() -> None:
    keys = ["a", "b", "a", "c", None, "b", "a", "d"]
    recording = Recording("r", [stored([{"key": key} for key in keys])])
    found = evaluate(recording, choose(["self_consistency"]), orders=3_000)[0]
    for j, n in enumerate(found.budgets):
        exact = majority_at_k(keys, [key == "a" for key in keys], n)
        error = max(1e-9, np.sqrt(exact * (1 - exact) / 3_000))
        assert abs(found.values[0, j] - exact) < 5 * error


def test_processes_do_not_change_what_comes_of_it(tmp_path: Path) -> None:
    load(make_run(tmp_path, [{"searcher": "best_of_n", "n": 6}]))
    found = load(tmp_path / "run")
    chosen = choose(["self_consistency", "best_of_n-reduction=min", "esc-window=2"])
    alone, together = (evaluate(found, chosen, orders=3, processes=k) for k in (1, 2))
    for a, b in zip(alone, together, strict=True):
        for name in ("values", "stored", "samples", "tokens", "serial", "by_order"):
            assert np.array_equal(getattr(a, name), getattr(b, name))


def test_a_process_that_fails_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "true")
    recording = Recording("r", [stored([{"key": key} for key in "baa"], name) for name in "pqr"])
    found = evaluate(recording, choose(["self_consistency"]), orders=0, processes=2)[0]
    assert found.values.tolist() == [[0, 0, 1]] * 3


LIKELY = st.tuples(
    st.sampled_from([*"abcd", None]),
    st.one_of(st.none(), st.floats(-2, -0.01), st.sampled_from([-0.25, -0.5])),
    st.sampled_from([1.0, 1.0, 0.5, 0.0]),
)


@given(st.lists(LIKELY, max_size=12))
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_vote_that_needs_no_fit_is_what_it_would_be(drawn: list[Any]) -> None:
    candidates = [
        Candidate(
            (i,),
            None if key is None else Answer(key, key),
            weight=weight,
            facts={"logprob": math.nan if logprob is None else logprob},
        )
        for i, (key, logprob, weight) in enumerate(drawn)
    ]
    quick = rpc.rpc(candidates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rpc, "_settled", lambda *_: np.array([-1]))
        whole = rpc.rpc(candidates)
    assert (quick is None) == (whole is None)
    if quick is not None and whole is not None:
        assert quick.candidate is whole.candidate
        assert quick.confidence == whole.confidence


@given(st.lists(SAMPLE, min_size=1, max_size=8), st.sampled_from(sorted(LIVE)))
@hypothesis_settings(max_examples=60, deadline=None)
def test_many_rows_at_once_choose_as_the_aggregators_do_one_by_one(
    samples: list[dict[str, Any]], label: str
) -> None:
    problem = stored(
        [{**s, "confidence": s["sure"] and {"tail": s["sure"]}, "finish": "stop"} for s in samples]
    )
    budgets = range(1, len(samples) + 1)
    strategy = choose([label])[0]
    orders = problem.ordered(permutations(problem, 3, 0))("last")
    emitted = strategy.draw(orders, strategy.budgets(budgets) or [len(samples)]).emitted
    at_once = strategies.picked(emitted, strategy.choose)
    assert at_once.tolist() == strategies.one_by_one(emitted, strategy.choose).tolist()


def test_orders_are_seeded_by_problem() -> None:
    samples = [{"key": key} for key in "abcd"]
    one, other = stored(samples, "p"), stored(samples, "q")
    assert np.array_equal(permutations(one, 4, 0), permutations(one, 4, 0))
    assert np.array_equal(permutations(one, 4, 0)[:3], permutations(one, 2, 0))
    assert permutations(one, 0, 0).tolist() == [[0, 1, 2, 3]]
    assert not np.array_equal(permutations(one, 9, 0), permutations(other, 9, 0))
    assert not np.array_equal(permutations(one, 9, 0), permutations(one, 9, 1))


def test_without_orders_only_the_stored_one_counts() -> None:
    recording = Recording("r", [stored([{"key": key} for key in "baa"])])
    found = evaluate(recording, choose(["self_consistency"]), orders=0)[0]
    assert found.values.tolist() == found.stored.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("labels", "budgets", "match"),
    [
        (["self_consistancy"], None, "did you mean 'self_consistency'"),
        (["esc-windw=3"], None, "unknown parameter of esc"),
        (["esc-window=1"], None, "does not fit"),
        ([], None, "name a strategy"),
        (["sample"], [0], "budgets must be from 1 to 3"),
        (["sample"], [4], "budgets must be from 1 to 3"),
        (["sample"], [2, 3], "no strategy has the budget 2, 3: sample has 1"),
        (["esc-window=2"], [1], "the budget 1: esc-window=2 has 2 to 3"),
    ],
)
def test_mistakes(labels: list[str], budgets: list[int] | None, match: str) -> None:
    recording = Recording("r", [stored([{"key": key} for key in "baa"])])
    with pytest.raises(RecipeError, match=match):
        evaluate(recording, choose(labels), budgets=budgets)


def test_what_samples_do_not_support_is_said() -> None:
    samples = [{"key": "a", "steps": (0.5,) if i < 3 else (), "tokens": 5} for i in range(8)]
    recording = Recording("r", [stored(samples)])
    recording.problems[0].samples[0].guessed = True
    able, reasons = supported(choose(default_labels(recording)), recording)
    assert [s.label for s in able] == ["sample", "self_consistency", "adaptive_consistency", "esc"]
    assert "3 of 8 samples" in reasons["best_of_n"]
    assert "7 of 8 samples" in reasons["first_finish"]
    assert set(missing(recording)) == {"tokens", "score", "logprob", "confidence"}
    logits = Recording("r", [stored([{"key": "a", "steps": (-2.0,)}] * 2)])
    _, reasons = supported(choose(["weighted_majority", "best_of_n", "esc"]), logits)
    assert set(reasons) == {"weighted_majority", "esc"}
    assert "--logit" in reasons["weighted_majority"]
    assert "more samples" in reasons["esc"]


# ------------------------------------------------------------------------------------- sources


def write(path: Path, rows: Sequence[Any]) -> Path:
    lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines, encoding="utf-8")
    return path


def row(name: str, texts: Sequence[str], **more: Any) -> dict[str, Any]:
    samples = [{"text": text, "n_tokens": 5} for text in texts]
    return {"id": name, "question": "?", "answer": "7", "samples": samples, **more}


def test_a_file_with_damage(tmp_path: Path) -> None:
    rows = [
        row("one", ["\\boxed{7}", "\\boxed{7.0}", "so 8", ""], dataset="gsm8k"),
        "{torn",
        {"id": "no samples"},
        {"id": "odd", "answer": "1", "samples": [{"text": "x", "n_tokens": "many"}]},
        row("two", ["\\boxed{8}"] * 4),
        row("short", ["\\boxed{8}"]),
    ]
    found = load(write(tmp_path / "samples.jsonl", rows))
    assert [p.id for p in found.problems] == ["one", "two"]
    assert [(s.key, s.correct) for s in found.problems[0].samples] == [
        (0, True),
        (0, True),
        (1, False),
        (-1, False),
    ]
    assert found.notes[0] == "3 damaged lines are left out"
    assert "1 of 3 problems have less than half" in found.notes[1]


def test_a_truncated_archive_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write(
        tmp_path / "whole.jsonl.gz", [row(str(i), [f"\\boxed{{{i * 7919}}}"]) for i in range(300)]
    )
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(whole.read_bytes()[:-200])
    found = load(torn)
    assert 0 < len(found.problems) < 300
    assert "damaged" in found.notes[0]


def test_where_and_labels(tmp_path: Path) -> None:
    rows = [row("one", ["\\boxed{7}", "\\boxed{8}"])]
    rows[0]["samples"][0]["run"], rows[0]["samples"][1]["run"] = "x", "y"
    path = write(tmp_path / "samples.jsonl", rows)
    assert len(load(path, where={"run": "y"}).problems[0].samples) == 1
    assert "2 runs are pooled" in load(path).notes[0]
    rows[0]["samples"][0]["run"] = "y"
    rows[0]["samples"][0]["decoding"] = "greedy"
    note = load(write(tmp_path / "mixed.jsonl", rows)).notes[0]
    assert "differ in decoding (None, greedy); --where decoding=VALUE" in note
    with pytest.raises(RecipeError, match="no recorded sample with"):
        load(path, where={"run": "z"})
    game = row("g", ["Answer: 1 + 2", "Answer: 1 + 2", "Answer: None"], dataset="game24")
    for sample, label in zip(game["samples"], [True, True, False], strict=True):
        sample["correct"] = label
    found = load(write(tmp_path / "game.jsonl", [game]))
    assert [(s.key, s.correct) for s in found.problems[0].samples] == [
        (0, True),
        (0, True),
        (-1, False),
    ]
    assert fallback_of("gsm8k_test")("that is 12 apples") == "12"


def test_samples_as_long_as_the_limit_were_cut_off(tmp_path: Path) -> None:
    rows = [row("one", ["so it is 7", "so it is 7", "it is 7"], dataset="gsm8k")]
    for sample, length in zip(rows[0]["samples"], [64, 64, 5], strict=True):
        sample["n_tokens"] = length
    path = write(tmp_path / "samples.jsonl", rows)
    whole, cut = load(path), load(path, max_tokens=64)
    assert "2 samples have 64 tokens" in whole.notes[0]
    assert [s.finished for s in whole.problems[0].samples] == [True, True, True]
    assert [s.finished for s in cut.problems[0].samples] == [False, False, True]
    assert [s.key for s in cut.problems[0].samples] == [-1, -1, 0]
    assert not cut.notes


def test_grades_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "samples.jsonl", [row("one", ["\\boxed{7}", "\\boxed{8}"])])
    kept = tmp_path / "out" / "grades.jsonl"
    first = load(path, grades=Grades(kept))
    kept.write_text(kept.read_text().replace('"8": false', '"8": true') + "damaged\n")
    again = load(path, grades=Grades(kept))
    assert [s.correct for s in first.problems[0].samples] == [True, False]
    assert [s.correct for s in again.problems[0].samples] == [True, True], "read back, not regraded"


def make_run(folder: Path, strategies: Sequence[Mapping[str, Any]], n: int = 6) -> Path:
    """A run over recorded samples of two problems."""
    rows = []
    for name in ("p", "q"):
        texts = [f"try {i}: \\boxed{{{7 if (i + len(rows)) % 2 else 8}}}" for i in range(n)]
        rows.append(row(name, texts))
        for i, sample in enumerate(rows[-1]["samples"]):
            sample |= {"n_tokens": 5 + i, "scores": [0.5, i / n]}
    samples = write(folder / "samples.jsonl", rows)
    recipe = parse(
        {
            "task": {"name": "jsonl", "path": str(samples)},
            "generator": {"name": "recorded", "path": str(samples)},
            "verifier": "recorded_scores",
            "strategies": list(strategies),
        }
    )
    asyncio.run(run(recipe, folder / "run"))
    return folder / "run"


def test_a_run_is_replayed_as_its_file(tmp_path: Path) -> None:
    folder = make_run(
        tmp_path, [{"searcher": "self_consistency", "n": 4}, {"searcher": "best_of_n", "n": 6}]
    )
    ours, theirs = load(folder), load(tmp_path / "samples.jsonl")
    assert "best_of_n-n=6" in ours.name
    able = choose(default_labels(theirs))[:10]
    for a, b in zip(evaluate(ours, able), evaluate(theirs, able), strict=True):
        assert a.values.tolist() == b.values.tolist()
        assert a.tokens.tolist() == b.tokens.tolist()
    assert load(folder, strategy="self_consistency-n=4").n == 4
    with pytest.raises(RecipeError, match="it has those of self_consistency-n=4, best_of_n-n=6"):
        load(folder, strategy="other")


def test_a_damaged_run_is_replayed_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = make_run(tmp_path, [{"searcher": "self_consistency", "n": 6}])
    with (folder / "results.jsonl").open("a") as results:
        results.write('{"strategy": "self_consistency-n=6", "prob\n[1]\n"text"\n')
    (folder / "trees" / "self_consistency-n=6" / "p.jsonl").write_text('{"problem": "p", "se')
    found = load(folder)
    assert [p.id for p in found.problems] == ["q"]
    assert found.notes[1:] == [
        "1 damaged lines are left out",
        "1 problems have a tree that is missing or damaged, and are left out",
    ]
    (folder / "trees" / "self_consistency-n=6" / "q.jsonl").unlink()
    with pytest.raises(RecipeError, match=r"graded: the trees of p, q are missing .* continues it"):
        load(folder)
    (folder / "results.jsonl").write_text("")
    with pytest.raises(RecipeError, match=r"no result yet: .* the command that began the run"):
        load(folder)


def test_a_run_without_whole_solutions_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path, [{"searcher": "first_finish", "n": 4}])
    with pytest.raises(RecipeError, match="no independent whole solutions"):
        load(folder)
    with pytest.raises(RecipeError, match=r"a folder with run, samples\.jsonl, and these are read"):
        load(tmp_path)
    with pytest.raises(RecipeError, match="there is no"):
        load(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="of a file"):
        load(folder, where={"a": "b"})


def test_logprobs_and_confidences_of_trees(tmp_path: Path) -> None:
    folder = make_run(tmp_path, [{"searcher": "self_consistency", "n": 6}])
    for path in (folder / "trees" / "self_consistency-n=6").iterdir():
        tree = RolloutTree.load(path)
        lines = [json.loads(line) for line in tree.to_jsonl().splitlines()]
        for i, line in enumerate(lines[1:]):
            line |= {"logprobs": [-0.1 * i, -0.3], "confidence": [1.0 + i, 2.0]}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = load(folder)
    assert found.problems[0].samples[1].logprob == pytest.approx(-0.2)
    assert found.problems[0].samples[1].confidence == confidence_of([2.0, 2.0])
    able, _ = supported(choose(default_labels(found)), found)
    assert {"perplexity", "cisc", "deepconf"} <= {s.name for s in able}


def test_scores_that_are_no_numbers_are_told_and_never_win(tmp_path: Path) -> None:
    scores = [[0.5, math.nan], [0.8, 0.9], [0.4, 0.3], [0.8, 0.8]]
    entry = row("p", [f"\\boxed{{{x}}}" for x in (7, 5, 6, 5)])
    entry["answer"] = "5"
    for sample, steps in zip(entry["samples"], scores, strict=True):
        sample["scores"] = steps
    found = main(
        write(tmp_path / "s.jsonl", [entry]),
        strategies=["best_of_n", "weighted_majority", "best_of_majority"],
        budgets=[4],
        orders=5,
        out=tmp_path / "out",
    )
    assert [r["accuracy"] for r in found["strategies"]] == [1.0] * 3
    assert "1 samples have a score that is no finite number" in found["notes"][-1]


def test_samples_without_scores_name_the_strategy_whose_samples_have_some(tmp_path: Path) -> None:
    vote, best = {"searcher": "self_consistency", "n": 6}, {"searcher": "best_of_n", "n": 4}
    folder = make_run(tmp_path, [vote, best])
    with pytest.raises(RecipeError, match="those of --samples-of best_of_n-n=4 do"):
        main(folder, strategies=["best_of_n"], out=tmp_path / "out")
    main(folder, strategies=["best_of_n"], samples_of="best_of_n-n=4", out=tmp_path / "out")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path, [{"searcher": "best_of_n", "n": 6}])
    out = tmp_path / "out"
    found = main(
        folder, strategies=["self_consistency", "esc-window=2", "deepconf"], orders=4, out=out
    )
    shown = capsys.readouterr().out
    assert "not replayed: deepconf" in shown
    assert "AUROC" in shown
    assert json.loads((out / "replay.json").read_text()) == json.loads(json.dumps(found))
    assert (out / "replay.png").stat().st_size > 10_000
    again = main(
        folder, strategies=["self_consistency", "esc-window=2", "deepconf"], orders=4, out=out
    )
    assert again == found
    assert [r["n"] for r in found["strategies"]] == [1, 2, 4, 6, 2, 4, 6]
    assert found["pass_at_k"][0]["value"] == 0.5
    assert any(r["pareto"] for r in found["strategies"])
    assert {e["strategy"] for e in found["equal_cost"]} == {"esc-window=2"}
    with pytest.raises(RecipeError, match="FIELD=VALUE"):
        main(folder, where=["run"])


# -------------------------------------------------------------------------------- real samples


def shown(path: Path, **options: Any) -> dict[str, Any]:
    recording = load(path, **options)
    able, reasons = supported(choose(default_labels(recording)), recording)
    found = report(recording, evaluate(recording, able, orders=5), reasons, orders=5, seed=0)
    assert table(found).row_count == len(found["strategies"])
    return found


def row_of(found: Mapping[str, Any], strategy: str, n: int) -> dict[str, Any]:
    rows = found["strategies"]
    return next(r for r in rows if (r["strategy"], r["n"]) == (strategy, n))


def test_game_of_24(data: Path) -> None:
    """ToT's table (arXiv:2305.10601): chain of thought 4.0 %, self-consistency of 100 9.0 %."""
    found = shown(data / "rollouts" / "game24_gpt4_cot_n100.jsonl.gz")
    assert found["pass_at_k"][0]["value"] == pytest.approx(0.04, abs=0.005)
    assert found["pass_at_k"][-1]["value"] == pytest.approx(0.49, abs=0.005)
    assert row_of(found, "self_consistency", 100)["accuracy"] == pytest.approx(0.09, abs=0.01)
    assert "first_finish" in found["unsupported"]


def test_scores_that_rank_well(data: Path) -> None:
    """The last process score tells right from wrong: AUROC .975 by the notes on the file."""
    name = "math500_20q_qwen25_1p5b_instruct_n16_prm.jsonl.gz"
    found = shown(data / "rollouts" / name, where={"decoding": "sample"})
    assert found["verifier"]["last"]["auroc"]["value"] == pytest.approx(0.975, abs=0.01)
    plain = row_of(found, "self_consistency", 16)["accuracy"]
    assert row_of(found, "best_of_n", 16)["accuracy"] >= plain


def test_none_of_this_is_taken_for_a_task() -> None:
    """A task is a module of `evals` that defines a function of its own name."""
    ours = {"replay", "intervals", "paired", "curves", "equal_compute", "calibration", "compute"}
    assert not ours & set(known("task"))
