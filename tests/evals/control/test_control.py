"""Policies: kernels by vectors and limits, each form against what it must be, the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from evals.control.allocate import allocate, hull
from evals.control.fit import best_fixed, fit, outcome, policy_of, report, verdict
from evals.control.forms import FORMS, signals_for
from evals.control.presets import options_of
from evals.control.seen import Seen
from evals.control.sureness import logistic, sureness
from evals.control.walk import Walk, joined, sizes_of, stops, taken, walk
from evals.replay.evaluate import choose, evaluate, permutations, supported
from evals.replay.samples import Drawn, Recording, Stored
from evals.statistics.intervals import Interval
from reasoning.cli.app import app
from reasoning.errors import RecipeError
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample
from searchers.kernels.policy import Bound, Form, Policy, Steps, signals_of

BOUND = Bound(model="m", task="t", problems=40, samples=8)


def recording(problems: int = 40, n: int = 8, *, scores: bool = True) -> Recording:
    """Easy problems, on which samples agree, and others, where half of them are right."""
    rng = np.random.default_rng(0)

    def sample(easy: bool) -> Drawn:
        right = bool(rng.random() < (1.0 if easy else 0.5))
        key = 0 if right else int(rng.integers(1, 5))
        steps = (0.9 if right else 0.3,) if scores else ()
        return Drawn(key, right, True, float(rng.integers(50, 150)), steps)

    return Recording("r", [Stored(f"p{i}", [sample(i % 2 == 0) for _ in range(n)])
                           for i in range(problems)])  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> Walk:
    return walk(recording(), ["majority", "best"], orders=6)


# ---------------------------------------------------------------------------------- kernels


def test_the_next_token_goes_where_it_brings_most() -> None:
    values, costs = [[0.1, 0.5, 0.6], [0.2, 0.3, 0.9]], [[1, 2, 3], [1, 2, 3]]
    assert allocate(values, costs, 2).tolist() == [0, 0]
    assert allocate(values, costs, 3).tolist() == [1, 0]  # .4 a token; the other's hull brings .35
    assert allocate(values, costs, 5).tolist() == [1, 2]
    assert allocate(values, costs, np.inf).tolist() == [2, 2]
    assert hull(np.array([0.5, 0.4, 0.5]), np.array([1.0, 2.0, 3.0])) == [0]  # none is better
    with pytest.raises(ValueError, match="costs that rise"):
        allocate([[0.1, 0.2]], [[2, 2]], 5)


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=4), st.integers(0, 8))
def test_no_allocation_is_better_where_gains_fall(rows: list[tuple[int, ...]], more: int) -> None:
    values = np.array([[0, *np.cumsum(sorted(row, reverse=True))] for row in rows], dtype=float)
    costs = np.tile(np.arange(4.0), (len(rows), 1))
    level = allocate(values, costs, more)
    assert level.sum() <= more
    best = max(
        sum(values[i, k] for i, k in enumerate(each))
        for each in product(range(4), repeat=len(rows))
        if sum(each) <= more
    )
    assert values[np.arange(len(rows)), level].sum() == best


def test_logistic_finds_the_odds() -> None:
    x = np.repeat([0.0, 1.0], 1000)
    y = np.r_[np.arange(1000) < 300, np.arange(1000) < 800].astype(float)
    found = logistic({"agreement": x}, y)
    odds = np.log([0.3 / 0.7, 0.8 / 0.2])
    assert found({"agreement": np.array([0.0, 1.0])}) == pytest.approx(odds, abs=0.02)


def test_predicted_chances_are_those_counted() -> None:
    rng = np.random.default_rng(1)
    signal = rng.random((200, 4))
    right = (rng.random((200, 4)) < signal).astype(float)
    seen = {"agreement": signal, "samples": np.ones((200, 4))}
    found = sureness(seen, right, ["agreement"])
    assert found is not None
    rate, low, high = found({k: v.ravel() for k, v in seen.items()})
    assert np.all((low <= rate) & (rate <= high))
    assert np.abs(rate - signal.ravel()).mean() < 0.15
    assert sureness({k: v[:10] for k, v in seen.items()}, right[:10], ["agreement"]) is None


def test_no_gain_is_claimed_with_0_in_its_interval() -> None:
    assert verdict(Interval(0.02, -0.001, 0.04, "bootstrap")).startswith("no gain is shown")
    assert verdict(Interval(0.02, 0.001, 0.04, "bootstrap")).startswith("better by 0.020")
    assert verdict(Interval(-0.02, -0.04, -0.001, "bootstrap")).startswith("worse by 0.020")


# ------------------------------------------------------------------------------------ forms


@pytest.mark.parametrize("form", FORMS)
def test_limits_of_every_form(seen: Walk, form: Form) -> None:
    """Within the budget; all there is where that is dear to none; one sample where all are."""
    whole = float(seen.tokens[:, :, -1].mean())
    policy = fit(seen, form, whole / 2, {"score"}, BOUND)
    assert float(taken(seen.tokens, stops(seen, policy)).mean()) <= whole / 2
    make = FORMS[form](seen, seen.right["majority"], signals_for(set()))
    assert make(1e3).start <= 2
    single = float(seen.tokens[:, :, 0].mean())
    poor = fit(seen, form, single, {"score"}, BOUND)
    assert taken(seen.tokens, stops(seen, poor)).mean() == single
    rich = fit(seen, form, np.inf, {"score"}, BOUND)
    best = max(table[:, :, -1].mean() for table in seen.right.values())
    assert taken(seen.right[rich.chooser], stops(seen, rich)).mean() >= best - 0.03
    with pytest.raises(RecipeError, match=r"do not pay for one sample a problem, .*; set --tokens"):
        fit(seen, form, 10, {"score"}, BOUND)


def test_a_fixed_policy_is_that_number_of_samples(seen: Walk) -> None:
    budget = float(seen.tokens[:, :, 3].mean())
    policy = fit(seen, "fixed", budget, set(), BOUND, choosers=["majority"])
    found = outcome(seen, policy)
    place = seen.sizes.index(policy.start)
    assert np.array_equal(found.right, seen.right["majority"][:, :, place].mean(axis=1))
    told = report(seen, found, "majority")
    assert told["fixed"]["verdict"].startswith("no gain is shown")


def test_what_easy_problems_leave_goes_to_hard_ones(seen: Walk) -> None:
    """Of equal cost, and better than as many for all."""
    budget = float(seen.tokens[:, :, 3].mean())
    policy = fit(seen, "marginal", budget, set(), BOUND, choosers=["majority"])
    found = outcome(seen, policy)
    assert found.samples[::2].mean() < found.samples[1::2].mean() / 2
    told = report(seen, found, "majority")
    assert best_fixed(seen, np.inf) == "best"
    assert told["fixed"]["verdict"].startswith("better")
    assert told["oracle"]["accuracy"] >= told["accuracy"]["value"] - 0.02


def test_sizes_and_signals_of_a_walk(seen: Walk) -> None:
    assert sizes_of(1) == (1,)
    assert sizes_of(32)[:9] == (1, 2, 3, 4, 5, 6, 7, 8, 10)
    assert sizes_of(32)[-1] == 32
    assert seen.at(1)["agreement"].min() == 1
    assert seen.at(8)["agreement"][::2].min() == 1  # easy ones
    problem = recording().problems[1]
    place = permutations(problem, 6, 0)[1][:3]
    first = [problem.samples[i] for i in place]
    tokens = sum(d.tokens or 0 for d in first)
    assert seen.tokens[1, 0, 2] == tokens
    assert seen.at(3)["score"][1, 0] == pytest.approx(np.mean([d.steps[0] for d in first]))


# ---------------------------------------------------------------------------------- command


def lines_of(found: Recording) -> str:
    """As a file of samples with labels."""
    rows = [
        {
            "id": p.id,
            "dataset": "game24",
            "answer": "x",
            "model": "m",
            "samples": [
                {"text": f"the answer is {d.key}", "n_tokens": d.tokens, "correct": d.correct,
                 "scores": list(d.steps)}
                for d in p.samples
            ],
        }
        for p in found.problems
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_command_and_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy is fitted, told of, written, and does in a replay what was told."""
    monkeypatch.chdir(tmp_path)
    Path("s.jsonl").write_text(lines_of(recording()))
    call = ["fit", "s.jsonl", "--orders", "4", "--figure", "f.png", "--tokens", "250"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "on 40 problems not fitted to" in done.output
    assert Path("f.png").stat().st_size > 1000
    again = CliRunner().invoke(app, [*call, "--out", "again.json"])
    assert again.exit_code == 0
    assert Path("again.json").read_text() == Path("policy.json").read_text()
    label = "adaptive-policy=policy.json"
    (chosen,) = choose([label])
    (result,) = evaluate(recording(), [chosen], budgets=[8], orders=4)
    assert result.samples.mean() < 8
    assert result.values.mean() > 0.7
    told = CliRunner().invoke(app, ["replay", "s.jsonl", "--strategy", label, "--orders", "2"])
    assert told.exit_code == 0, told.output
    (replay,) = json.loads(Path("runs/replay-s/replay.json").read_text())["strategies"][:1]
    assert replay["params"]["policy"] == "policy.json"
    bare = recording(scores=False)
    needy = {"looks": [{"at": 1, "rule": {"kind": "steps", "signal": "best", "edges": [0.5],
                                          "samples": [4, 1]}}]}  # fmt: skip
    plain = json.loads(Path("policy.json").read_text())
    Path("needy.json").write_text(json.dumps({**plain, "start": 1, "sure": None, **needy}))
    able, why = supported(choose(["adaptive-policy=needy.json"]), bare)
    assert not able
    assert "scores of a verifier" in str(why)
    (one,) = evaluate(recording(), [chosen], budgets=[1], orders=4)
    assert (one.samples == 1).all()
    wrong = CliRunner().invoke(app, ["fit", "s.jsonl", "s.jsonl"])
    assert isinstance(wrong.exception, RecipeError)
    assert "are in two of" in str(wrong.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--form", "margin"], "form"),
        (["--chooser", "rpc"], "chooser"),
        (["--tokens", "3"], "3 tokens do not pay for one sample a problem"),
    ],
)
def test_mistakes(options: list[str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(lines_of(recording(8, 4)))
    done = CliRunner().invoke(app, ["fit", str(file), "--orders", "2", *options])
    assert isinstance(done.exception, RecipeError)
    assert message in str(done.exception)


def test_a_quarter_of_two_samples_is_none(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(lines_of(recording(8, 2)))
    done = CliRunner().invoke(app, ["fit", str(file), "--orders", "2"])
    assert "a problem, " in str(done.exception)
    assert "; set --tokens to more (it is a quarter of what" in str(done.exception)


def test_samples_that_are_given_up_cost_less_and_say_nothing() -> None:
    """Half of the problems have samples of which the first step tells."""

    def sample(right: bool) -> Drawn:
        return Drawn(0 if right else 1, right, True, 100.0, (0.9 if right else 0.01, 0.9, 0.8),
                     ends=(20.0, 60.0, 100.0))  # fmt: skip

    rng = np.random.default_rng(0)
    drawn = [Stored(f"p{i}", [sample(rng.random() < 0.3) for _ in range(8)]) for i in range(40)]
    plain = Recording("r", drawn)
    seen = walk(plain, ["majority", "best"], orders=6, bars=(0.05, 0.95))
    cheap = seen.rejecting[0.05]
    assert cheap.tokens[:, :, -1].mean() < 0.6 * seen.tokens[:, :, -1].mean()
    assert (cheap.right["best"] >= seen.right["best"]).all()
    policy = fit(seen, "fixed", 420, {"score"}, BOUND)
    assert policy.reject == 0.05  # at .95 all are given up
    found = outcome(seen, policy)
    assert found.right.mean() > seen.right["majority"][:, :, 3].mean() + 0.1
    assert seen.of([0, 1]).rejecting[0.05].problems == ("p0", "p1")
    two = joined([seen.of([0]), seen.of([3])])
    assert two.rejecting[0.95].problems == ("p0", "p3")


def test_posterior_is_adaptive_consistency_with_a_fitted_confidence(seen: Walk) -> None:
    """Where its threshold is a confidence, it stops where that searcher does."""
    right = seen.right["majority"]
    make = FORMS["posterior"](seen, right, [])
    policy = policy_of(make(1e-5), "posterior", "majority", 1e-5, BOUND)
    ((c,),) = {look.rule.edges for look in policy.looks if isinstance(look.rule, Steps)}
    chosen = choose([f"adaptive_consistency-confidence={c}", "self_consistency"])
    results = evaluate(recording(), chosen, budgets=[8], orders=6)
    found = outcome(seen, policy)
    assert results[0].samples[:, 0] == pytest.approx(found.samples)
    assert results[0].values[:, 0] == pytest.approx(found.right)
    assert found.samples[::2].max() < 8  # easy ones end early


def test_the_cheapest_within_a_loss(seen: Walk) -> None:
    whole = float(seen.tokens[:, :, -1].mean())
    full = float(seen.right["majority"][:, :, -1].mean())
    costs = []
    for loss in (0.0, 0.05, 0.5):
        policy = fit(seen, "posterior", whole, set(), BOUND, choosers=["majority"], loss=loss)
        stop = stops(seen, policy)
        assert taken(seen.right["majority"], stop).mean() >= full - loss - 1e-9
        costs.append(float(taken(seen.tokens, stop).mean()))
    assert costs == sorted(costs, reverse=True)
    assert costs[0] < whole
    assert costs[2] == pytest.approx(seen.tokens[:, :, 0].mean())


def test_a_policy_may_choose_by_log_probability() -> None:
    """Right samples are the likeliest ones, and a wrong answer is the majority."""

    def sample(right: bool) -> Drawn:
        return Drawn(0 if right else 1, right, True, 100.0, logprob=-0.1 if right else -0.5)

    drawn = [Stored(f"p{i}", [sample(k % 3 == 0) for k in range(9)]) for i in range(24)]
    seen = Seen.of({None: Recording("r", drawn)}, (), orders=4, reject=False)
    assert set(seen.walk.right) == {"majority", "perplexity", "cisc"}
    policy = fit(seen.walk, "fixed", 900, seen.known, BOUND)
    assert policy.chooser == "perplexity"
    assert policy.needs == {"logprob"}
    assert outcome(seen.walk, policy).right.mean() == 1
    assert seen.walk.right["majority"][:, :, -1].mean() == 0


def test_samples_without_tokens_count_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.jsonl").write_text(lines_of(recording()))
    rows = [json.loads(line) for line in lines_of(recording()).splitlines()]
    for row in rows:
        row["id"] = f"other {row['id']}"
        row["samples"] = [
            {"answer": s["text"][-1], "correct": s["correct"]} for s in row["samples"]
        ]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    call = ["fit", "s.jsonl", "--test", "t.jsonl", "--orders", "3", "--chooser", "majority"]
    done = CliRunner().invoke(app, [*call, "--form", "posterior", "--loss", "0.01"])
    assert done.exit_code == 0, done.output
    assert "a sample counts as one" in done.output.replace("\n", " ")
    told = json.loads(Path("policy.json").read_text())["report"]
    assert told["loss"] == 0.01
    assert told["tokens"] == pytest.approx(told["samples"])
    wrong = CliRunner().invoke(app, [*call, "--form", "marginal"])
    assert isinstance(wrong.exception, RecipeError)
    assert "posterior" in str(wrong.exception)


# ---------------------------------------------------------------------------------- presets


def preset_run(folder: Path, problems: int = 24, prompts: Sequence[str] = ()) -> Path:
    """Hard problems (odd ones) are right with `hot` samples only, which cost three times as much;
    their cold samples disagree."""
    store, names = Store(folder), {"cold": 0.4, "hot": 1.0}
    rng = np.random.default_rng(0)
    with store.opened({"run": {"name": "p", "task": "sums", "generator": "toy"}, "notes": []}):
        for i, name in product(range(problems), names):
            tree, found = RolloutTree(f"p{i}"), []
            for slot in range(6):
                wrong = str(3 + slot) if name == "cold" else str(rng.integers(3, 9))
                easy = i % 2 == 0 or (name == "hot" and rng.random() < 0.8)
                answer = "2" if easy else wrong
                tokens = 30 if name == "hot" else 10
                node = tree.add(tree.root, slot, Sample(answer, generated_tokens=tokens))
                node.emitted = (1.0, 0.0)
                found.append({"path": [slot], "answer": answer, "key": answer, "weight": 1.0,
                              "correct": answer == "2", "rank": 0.0, "steps": []})  # fmt: skip
            line = {"problem": f"p{i}", "strategy": name, "question": "q", "answer": "2",
                    "gold": "2", "correct": True, "stop_reason": "finished", "node": [0],
                    "failures": [], "meta": {}, "candidates": found,
                    "usage": {"generated_tokens": 60, "cancelled_calls": 0}}  # fmt: skip
            store.append(line, tree)
    entries = [
        {"name": name, "searcher": "self_consistency", "independent": True, "params": {"n": 6},
         "sweep": {"sampling.temperature": t}} for name, t in names.items()
    ]  # fmt: skip
    if prompts:  # hot is asked in other words, too
        entries[1] |= {"searcher": "variants", "params": {"n": 6, "prompts": [*prompts]}}
    store.write_json("summary.json", {"strategies": entries})
    return folder


def test_a_preset_for_each_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Easy problems get no more, hard ones the dear preset: better than either for all."""
    monkeypatch.chdir(tmp_path)
    preset_run(tmp_path / "p")
    call = ["fit", "p", "--form", "presets", "--orders", "4", "--tokens", "80"]
    done = CliRunner().invoke(app, [*call, "--preset", "cold", "--preset", "hot"])
    assert done.exit_code == 0, done.output
    found = Policy.model_validate_json(Path("policy.json").read_text())
    assert found.route is not None
    nan = np.full((2, 2), np.nan)
    looks = signals_of(np.array([[0, 0], [0, 1]]), np.full((2, 2), 10.0), nan, nan, nan)
    easy, hard = (found.presets[i] for i in found.route.choose(looks).tolist())
    assert (easy.samples, hard.name, hard.temperature) == (0, "hot", 1.0)
    assert hard.samples > 0
    assert found.report["accuracy"]["value"] > 0.85
    assert found.report["fixed"]["verdict"].startswith("better")
    assert found.report["oracle"]["regret"]["value"] >= -1e-9
    for wrong in (["--preset", "cold"], ["--preset", "cold", "--preset", "warm"], []):
        refused = CliRunner().invoke(app, [*call, *wrong])
        assert isinstance(refused.exception, RecipeError)


def test_a_preset_may_have_a_prompt(tmp_path: Path) -> None:
    folder = preset_run(tmp_path / "p", prompts=["{question} Briefly."])
    found = options_of(folder, ["cold", "hot"], "majority", orders=1, seed=0)
    asked = {(o.name, o.prompt, o.temperature) for o in found.options}
    assert asked == {("cold", None, 0.4), ("hot", "{question} Briefly.", 1.0)}
    folder = preset_run(tmp_path / "q", prompts=["{question} Briefly.", "{question}"])
    with pytest.raises(RecipeError, match="a preset has one"):
        options_of(folder, ["cold", "hot"], "majority", orders=1, seed=0)


def test_any_form_may_choose_how_to_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the budget pays for three hot samples these are best; else there are cold ones."""
    monkeypatch.chdir(tmp_path)
    preset_run(tmp_path / "p")
    call = ["fit", "p", "--form", "fixed", "--orders", "4"]
    both = ["--preset", "cold", "--preset", "hot"]
    for tokens, name, temperature, start in ((100, "hot", 1.0, 3), (25, "cold", 0.4, 1)):
        done = CliRunner().invoke(app, [*call, *both, "--tokens", str(tokens)])
        assert done.exit_code == 0, done.output
        found = Policy.model_validate_json(Path("policy.json").read_text())
        assert found.first is not None
        assert (found.first.name, found.first.temperature) == (name, temperature)
        assert found.start == start
        assert found.report["tokens"] <= tokens
    against = {full["chooser"]: full["tokens"] for full in found.report["full"]}
    assert against == {"majority of cold": 60, "majority of hot": 180}
    assert found.report["fixed"]["chooser"] == "majority of cold"
    assert found.report["oracle"]["regret"]["value"] >= -1e-9
    shown = CliRunner().invoke(app, ["replay", "p", "--strategy", "adaptive-policy=policy.json"])
    assert isinstance(shown.exception, RecipeError)
    for wrong in (["--preset", "warm"], [*both, "--samples-of", "hot"], [*both, "--test", "q"]):
        refused = CliRunner().invoke(app, [*call, *wrong])
        assert isinstance(refused.exception, RecipeError), refused.exception


def test_options_count_the_first_samples_too(tmp_path: Path) -> None:
    found = options_of(preset_run(tmp_path / "p"), ["cold", "hot"], "majority", orders=3, seed=0)
    by = {(o.name, o.samples): i for i, o in enumerate(found.options)}
    assert set(by) == {("cold", k) for k in (0, 1, 2, 4)} | {("hot", k) for k in (1, 2, 4)}
    assert (found.tokens[:, :, by["cold", 0]] == 20).all()
    assert (found.tokens[:, :, by["hot", 4]] == 2 * 10 + 4 * 30).all()
    assert (found.right[0] == 1).all()  # easy
    assert found.right[1][:, by["cold", 4]].max() == 0
