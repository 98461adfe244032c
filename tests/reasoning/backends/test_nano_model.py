"""The embedded model's numerics, sampling, prefix tree and text tables."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning.backends.nano.cache import PrefixCache, common
from reasoning.backends.nano.model import (
    BUCKET,
    KV,
    Config,
    FloatArray,
    LanguageHead,
    Linear,
    Span,
    StepHead,
    Transformer,
    load_weights,
    steady_tile,
)
from reasoning.backends.nano.sampling import draw, knobs, stream, truncate, uniform
from reasoning.backends.nano.text import Vocabulary
from reasoning.problem import Message

SHIPPED = Path(__file__).parents[3] / "reasoning" / "backends" / "nano" / "weights"


def build(folder: Path) -> tuple[Transformer, dict[str, FloatArray]]:
    weights = load_weights(folder)
    return Transformer(Config.load(folder), weights), weights


def hidden(model: Transformer, tokens: Sequence[int]) -> FloatArray:
    return model.forward([Span(KV(model.config), tokens)])


# --- against the reference implementation ------------------------------------------


@pytest.fixture(scope="module")
def reference() -> Callable[[Path, Sequence[int]], tuple[FloatArray, FloatArray]]:
    """Logits [R, vocab] and normalised hidden states [R, E] by transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch", reason="the reference needs torch")
        transformers = pytest.importorskip("transformers", reason="the reference: transformers")

    def compute(folder: Path, tokens: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            config = transformers.Qwen2Config(**json.loads((folder / "config.json").read_text()))
            net = transformers.Qwen2Model(config).eval()
            prefix = "model."
            tensors = {
                name.removeprefix(prefix): torch.tensor(value)
                for name, value in load_weights(folder).items()
                if name.startswith(prefix)
            }
            net.load_state_dict(tensors)
            states = net(torch.tensor([list(tokens)])).last_hidden_state[0]
            logits = states @ net.embed_tokens.weight.T
        return logits.numpy(), states.numpy()

    return compute


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_logits_are_those_of_transformers(
    kv_heads: int, checkpoint: Callable[..., Path], reference: Any
) -> None:
    folder = checkpoint(kv_heads=kv_heads)
    tokens = np.random.default_rng(1).integers(0, 300, 100).tolist()
    model, weights = build(folder)
    logits, _ = reference(folder, tokens)
    ours = LanguageHead(model, weights)(hidden(model, tokens))
    np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())


def test_step_probabilities_are_those_of_the_reference(folder: Path, reference: Any) -> None:
    tokens = np.random.default_rng(2).integers(0, 300, 50).tolist()
    model, w = build(folder)
    _, states = reference(folder, tokens)
    inner = np.maximum(states @ w["score.0.weight"].T + w["score.0.bias"], 0)
    logits = inner @ w["score.2.weight"].T + w["score.2.bias"]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = odds[:, 1] / odds.sum(axis=1)
    np.testing.assert_allclose(StepHead(model, w)(hidden(model, tokens)), expected, rtol=1e-3)


@pytest.mark.skipif(not (SHIPPED / "lm").exists(), reason="the checkpoint is not there")
def test_the_shipped_model_agrees_with_transformers(reference: Any) -> None:
    folder = SHIPPED / "lm"
    tokens = Vocabulary(folder).encode_chat(
        (Message("user", "Ann has 3 apples. She buys 4 more. How many?"),)
    )
    model, weights = build(folder)
    logits, _ = reference(folder, tokens)
    ours = LanguageHead(model, weights)(hidden(model, tokens))
    np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())


# --- one row, one result -----------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_row_does_not_depend_on_chunks_or_company(
    kv_heads: int, checkpoint: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(kv_heads)
    model, weights = build(checkpoint(kv_heads=kv_heads))
    head = LanguageHead(model, weights)
    tokens = rng.integers(0, 300, 200).tolist()
    expected = head(hidden(model, tokens))
    kv, others = KV(model.config), [KV(model.config) for _ in range(40)]
    while kv.length < len(tokens):
        first = kv.length
        spans = [
            Span(other, rng.integers(0, 300, rng.integers(1, 6)).tolist())
            for other in others[: rng.integers(0, len(others))]
            if other.length < 250
        ]
        at = int(rng.integers(0, len(spans) + 1))
        row = sum(len(span.tokens) for span in spans[:at])
        mine = tokens[first : first + int(rng.integers(1, 30))]
        states = model.forward([*spans[:at], Span(kv, mine), *spans[at:]])
        got = head(states[row : row + len(mine)])
        np.testing.assert_array_equal(got, expected[first : first + len(mine)])


def test_every_place_in_a_tile_gives_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal(s, np.float32) for s in ((160, 480), (448, 160), (160, 640))]
    linear = Linear(steady_tile(matrices))
    for weight in matrices:
        x = rng.standard_normal((1, len(weight)), np.float32)
        rows = linear(np.repeat(x, 12 * linear.tile, axis=0), weight)
        assert (rows == rows[0]).all()
        np.testing.assert_allclose(rows[0], (x @ weight)[0], rtol=1e-4, atol=1e-4)


def test_a_cache_grows_by_buckets_and_keeps_its_content(folder: Path) -> None:
    config = Config.load(folder)
    data = np.random.default_rng(0).standard_normal((2, 2, 2, 100, 8), np.float32)
    kv = KV(config)
    kv.append(data[:, :, :, :30])
    kv.append(data[:, :, :, 30:])
    assert kv.data.shape[3] == 2 * BUCKET
    np.testing.assert_array_equal(kv.data[:, :, :, :100], data)
    assert not kv.data[:, :, :, 100:].any()


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match="'llama', expected 'qwen2'"):
        Config.load(tmp_path)


# --- sampling ----------------------------------------------------------------------


def same(
    n: int,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    confidence_k: int = 0,
    min_p: float = 0.0,
    top_logprobs: int = 0,
) -> Any:
    """Parameters of `n` calls that differ in their seeds only."""
    return knobs(
        [stream(seed) for seed in range(n)],
        [0] * n,
        [temperature] * n,
        [top_p] * n,
        [top_k] * n,
        [confidence_k] * n,
        [min_p] * n,
        [top_logprobs] * n,
    )


def softmax(x: FloatArray) -> FloatArray:
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum(), np.float32)


def nucleus(p: FloatArray, top_k: int, top_p: float) -> FloatArray:
    """The definition, one token at a time."""
    kept, total = np.zeros_like(p), 0.0
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))[: top_k or None]
    mass = sum(float(p[i]) for i in order)
    for i in order:
        if total >= top_p * mass and top_p < 1:
            break
        kept[i] = p[i]
        total += float(p[i])
    return kept


@pytest.mark.parametrize("top_k", [0, 1, 5, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 1e-6])
def test_truncation_is_the_definition(top_k: int, top_p: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(-3, 3, (20, 50)).astype(np.float32)  # with ties
    weights = np.exp(logits)
    got = truncate(weights, np.full(20, top_k), np.full(20, top_p))
    for row, p in zip(got, weights, strict=True):
        np.testing.assert_array_equal(row, nucleus(p, top_k, top_p))


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.6, "temperature": 2.0}]
)
def test_draws_follow_the_distribution(options: dict[str, Any]) -> None:
    n, logits = 20000, np.random.default_rng(3).normal(0, 1.5, 12).astype(np.float32)
    p = softmax(logits / options.get("temperature", 1.0))
    p = nucleus(p, options.get("top_k", 0), options.get("top_p", 1.0))
    p /= p.sum()
    tokens = draw(np.tile(logits, (n, 1)), same(n, **options)).token
    share = np.bincount(tokens, minlength=12) / n
    assert (share[p == 0] == 0).all()
    error = np.sqrt(p * (1 - p) / n)
    assert (np.abs(share - p) <= 4.5 * error + 1e-12).all()


def test_greedy_takes_the_largest_whatever_the_seed() -> None:
    logits = np.random.default_rng(4).normal(size=(64, 40)).astype(np.float32)
    drawn = draw(logits, same(64, temperature=0.0))
    np.testing.assert_array_equal(drawn.token, logits.argmax(axis=1))


def test_a_tiny_temperature_is_greedy() -> None:
    logits = np.random.default_rng(4).normal(size=(64, 40)).astype(np.float32)
    drawn = draw(logits, same(64, temperature=1e-30))
    np.testing.assert_array_equal(drawn.token, logits.argmax(axis=1))


def test_logprobs_and_confidence_are_of_the_raw_distribution() -> None:
    logits = np.random.default_rng(5).normal(size=(30, 40)).astype(np.float32)
    drawn = draw(logits, same(30, temperature=3.0, top_k=4, confidence_k=5))
    logp = np.log([softmax(row) for row in logits])
    np.testing.assert_allclose(drawn.logprob, logp[np.arange(30), drawn.token], rtol=1e-4)
    np.testing.assert_allclose(drawn.confidence, -np.sort(logp)[:, -5:].mean(axis=1), rtol=1e-4)
    assert np.isnan(draw(logits, same(30)).confidence).all()


def test_streams_are_uniform_and_differ_by_seed_and_position() -> None:
    keys = np.array([stream(seed) for seed in range(200)], np.uint64)
    table = np.array([uniform(keys, np.full(200, i, np.uint64)) for i in range(200)])
    assert table.min() > 0
    assert table.max() < 1
    assert len(np.unique(table)) == table.size
    for axis in (None, 0, 1):  # mean 1/2, variance 1/12
        error = np.sqrt(1 / 12 / (table.size if axis is None else 200))
        assert (np.abs(table.mean(axis=axis) - 0.5) < 4.5 * error).all()
    assert stream(2**200) != stream(2**201)


# --- the prefix tree ---------------------------------------------------------------


def filled(config: Config, tokens: Sequence[int]) -> KV:
    """A cache whose content names the tokens: position i holds a digest of tokens[: i + 1]."""
    kv = KV(config)
    digests = [hash(tuple(tokens[: i + 1])) % 9973 for i in range(len(tokens))]
    shape = (config.layers, 2, config.kv_heads, len(tokens), config.head_dim)
    kv.append(np.broadcast_to(np.array(digests, np.float32)[:, None], shape))
    return kv


def test_the_tree_finds_the_longest_prefix_and_its_own_data(folder: Path) -> None:
    rng, config, cache = np.random.default_rng(0), Config.load(folder), PrefixCache(10**6)
    stored: list[list[int]] = []
    for _ in range(300):
        tokens = rng.integers(0, 3, rng.integers(1, 12)).tolist()
        longest = max((common(tokens, other) for other in stored), default=0)
        assert cache.match(tokens) == longest
        kv = KV(config)
        cache.load(tokens, kv)
        np.testing.assert_array_equal(
            kv.data[:, :, :, :longest], filled(config, tokens[:longest]).data[:, :, :, :longest]
        )
        cache.insert(tokens, filled(config, tokens))
        stored.append(tokens)
    prefixes = {tuple(tokens[:i]) for tokens in stored for i in range(1, len(tokens) + 1)}
    assert cache.size == len(prefixes)


def test_the_tree_drops_what_was_used_longest_ago(folder: Path) -> None:
    config, cache = Config.load(folder), PrefixCache(100)
    for i in range(10):
        tokens = [i] * 10
        cache.insert(tokens, filled(config, tokens))
        cache.match([0] * 10)
    assert cache.size == 100
    cache.insert([10], filled(config, [10]))
    assert cache.size <= 75
    assert cache.match([0] * 10) == 10
    assert cache.match([1] * 10) == 0
    assert cache.match([10]) == 1


# --- text --------------------------------------------------------------------------


def test_the_byte_table_decodes_as_the_tokenizer_does(folder: Path) -> None:
    from tokenizers import Tokenizer

    text, reference = Vocabulary(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    rng = np.random.default_rng(0)
    for _ in range(200):
        tokens = rng.integers(0, reference.get_vocab_size(), 30).tolist()
        assert text.decode(tokens) == reference.decode(tokens, skip_special_tokens=True)
    assert text.decode(text.encode("é ü 😀\n\nx")) == "é ü 😀\n\nx"


def test_the_chat_prompt_has_the_markers_as_tokens(folder: Path) -> None:
    text = Vocabulary(folder)
    start, end = text.token("<|im_start|>"), text.token("<|im_end|>")
    asked = Message("user", "user")
    plain = text.encode_chat((asked,))
    system = text.encode_chat((Message("system", "The answer"), asked))
    assert (plain.count(start), plain.count(end)) == (2, 1)
    assert (system.count(start), system.count(end)) == (3, 2)
    assert system[-len(plain) :] == plain
    with pytest.raises(ValueError, match="no token '<pad>'"):
        text.token("<pad>")
