"""Statistics against closed forms, SciPy and enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.statistics import calibration
from evals.statistics.calibration import auroc, auroc_interval, brier, ece, reliability
from evals.statistics.compute import costs, flops, parameters_of, pareto
from evals.statistics.curves import (
    Samples,
    at_k_curve,
    fit_coverage,
    fit_coverage_table,
    log_spaced,
    powers_of_two,
)
from evals.statistics.equal_compute import Points, at_equal_cost, band, interpolate
from evals.statistics.intervals import accuracy, bootstrap_weights, column_means
from evals.statistics.metrics import bootstrap_mean, wilson
from evals.statistics.paired import (
    compare,
    compare_all,
    holm,
    mcnemar,
    paired_difference,
    sign_flip_p,
)
from evals.statistics.weighted import Votes, weighted_at_k, weighted_at_ks
from reasoning.aggregators import Candidate
from reasoning.aggregators.weighted_majority import weighted_majority
from reasoning.answers import Answer

SHARES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=7)


# ----------------------------------------------------------------------------------- intervals


def test_accuracy_says_which_interval() -> None:
    assert accuracy([1, 0, 1, 1]) == (0.75, *wilson(3, 4), "wilson")
    assert accuracy([0.5, 0.25, 1]) == (7 / 12, *bootstrap_mean([0.5, 0.25, 1]), "bootstrap")


def test_columns_have_the_interval_they_have_alone() -> None:
    table = np.array([[1, 0.5, i % 2, i / 40] for i in range(40)])
    found = column_means(table, resamples=4_000)
    assert [i.method for i in found] == ["wilson", "wilson", "wilson", "bootstrap"]
    assert found[0] == accuracy([1] * 40)
    assert (found[1].low, found[1].high) == bootstrap_mean([0.5] * 40)
    error = table[:, 3].std() / math.sqrt(40)
    # A quantile of 4,000 resamples is off by about 0.042 standard errors.
    assert found[3].low == pytest.approx(table[:, 3].mean() - 1.96 * error, abs=0.25 * error)
    assert found[3].high == pytest.approx(table[:, 3].mean() + 1.96 * error, abs=0.25 * error)


def test_bootstrap_weights_are_shares_of_draws() -> None:
    weights = bootstrap_weights(7, 500, seed=1)
    assert weights.shape == (500, 7)
    assert np.allclose(weights.sum(axis=1), 1)
    assert np.allclose(weights * 7, np.round(weights * 7))
    assert np.array_equal(weights, bootstrap_weights(7, 500, seed=1))
    # Counts are multinomial: mean 1 and variance 6/7 of each; 5 standard errors of 3,500 counts.
    assert np.var(weights * 7) == pytest.approx(6 / 7, abs=5 * 1.4 / math.sqrt(3_500))


# -------------------------------------------------------------------------------------- paired


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_mcnemar_is_the_share_of_fair_coins_as_extreme(pairs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*pairs, strict=True)
    found = mcnemar(a, b)
    only_a = sum(x and not y for x, y in pairs)
    only_b = sum(y and not x for x, y in pairs)
    n = only_a + only_b
    extreme = [abs(i - n / 2) >= abs(only_a - n / 2) for i in range(n + 1)]
    expected = sum(math.comb(n, i) for i in range(n + 1) if extreme[i]) / 2**n
    assert found[:2] == (only_a, only_b)
    assert found.p_value == pytest.approx(expected, abs=1e-12)


@given(SHARES, st.randoms(use_true_random=False))
def test_sign_flips_are_enumerated(a: list[float], random: object) -> None:
    b = list(a)
    random.shuffle(b)  # type: ignore[attr-defined]
    d = [y - x for x, y in zip(a, b, strict=True)]
    flips = itertools.product([-1, 1], repeat=len(d))
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in flips]
    expected = sum(s >= abs(sum(d)) - 1e-9 for s in sums) / len(sums)
    assert sign_flip_p(a, b) == pytest.approx(expected, abs=1e-9)


def test_paired_difference_is_close_to_the_normal_interval() -> None:
    a = [(i * 37 % 100) / 200 for i in range(200)]
    b = [x + (i % 3) / 10 for i, x in enumerate(a)]
    gap = paired_difference(a, b)
    d = np.subtract(b, a)
    error = d.std() / math.sqrt(len(d))
    assert gap.value == pytest.approx(d.mean())
    assert gap.low == pytest.approx(d.mean() - 1.96 * error, abs=5 * 0.027 * error)
    assert gap.high == pytest.approx(d.mean() + 1.96 * error, abs=5 * 0.027 * error)
    assert gap.high - gap.low < 0.6 * (accuracy(a).high - accuracy(a).low), "pairing pays"


def test_equal_results_are_not_certain_to_be_equal() -> None:
    gap = paired_difference([1, 0, 1], [1, 0, 1])
    assert (gap.value, gap.low, gap.high) == (0, -wilson(0, 3)[1], wilson(0, 3)[1])
    gap = paired_difference([0] * 9, [1] * 9)
    assert gap.value == gap.high == 1
    assert gap.low == pytest.approx(1 - 2 * wilson(0, 9)[1])


def test_compare_chooses_its_test() -> None:
    found = compare([1, 1, 0, 0], [1, 1, 1, 1], names=("x", "y"))
    assert (found.a, found.b, found.only_a, found.only_b) == ("x", "y", 0, 2)
    assert (found.test, found.p_value, found.difference) == ("exact McNemar", 0.5, 0.5)
    found = compare([0.5, 0.25], [0.75, 0.5])
    assert (found.test, found.p_value, found.only_a) == ("paired permutation", 0.5, None)


def test_compare_all_corrects_over_what_it_compares() -> None:
    values = {"a": [0.0] * 8, "b": [1.0] * 8, "c": [1.0] * 4 + [0.0] * 4}
    pairs = [(c.a, c.b) for c in compare_all(values)]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    found = compare_all(values, baseline="c")
    assert [(c.a, c.b) for c in found] == [("c", "a"), ("c", "b")]
    assert [c.adjusted for c in found] == holm([c.p_value for c in found])
    assert compare_all({"a": [1.0]}) == []
    with pytest.raises(ValueError, match="must be one of"):
        compare_all(values, baseline="d")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_its_closed_testing_procedure(p_values: list[float]) -> None:
    """The adjusted p-value is the largest Bonferroni p-value of a subset that holds it."""
    indices = range(len(p_values))
    for i, adjusted in enumerate(holm(p_values)):
        subsets = [
            s for size in indices for s in itertools.combinations(indices, size + 1) if i in s
        ]
        worst = max(len(s) * min(p_values[j] for j in s) for s in subsets)
        assert adjusted == pytest.approx(min(1.0, worst))


# -------------------------------------------------------------------------------------- curves

VOTES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", None]),
        st.booleans(),
        st.sampled_from([None, 0.5, 0.25, 1.0]),
    ),
    min_size=1,
    max_size=7,
)


def weighted_share(samples: Sequence[tuple[str | None, bool, float | None]], pool: object) -> float:
    """Over all orders, since the earliest sample wins a tie."""
    del pool
    wins = []
    for order in itertools.permutations(samples):
        candidates = [
            Candidate((i,), Answer(k, k) if k else None, score=s)
            for i, (k, _, s) in enumerate(order)
        ]
        choice = weighted_majority(candidates)
        winner = choice and choice.candidate and choice.candidate.answer
        rights = [c for k, c, _ in samples if winner and k == winner.key]
        wins.append(sum(rights) / len(rights) if rights else 0.0)
    return sum(wins) / len(wins)


@given(VOTES, st.data())
def test_weighted_at_k_is_the_aggregator_over_subsets_and_orders(
    samples: list[tuple[str | None, bool, float | None]], data: st.DataObject
) -> None:
    samples = [(k, k == "a" and c is not None, s) for k, c, s in samples]
    k = data.draw(st.integers(1, min(4, len(samples))))
    subsets = list(itertools.combinations(samples, k))
    expected = sum(weighted_share(s, samples) for s in subsets) / len(subsets)
    keys, correct, scores = zip(*samples, strict=True)
    found = weighted_at_k(keys, correct, scores, k)
    assert found.error == 0
    assert found.value == pytest.approx(expected, abs=1e-9)


def test_of_tied_answers_the_one_with_more_samples_wins_more_often() -> None:
    found = weighted_at_k(["a", "b", "b"], [True, False, False], [1.0, 0.5, 0.5], 3)
    assert found == (pytest.approx(1 / 3), 0)
    unscored = weighted_at_k(["a", "b", "b"], [True, False, False], [1.0, 1.0, None], 3)
    samples = [("a", True, 1.0), ("b", False, 1.0), ("b", False, None)]
    assert unscored == (pytest.approx(weighted_share(samples, samples)), 0)


def test_weighted_at_k_by_subsets_states_its_error() -> None:
    rng = np.random.default_rng(0)
    keys = [int(key) for key in rng.integers(0, 3, 14)]
    correct = [key == 0 for key in keys]
    scores = [float(s) for s in rng.random(14)]
    exact = weighted_at_k(keys, correct, scores, 7, subsets=10_000)
    drawn = weighted_at_k(keys, correct, scores, 7, subsets=2_000, seed=3)
    assert exact.error == 0 < drawn.error < 0.012
    assert abs(drawn.value - exact.value) < 4 * drawn.error
    assert drawn == weighted_at_k(keys, correct, scores, 7, subsets=2_000, seed=3)


def test_curves_from_one_run() -> None:
    problem = Samples(
        ["a", "b", "a", None], [True, False, True, False], [0.9, 0.1, 0.2, None], [8] * 4
    )
    curves = {
        kind: at_k_curve([problem] * 3, kind) for kind in ("pass", "majority", "best", "weighted")
    }
    assert all(curve.ks == (1, 2, 4) for curve in curves.values())
    assert all(curve.values[0, 0] == 0.5 for curve in curves.values())
    assert curves["pass"].values[0].tolist() == pytest.approx([1 / 2, 5 / 6, 1])
    assert curves["best"].values[0, 2] == 1.0
    assert curves["pass"].tokens is not None
    assert curves["pass"].tokens[0].tolist() == [8, 16, 32]
    assert [i.value for i in curves["majority"].intervals()][2] == pytest.approx(1.0)
    assert powers_of_two(45) == [1, 2, 4, 8, 16, 32, 45]
    assert log_spaced(45, 4) == [1, 4, 13, 45]


def test_coverage_law_is_found_again() -> None:
    ks = log_spaced(100)
    law = fit_coverage(ks, [math.exp(-1.5 * k**-0.4) for k in ks])
    assert (law.a, law.b) == pytest.approx((-1.5, -0.4), abs=1e-6)
    assert law(10) == pytest.approx(math.exp(-1.5 * 10**-0.4))
    assert law.rmse < 1e-6


def test_coverage_errors_are_those_of_the_problems() -> None:
    rng = np.random.default_rng(0)
    chances = rng.beta(0.5, 1.0, size=300)
    ks = [1, 2, 4, 8, 16, 32]
    table = 1 - (1 - chances[:, None]) ** np.array(ks)
    law = fit_coverage_table(ks, table)
    halves = [fit_coverage(ks, half.mean(axis=0)) for half in (table[:150], table[150:])]
    # The halves differ by about two standard errors of the whole; five is a bug.
    assert abs(halves[0].b - halves[1].b) < 2 * 5 * law.b_error
    assert law.method == "bootstrap over problems"
    assert fit_coverage(ks, table.mean(axis=0)).b == law.b


# ------------------------------------------------------------------------------- equal compute


def test_interpolation_is_linear_in_the_logarithm() -> None:
    assert interpolate([100, 400], [0.2, 0.6], 200) == pytest.approx(0.4)
    assert interpolate([400, 100], [0.6, 0.2], 100) == pytest.approx(0.2)
    assert interpolate([100, 400], [0.2, 0.6], 99) is None
    assert interpolate([100, 100], [0.2, 0.6], 100) == pytest.approx(0.4)


def test_at_equal_cost_pairs_the_problems() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random((200, 1)) * 0.8
    a = Points.of(np.repeat(easy, 3, axis=1), np.tile([100, 200, 400], (200, 1)))
    b = Points.of(np.repeat(easy + 0.1, 2, axis=1), np.tile([150, 300], (200, 1)))
    found = at_equal_cost(a, b)
    assert [f.cost for f in found] == [150, 200, 300]
    for f in found:
        assert f.difference.value == pytest.approx(0.1)
        # Problems differ, strategies do not: what is left is that few problems were seen.
        assert f.difference.low == pytest.approx(0.1 - 1.1 * wilson(0, 200)[1])
    assert at_equal_cost(a, Points.of([[0.5]] * 200, [[50.0]] * 200)) == []
    assert at_equal_cost(a, a, [200])[0].difference.value == 0


def test_no_spread_at_equal_cost_is_no_certainty() -> None:
    a = Points.of([[0, 1]] * 10, [[100, 200]] * 10)
    (same,) = at_equal_cost(a, a, [200])
    assert (same.difference.low, same.difference.high) == pytest.approx((-0.27753, 0.27753), 1e-4)
    assert same.difference.method == "wilson"
    (all_right,) = band(a, [200])
    assert all_right is not None
    assert (all_right.low, all_right.high) == pytest.approx(wilson(10, 10))


def test_band_is_the_interval_at_a_point_and_ends_with_the_curve() -> None:
    values = np.array([[i % 2, i / 30] for i in range(30)], dtype=float)
    points = Points.of(values, np.tile([10.0, 20.0], (30, 1)))
    low, inside, high, beyond = band(points, [9, 14, 20, 21], resamples=4_000)
    assert low is None
    assert beyond is None
    assert inside is not None
    assert high is not None
    assert inside.low < inside.value < inside.high
    alone = column_means(values[:, 1:], resamples=4_000)[0]
    assert (high.low, high.high) == pytest.approx((alone.low, alone.high), abs=1e-12)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_pareto_front(points: list[tuple[int, int]]) -> None:
    front = pareto([c for c, _ in points], [v for _, v in points])
    kept = [points[i] for i in front]
    assert kept == sorted(kept)
    assert len({*kept}) == len(kept)
    for c, v in points:
        beaten = any((c2 <= c and v2 >= v) and (c2, v2) != (c, v) for c2, v2 in points)
        assert ((c, v) in kept) == (not beaten)


def test_compute_axes() -> None:
    usage = {
        "generated_tokens": 100,
        "prompt_tokens": 50,
        "cached_tokens": 40,
        "verifier_tokens": 30,
        "verifier_calls": 2,
        "critical_tokens": 60,
        "seconds": 1.5,
    }
    tokens, sizes = {"": 110.0, "small": 7.0}, {"": 1e9, "small": 1e8}
    work = 1e9 * 110 + 1e8 * 7
    counted = flops(tokens, sizes, verifier_tokens=30, verifier_parameters=2e9)
    assert counted == 2 * (work + 2e9 * 30)
    assert "flops" not in costs(usage)
    assert "flops" not in costs(usage, tokens=tokens, parameters=sizes), "the verifier's size"
    assert "flops" not in costs(usage, tokens=tokens, parameters={"": 1e9}, verifier_parameters=0)
    assert "flops" not in costs(usage, tokens=None, parameters=sizes, verifier_parameters=0)
    known = costs(usage, tokens=tokens, parameters=sizes, verifier_parameters=0)
    assert known["flops"] == 2 * work
    assert costs(usage)["critical_tokens"] == 60
    vote = {"generator": 7e9, "verifier": None, "models": {"small": 1e8}}
    told = {"vote": vote, "bad": {"generator": "big"}}
    assert parameters_of({"parameters": told}, "vote") == 7e9
    assert parameters_of({"parameters": told}, "vote", "verifier") is None
    assert parameters_of({"parameters": told}, "vote", "small") == 1e8
    assert parameters_of({"parameters": told}, "bad") is None
    assert parameters_of({}, "vote") is None


# --------------------------------------------------------------------------------- calibration

SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=12
)


@given(SCORED)
def test_auroc_counts_pairs(samples: list[tuple[float, bool]]) -> None:
    right = [s for s, c in samples if c]
    wrong = [s for s, c in samples if not c]
    scores, correct = zip(*samples, strict=True)
    found = auroc(scores, correct)
    if not right or not wrong:
        assert found is None
        return
    wins = [(r > w) + (r == w) / 2 for r in right for w in wrong]
    assert found == pytest.approx(sum(wins) / len(wins))


def test_auroc_interval_resamples_problems() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    correct = rng.random(400) < scores
    alone = auroc_interval(scores.tolist(), correct.tolist())
    assert alone is not None
    assert alone.low < alone.value < alone.high
    doubled = auroc_interval([*scores, *scores], [*correct, *correct], [*range(400), *range(400)])
    assert doubled is not None
    assert doubled == pytest.approx(alone), "copies of samples are no news"
    assert auroc_interval([0.1, 0.2], [True, True]) is None
    perfect = auroc_interval([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert perfect is not None
    assert perfect[:3] == (1, 1, 1)


def test_reliability_by_hand() -> None:
    bins = reliability([0.1, 0.15, 0.9, 1.0], [False, True, True, True], bins=2)
    assert [(b.low, b.high, b.count) for b in bins] == [(0, 0.5, 2), (0.5, 1, 2)]
    assert [b.accuracy for b in bins] == [0.5, 1.0]
    assert bins[0].ci95 == wilson(1, 2)
    assert ece(bins) == pytest.approx((2 * 0.375 + 2 * 0.05) / 4)
    empty = reliability([0.9], [True], bins=2)[0]
    assert (empty.count, empty.accuracy) == (0, None)
    assert brier([0.1, 1.0], [False, True]) == pytest.approx(0.005)


@given(SCORED)
def test_bins_hold_every_sample_once(samples: list[tuple[float, bool]]) -> None:
    scores, correct = zip(*samples, strict=True)
    for by in ("width", "count"):
        bins = reliability(scores, correct, bins=4, by=by)
        assert sum(b.count for b in bins) == len(samples)
        means = [b for b in bins if b.mean_score is not None]
        assert all(b.low - 1e-9 <= b.mean_score <= b.high + 1e-9 for b in means if b.mean_score)
    exact = [1.0 if c else 0.0 for c in correct]
    assert ece(reliability(exact, correct)) == 0


# ---------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy([]),
        lambda: accuracy([1.5]),
        lambda: column_means([0.5]),
        lambda: column_means([[0.5, 1.0], [0.25, 1.0]], confidence=95),
        lambda: bootstrap_weights(0, 1, 0),
        lambda: mcnemar([0.5], [1]),
        lambda: mcnemar([1], [1, 0]),
        lambda: paired_difference([], []),
        lambda: holm([0.5, 1.1]),
        lambda: weighted_at_k(["a"], [True], [-1.0], 1),
        lambda: weighted_at_k(["a"], [True], [1.0], 2),
        lambda: weighted_at_k(["a"], [True], [1.0], 1, subsets=1),
        lambda: at_k_curve([], "pass"),
        lambda: at_k_curve([Samples(["a"], [True])], "best"),
        lambda: at_k_curve([Samples(["a"], [True], [1.0])], "worst"),  # type: ignore[arg-type]
        lambda: fit_coverage([1, 2], [0.1, 0.2]),
        lambda: fit_coverage([1, 2, 4], [0.0, 0.2, 0.4]),
        lambda: fit_coverage([1, 2, 4], [1.0, 1.0, 1.0]),
        lambda: powers_of_two(0),
        lambda: log_spaced(0),
        lambda: Points.of([[0.5]], [[0.0]]),
        lambda: Points.of([[1.5]], [[1.0]]),
        lambda: Points.of([0.5], [1.0]),
        lambda: at_equal_cost(Points.of([[0.5]], [[1]]), Points.of([[0.5]] * 2, [[1]] * 2)),
        lambda: interpolate([], [], 1),
        lambda: interpolate([1], [1], 0),
        lambda: pareto([1], []),
        lambda: pareto([math.nan], [1]),
        lambda: flops({"": 1}, {"": 0}),
        lambda: auroc([0.5], [True, False]),
        lambda: auroc([math.nan], [True]),
        lambda: auroc_interval([0.5, 0.6], [True, False], ["a"]),
        lambda: reliability([1.5], [True]),
        lambda: reliability([0.5], [True], bins=0),
        lambda: brier([2.0], [True]),
        lambda: ece([]),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must|needs?|needed"):
        call()


def test_coverage_that_is_full_from_the_second_k_on_fits_any_law() -> None:
    table = np.tile([2 / 3, 1, 1, 1], (6, 1))
    with pytest.raises(ValueError, match="below 1 for two ks"):
        fit_coverage_table([1, 2, 4, 8], table)


def test_shares_that_differ_on_one_problem_only() -> None:
    found = compare([0.5, 0.25, 1.0], [0.5, 0.75, 1.0])
    assert (found.p_value, found.test) == (1.0, "paired permutation")
    assert found.difference == pytest.approx(1 / 6)


def test_all_ks_are_counted_in_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the subsets that each k alone would draw: the same numbers, in one call."""
    rng = np.random.default_rng(0)
    keys, scores = rng.integers(0, 9, 40).tolist(), rng.random(40).tolist()
    correct = [key == 0 for key in keys]
    ks = [2, 4, 8, 16, 32]
    alone = [weighted_at_k(keys, correct, scores, k, subsets=100, seed=1) for k in ks]
    calls: list[tuple[int, ...]] = []
    won = Votes.won
    monkeypatch.setattr(Votes, "won", lambda self, c: calls.append(c.shape) or won(self, c))
    values, errors = weighted_at_ks(Votes([keys], [correct], [scores]), ks, subsets=100, seed=1)
    assert list(zip(values[0], errors[0], strict=True)) == alone
    assert calls == [(1, 500, 40)]


def test_curves_of_many_problems_are_those_of_each() -> None:
    """Whatever their numbers of samples and answers, ties, and what has no answer or score."""
    rng = np.random.default_rng(0)
    problems = []
    for n in (4, 6, 4, 6, 4):
        keys = [None if k == 3 else str(k) for k in rng.integers(0, 4, n)]
        scores = [None if s == 3 else float(s) for s in rng.integers(0, 4, n)]
        problems.append(Samples(keys, [key == "0" for key in keys], scores))
    for kind in ("pass", "majority", "best", "weighted"):
        together = at_k_curve(problems, kind, [1, 2, 4])
        for row, problem in zip(together.values, problems, strict=True):
            assert row.tolist() == pytest.approx(at_k_curve([problem], kind, [1, 2, 4]).values[0])
        assert not together.errors.any(), "so few subsets are all gone through"


def test_seeded_subsets_of_many_problems_are_independent() -> None:
    """Equal problems have other subsets each, so their mean has the error that it says."""
    rng = np.random.default_rng(1)
    keys, scores = rng.integers(0, 4, 20).tolist(), rng.random(20).tolist()
    one = Samples(keys, [key == 0 for key in keys], scores)
    exact = weighted_at_k(keys, one.correct, scores, 4, subsets=10_000)
    assert exact.error == 0
    many = at_k_curve([one] * 400, "weighted", [4], subsets=30)
    assert len(np.unique(many.values)) > 10
    assert abs(many.values.mean() - exact.value) < 4 * many.errors[0]
    assert many.errors[0] < 0.006


def test_resamples_tell_apart_only_so_many_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval is about that of all, the value that of all."""
    rng = np.random.default_rng(0)
    scores = rng.random(3000)
    correct = rng.random(3000) < scores
    told = (scores.tolist(), correct.tolist(), (np.arange(3000) % 500).tolist())
    every = auroc_interval(*told)
    monkeypatch.setattr(calibration, "_PLACES", 500)
    fewer = auroc_interval(*told)
    assert every is not None
    assert fewer is not None
    assert fewer.value == every.value
    assert fewer != every
    assert fewer == pytest.approx(every, abs=5e-4)
