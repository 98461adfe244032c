from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.kernels.resample import (
    SCHEMES,
    annealed_temperature,
    effective_sample_size,
    log_softmax,
    logit,
    normalised,
    shared_counts,
    softmax,
)

DRAWS = 4000
weight = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-300, 1e300]))
weights = st.lists(weight, min_size=1, max_size=9)
seeds = st.integers(0, 2**32)
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def array(items: list[float]) -> np.ndarray:
    return np.array(items, dtype=float)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


# -------------------------------------------------------------------------- resampling


@every_scheme
@given(weights, st.integers(0, 30), seeds)
def test_counts_add_up_and_skip_weights_of_zero(
    scheme: str, items: list[float], n: int, seed: int
) -> None:
    counts = SCHEMES[scheme](array(items), n, rng(seed))
    assert counts.sum() == n
    assert len(counts) == len(items)
    if any(items):
        assert not counts[array(items) == 0].any()


@given(weights, st.integers(1, 30), seeds)
def test_how_far_counts_stray_from_expectation(items: list[float], n: int, seed: int) -> None:
    expected = n * normalised(array(items))
    assert (abs(SCHEMES["systematic"](array(items), n, rng(seed)) - expected) < 1 + 1e-9).all()
    assert (abs(SCHEMES["stratified"](array(items), n, rng(seed)) - expected) < 2 + 1e-9).all()
    floor = np.floor(expected - 1e-9)
    assert (SCHEMES["residual"](array(items), n, rng(seed)) >= floor).all()


@every_scheme
@pytest.mark.parametrize(
    "items",
    [[0.5, 0.3, 0.15, 0.05], [1, 1, 1], [0.9, 0.05, 0.05], [2, 0, 1, 4, 1e-300], [7]],
    ids=str,
)
def test_unbiased(scheme: str, items: list[float]) -> None:
    n, source = 5, rng(1)
    counts = array([SCHEMES[scheme](array(items), n, source) for _ in range(DRAWS)])  # type: ignore[misc]
    expected = n * array(items) / sum(items)
    error = counts.std(axis=0) / np.sqrt(DRAWS)
    assert (abs(counts.mean(axis=0) - expected) <= 5 * error + 1e-12).all()


@every_scheme
def test_unbiased_whatever_the_order(scheme: str) -> None:
    items, order = array([0.6, 0.25, 0.1, 0.05]), [2, 0, 3, 1]
    means = []
    for permuted in (items, items[order]):
        source = rng(2)
        draws = array([SCHEMES[scheme](permuted, 3, source) for _ in range(DRAWS)])  # type: ignore[misc]
        means.append((draws.mean(axis=0), draws.std(axis=0) / np.sqrt(DRAWS)))
    (one, error), (other, error_too) = means
    assert (abs(one[order] - other) <= 5 * np.hypot(error[order], error_too) + 1e-12).all()


@every_scheme
def test_degenerate_weights(scheme: str) -> None:
    draw = SCHEMES[scheme]
    assert draw(array([0, 1, 0]), 4, rng()).tolist() == [0, 4, 0]
    assert draw(array([1e-300, 0]), 4, rng()).tolist() == [4, 0]
    assert draw(array([0, 0]), 4, rng()).sum() == 4  # nothing tells them apart
    if scheme != "multinomial":
        assert draw(array([0, 0]), 4, rng()).tolist() == [2, 2]
        assert draw(np.full(7, 1e-300), 7, rng()).tolist() == [1] * 7


class Edge:
    """Random numbers at the very ends of [0, 1)."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self, size: int | None = None) -> object:
        return self.value if size is None else np.full(size, self.value)


@pytest.mark.parametrize("u", [0.0, float(np.nextafter(1, 0))])
@pytest.mark.parametrize("scheme", ["systematic", "stratified"])
def test_offsets_at_the_edge_stay_in_range(scheme: str, u: float) -> None:
    for n in range(1, 50):
        counts = SCHEMES[scheme](np.array([0, 0.1, 0.2, 0.7, 0]), n, Edge(u))  # type: ignore[arg-type]
        assert counts.sum() == n
        assert counts[0] == counts[4] == 0


@every_scheme
@given(
    st.lists(st.tuples(st.floats(-700, 700), st.integers(0, 4)), min_size=1, max_size=6),
    st.integers(0, 20),
    seeds,
)
def test_copies_share_a_path(
    scheme: str, items: list[tuple[float, int]], n: int, seed: int
) -> None:
    logs, copies = array([log for log, _ in items]), np.array([c for _, c in items])
    if not copies.any():
        return
    counts = shared_counts(scheme, logs, copies, n, rng(seed))  # type: ignore[arg-type]
    assert counts.sum() == n
    assert not counts[copies == 0].any()


def test_systematic_is_the_same_for_copies_and_for_one_of_their_weight() -> None:
    for seed in range(50):
        split = shared_counts("systematic", np.log([0.1, 0.2]), np.array([4, 3]), 6, rng(seed))
        whole = SCHEMES["systematic"](np.array([0.4, 0.6]), 6, rng(seed))
        assert split.tolist() == whole.tolist()


# ----------------------------------------------------------------------------- weights

logits = st.lists(
    st.one_of(st.floats(-1e300, 1e300), st.sampled_from([-np.inf, np.inf])), min_size=1, max_size=9
)


@given(logits)
def test_softmax_is_a_distribution_whatever_goes_in(items: list[float]) -> None:
    p = softmax(array(items))
    assert p.sum() == pytest.approx(1)
    assert (p >= 0).all()


def test_softmax_at_infinity() -> None:
    assert softmax(array([np.inf, 3, np.inf])).tolist() == [0.5, 0, 0.5]
    assert softmax(array([-np.inf, 3])).tolist() == [0, 1]
    assert softmax(array([-np.inf, -np.inf])).tolist() == [0.5, 0.5]


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=6), seeds)
def test_log_softmax_is_softmax_over_copies(items: list[float], seed: int) -> None:
    copies = rng(seed).integers(0, 4, len(items))
    copies[0] = 2
    logs = log_softmax(array(items), copies)
    expected = softmax(np.repeat(array(items), copies))
    assert np.exp(np.repeat(logs, copies)) == pytest.approx(expected)


def test_log_softmax_where_nothing_has_weight() -> None:
    assert np.exp(log_softmax(np.full(2, -np.inf), np.array([1, 3]))) == pytest.approx([0.25, 0.25])


def test_published_weights() -> None:
    p = softmax(logit(array([0.99, 0.9, 0.5])))
    assert p == pytest.approx([0.908, 0.083, 0.009], abs=5e-4)
    assert effective_sample_size(p) == pytest.approx(1.20, abs=5e-3)


def test_weights_are_odds_at_temperature_one() -> None:
    r = array([0.2, 0.5, 0.7, 0.9])
    assert softmax(logit(r)) == pytest.approx((r / (1 - r)) / (r / (1 - r)).sum())


def test_logit_is_finite_at_the_ends() -> None:
    ends = logit(array([-np.inf, 0, 1]), 1e-7)
    assert ends == pytest.approx([-16.118, -16.118, 16.118], abs=1e-3)


def test_published_annealing() -> None:
    logs = logit(array([0.99, 0.9, 0.5]))
    tau = annealed_temperature(softmax(logs), 0.1)
    assert tau == pytest.approx(2.246, abs=5e-4)
    assert softmax(logs / tau) == pytest.approx([0.679, 0.233, 0.088], abs=5e-4)


def test_annealing_by_other_methods() -> None:
    p = softmax(logit(array([0.99, 0.9, 0.5])))
    entropy = -(p * np.log(p)).sum() / np.log(3)
    tau = annealed_temperature(p, 0.1, method="entropy")
    assert tau == pytest.approx(1 / (entropy + (1 - entropy) * 0.1))
    assert annealed_temperature(p, 0.1, method="base") == pytest.approx(1.9)
    assert annealed_temperature(p, 0.1, method="off") == 1


@pytest.mark.parametrize("method", ["ess", "entropy", "base"])
def test_annealing_is_for_collapsed_weights_early_on(method: str) -> None:
    collapsed, spread = array([1, 0, 0, 0]), array([0.3, 0.3, 0.2, 0.2])
    assert annealed_temperature(collapsed, 0.1, method=method) > 1  # type: ignore[arg-type]
    assert annealed_temperature(collapsed, 0.5, method=method) == 1  # type: ignore[arg-type]
    assert annealed_temperature(spread, 0.1, method=method) == 1  # type: ignore[arg-type]
    assert annealed_temperature(array([1]), 0.1, method=method) == 1  # type: ignore[arg-type]
    late = annealed_temperature(collapsed, 0.6, method=method, early_phase=1.0)  # type: ignore[arg-type]
    assert late > 1


@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=8), st.floats(0, 1))
def test_annealing_never_sharpens(items: list[float], progress: float) -> None:
    p = softmax(logit(array(items)))
    for method in ("ess", "entropy", "base"):
        assert annealed_temperature(p, progress, method=method) >= 1  # type: ignore[arg-type]
