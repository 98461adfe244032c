"""A Qwen2 transformer in NumPy whose numbers do not depend on who else is in the batch.

Letters: R rows (tokens computed in one pass, of any mix of sequences), E hidden size, H query
heads, G query heads per key head, D head size, P positions in a sequence's cache.

**One row, one result.** BLAS picks its kernels by matrix shape and treats the edges of a block
differently from its middle, so the last bits of a row's product change with the number of rows
and with the row's place among them (seen on OpenBLAS: Haswell kernels from 5 rows on). Here every
product has a shape that does not depend on the batch:

* Linear layers multiply fixed tiles of `TILES` rows; whether all places in a tile give the same
  bits is checked when a model is loaded, and smaller tiles are taken where they do not.
* Attention makes one vector product per row and head with that sequence's own cache, whose
  length is a multiple of `BUCKET`. Positions past the row's own contribute exact zeros, and sums
  over positions run in an order to which trailing zeros make no difference.
* All else works on single elements or sums over a row of constant length.

A row's numbers are therefore a function of its own sequence alone, bit for bit: alone or in
company, prefilled in one chunk or token by token, computed or copied from another sequence. Seen
to hold with OpenBLAS's SkylakeX, Haswell, Sandybridge, Nehalem and Katmai kernels. It holds on one
machine; another CPU's kernels round differently.

**Why NumPy.** 64 sequences of 128 tokens take 6 to 7 ms of one core a step, some 9,000 tokens a
second. ONNX Runtime takes half of that, but wants an exported graph and all caches in one block,
which continuous batching would have to copy together. A second BLAS thread could only help the
linear layers, a third of the time, and costs many times what it gives when the machine is busy.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]

TILES = (8, 4, 1)
"""Rows per matrix product, the fastest first."""

BUCKET = 64
"""Positions by which a cache grows."""


@dataclass(frozen=True, slots=True)
class Config:
    """What of a checkpoint's config.json the computation needs."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    """Largest number of positions of a sequence."""
    theta: float
    eps: float

    @classmethod
    def load(cls, folder: Path) -> Config:
        """Read config.json, as written by transformers before or after version 5."""
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if raw.get("model_type") != "qwen2":
            raise ValueError(f"{folder}: model_type is {raw.get('model_type')!r}, expected 'qwen2'")
        heads = raw["num_attention_heads"]
        rope = raw.get("rope_parameters") or {}
        return cls(
            layers=raw["num_hidden_layers"],
            hidden=raw["hidden_size"],
            heads=heads,
            kv_heads=raw.get("num_key_value_heads", heads),
            head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
            context=raw["max_position_embeddings"],
            theta=float(rope.get("rope_theta", raw.get("rope_theta", 10000.0))),
            eps=raw["rms_norm_eps"],
        )


class KV:
    """The keys and values of one sequence, for all layers.

    `data` [layers, 2, kv heads, P, D] has `length` positions filled; the rest is zero or stale
    but finite. `keys[layer]` and `values[layer]` are views of it in the shapes attention needs.
    """

    __slots__ = ("data", "keys", "length", "values")

    def __init__(self, config: Config) -> None:
        self.length = 0
        self._set(np.zeros((config.layers, 2, config.kv_heads, 0, config.head_dim), np.float32))

    def reserve(self, length: int) -> None:
        """Make room for `length` positions."""
        if length <= self.data.shape[3]:
            return
        layers, two, heads, _, dim = self.data.shape
        grown = np.zeros((layers, two, heads, -(-length // BUCKET) * BUCKET, dim), np.float32)
        grown[:, :, :, : self.length] = self.data[:, :, :, : self.length]
        self._set(grown)

    def append(self, data: FloatArray) -> None:
        """Copy positions [layers, 2, kv heads, n, D] that follow those already there."""
        end = self.length + data.shape[3]
        self.reserve(end)
        self.data[:, :, :, self.length : end] = data
        self.length = end

    def _set(self, data: FloatArray) -> None:
        self.data = data
        self.keys = [layer[0].transpose(0, 2, 1)[:, None] for layer in data]
        self.values = [layer[1][:, None] for layer in data]


class Span(NamedTuple):
    """Tokens to append to one sequence; their keys and values go to `kv`."""

    kv: KV
    tokens: Sequence[int]


class _Layer(NamedTuple):
    """Weights [in, out] of one block. Norm weights and the 1/sqrt(D) of attention are folded in."""

    qkv: FloatArray
    qkv_bias: FloatArray
    out: FloatArray
    gate_up: FloatArray
    down: FloatArray


class Linear:
    """Products of rows with a matrix, in tiles of a fixed number of rows."""

    def __init__(self, tile: int) -> None:
        self.tile = tile

    def pad(self, rows: int) -> int:
        """The number of rows to allocate for `rows`: a whole number of tiles."""
        return -(-rows // self.tile) * self.tile

    def __call__(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """`x` [R, in] times `weight` [in, out]; R is a multiple of the tile."""
        product: FloatArray = np.matmul(x.reshape(-1, self.tile, x.shape[1]), weight)
        return product.reshape(len(x), -1)

    def padded(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """The same for any R."""
        rows = np.zeros((self.pad(len(x)), x.shape[1]), np.float32)
        rows[: len(x)] = x
        return self(rows, weight)[: len(x)]


def steady_tile(weights: Sequence[FloatArray]) -> int:
    """The largest of `TILES` in which a row's product has the same bits at every place."""
    rng = np.random.default_rng(0)
    for tile in TILES:
        linear = Linear(tile)
        for shape in {w.shape: w for w in weights}.values():
            row = rng.standard_normal((1, shape.shape[0]), np.float32)
            product = linear(np.repeat(row, tile, axis=0), shape)
            if not (product == product[0]).all():
                break
        else:
            return tile
    raise AssertionError("unreachable: a tile of one row has one place")


class Transformer:
    """The blocks of a Qwen2 model, from token ids to normalised hidden states.

    `weights` are those of the checkpoint by name, `context` limits the length of a sequence.
    Safe to call from several threads with different caches.
    """

    def __init__(self, config: Config, weights: Mapping[str, FloatArray]) -> None:
        self.config = config
        self.embedding = weights["model.embed_tokens.weight"]
        self.final_norm = weights["model.norm.weight"]
        self._layers = [_layer(config, weights, i) for i in range(config.layers)]
        self._cos, self._sin = _rotary(config)
        one_blas_thread()
        matrices = [w for layer in self._layers for w in layer if w.ndim == 2]
        self.linear = Linear(steady_tile([*matrices, np.ascontiguousarray(self.embedding.T)]))

    def forward(self, spans: Sequence[Span]) -> FloatArray:
        """Append each span's tokens to its cache; hidden states [R, E] of all rows in order.

        They are normalised but not yet scaled by `final_norm`, which heads fold into their weights.
        """
        tokens = np.concatenate([np.asarray(span.tokens, np.intp) for span in spans])
        batch = _Batch(self.config, self.linear.pad(len(tokens)), spans)
        x = np.zeros((batch.rows, self.config.hidden), np.float32)
        x[: len(tokens)] = self.embedding[tokens]
        cos, sin = self._cos[batch.positions], self._sin[batch.positions]
        for index, layer in enumerate(self._layers):
            qkv = self.linear(self._normalise(x), layer.qkv) + layer.qkv_bias
            x += self.linear(batch.attend(index, qkv, cos, sin), layer.out)
            x += self.linear(_swiglu(self.linear(self._normalise(x), layer.gate_up)), layer.down)
        for span in spans:
            span.kv.length += len(span.tokens)
        return self._normalise(x)[: len(tokens)]

    def _normalise(self, x: FloatArray) -> FloatArray:
        """Root mean square norm of rows, without the weight."""
        power = np.mean(np.square(x), axis=1, keepdims=True)
        normal: FloatArray = x / np.sqrt(power + np.float32(self.config.eps))
        return normal


class _Batch:
    """Attention for the rows of one pass: who owns which rows, and buffers for all layers."""

    def __init__(self, config: Config, rows: int, spans: Sequence[Span]) -> None:
        self.config, self.rows = config, rows
        heads, group, dim = config.kv_heads, config.heads // config.kv_heads, config.head_dim
        for span in spans:
            span.kv.reserve(span.kv.length + len(span.tokens))
        longest = max(span.kv.data.shape[3] for span in spans)
        self.positions = np.zeros(rows, np.intp)
        self.query = np.zeros((rows, heads, group, 1, dim), np.float32)
        self.scores = np.zeros((rows, heads, group, 1, longest), np.float32)
        self.mixed = np.zeros((rows, heads, group, 1, dim), np.float32)
        # Views of the buffers and caches, made once for all layers: (rows, their cache).
        self.owners = []
        start = 0
        for kv, tokens in spans:
            mine, first, size = slice(start, start + len(tokens)), kv.length, kv.data.shape[3]
            self.positions[mine] = np.arange(first, first + len(tokens))
            scores = self.scores[mine, ..., :size]
            self.owners.append((kv, mine, first, self.query[mine], scores, self.mixed[mine]))
            start += len(tokens)
        seen = np.arange(longest) <= self.positions[:, None]
        self.mask = np.where(seen, np.float32(0), np.float32(-np.inf))[:, None, None, None]

    def attend(self, layer: int, qkv: FloatArray, cos: FloatArray, sin: FloatArray) -> FloatArray:
        """Store keys and values of the rows, return the attended values [R, H * D]."""
        c = self.config
        parts = qkv.reshape(self.rows, c.heads + 2 * c.kv_heads, c.head_dim)
        _rotate(parts[:, : c.heads + c.kv_heads], cos[:, None], sin[:, None])
        self.query[:] = parts[:, : c.heads].reshape(self.query.shape)
        fresh = parts[:, c.heads :].reshape(self.rows, 2, c.kv_heads, c.head_dim)
        for kv, mine, first, query, scores, _ in self.owners:
            end = first + len(query)
            kv.data[layer, :, :, first:end] = fresh[mine].transpose(1, 2, 0, 3)
            np.matmul(query, kv.keys[layer], out=scores)
        weights = self._softmax()
        for kv, _, _, _, scores, mixed in self.owners:
            np.matmul(scores, kv.values[layer], out=mixed)
        self.mixed /= weights[..., None, None]
        return self.mixed.reshape(self.rows, -1)

    def _softmax(self) -> FloatArray:
        """Turn scores into unnormalised weights, in place; returns their sums."""
        s = self.scores
        s += self.mask
        s -= s.max(axis=-1, keepdims=True)
        np.exp(s, out=s)
        # Block by block, then within the block: trailing zero blocks change nothing.
        sums: FloatArray = s.reshape(*s.shape[:-2], -1, BUCKET).sum(axis=-2).sum(axis=-1)
        return sums


def _rotate(x: FloatArray, cos: FloatArray, sin: FloatArray) -> None:
    """Rotary embedding in place; the two halves of the last axis [.., D] are the pairs."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    turned = b * cos
    turned += a * sin
    a *= cos
    a -= b * sin
    b[:] = turned


def _swiglu(x: FloatArray) -> FloatArray:
    """silu(gate) * up for rows [gate, up]."""
    half = x.shape[1] // 2
    gate, up = x[:, :half], x[:, half:]
    # exp overflows to inf for very negative gates, and the quotient to the right limit, 0.
    with np.errstate(over="ignore"):
        product: FloatArray = gate / (1 + np.exp(-gate)) * up
    return product


def _rotary(config: Config) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines [context, D / 2], computed in float32 as transformers does."""
    exponent = np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim
    frequency = (1.0 / config.theta**exponent).astype(np.float32)
    angle = np.arange(config.context, dtype=np.float32)[:, None] * frequency
    return np.cos(angle), np.sin(angle)


def _layer(config: Config, weights: Mapping[str, FloatArray], index: int) -> _Layer:
    """Fuse and fold the weights of one block."""

    def get(name: str) -> FloatArray:
        return weights[f"model.layers.{index}.{name}"]

    def fuse(norm: str, *names: str) -> FloatArray:
        stacked = np.concatenate([get(f"{name}.weight") for name in names])
        return np.ascontiguousarray((stacked * get(f"{norm}.weight")).T)

    qkv = fuse("input_layernorm", *(f"self_attn.{p}_proj" for p in "qkv"))
    bias = np.concatenate([get(f"self_attn.{p}_proj.bias") for p in "qkv"])
    queries = config.heads * config.head_dim
    scale = np.float32(config.head_dim**-0.5)
    qkv[:, :queries] *= scale
    bias[:queries] *= scale
    return _Layer(
        qkv=qkv,
        qkv_bias=bias,
        out=np.ascontiguousarray(get("self_attn.o_proj.weight").T),
        gate_up=fuse("post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj"),
        down=np.ascontiguousarray(get("mlp.down_proj.weight").T),
    )


class LanguageHead:
    """Logits of the next token."""

    def __init__(self, model: Transformer, weights: Mapping[str, FloatArray]) -> None:
        embedding = weights.get("lm_head.weight", model.embedding)
        self._weight = np.ascontiguousarray((embedding * model.final_norm).T)
        self._linear = model.linear

    def __call__(self, hidden: FloatArray) -> FloatArray:
        """Hidden states [n, E] to logits [n, vocab]."""
        return self._linear.padded(hidden, self._weight)


class StepHead:
    """Probability that the step before a marker is good."""

    def __init__(self, model: Transformer, weights: Mapping[str, FloatArray]) -> None:
        self._first = np.ascontiguousarray((weights["score.0.weight"] * model.final_norm).T)
        self._first_bias = weights["score.0.bias"]
        # Of two classes only the difference of the logits matters.
        (bad, good), (bad_bias, good_bias) = weights["score.2.weight"], weights["score.2.bias"]
        self._second, self._second_bias = good - bad, good_bias - bad_bias
        self._linear = model.linear

    def __call__(self, hidden: FloatArray) -> FloatArray:
        """Hidden states [n, E] at markers to probabilities [n]."""
        inner = np.maximum(self._linear.padded(hidden, self._first) + self._first_bias, 0)
        logit = np.sum(inner * self._second, axis=1) + self._second_bias
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


def load_weights(folder: Path) -> dict[str, FloatArray]:
    """Tensors of model.safetensors by name, as float32."""
    from safetensors.numpy import load_file

    tensors: dict[str, Any] = load_file(folder / "model.safetensors")
    return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}


def one_blas_thread() -> None:
    """Hold the BLAS of this process to one thread, from now on.

    Tiles are too small to share, waiting for a busy second core costs far more than it gives,
    and how BLAS splits a product over threads shows in the last bits.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # threadpoolctl leaves OpenBLAS to the first thread that sets it, for as long as that lives.
    setter = threading.Thread(target=lambda: threadpool_limits(1, user_api="blas"))
    setter.start()
    setter.join()
