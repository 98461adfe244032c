"""The network of `nano` in torch, with the names and the format of Qwen2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

LM_LAYERS, PRM_LAYERS = 4, 6
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>")


@dataclass(frozen=True)
class Shape:
    """Sizes of the network, in numbers of features, layers and positions."""

    vocab: int = 640
    hidden: int = 160
    layers: int = LM_LAYERS
    heads: int = 5
    inner: int = 448
    positions: int = 1024
    theta: float = 10000.0
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        """Features per attention head."""
        return self.hidden // self.heads


def chat(question: str) -> str:
    """The ChatML prompt that asks for a solution of `question`."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def pad(rows: Sequence[list[int]], value: int = 0) -> Tensor:
    """Rows of different lengths as one [batch, longest] tensor, padded on the right."""
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


class Cache:
    """Keys and values per layer, [rows, heads, capacity, dim], and `lengths` in positions.

    Rows start at position 0.  The first pass fills the prompts (padded on the right);
    every later pass adds one position per row.
    """

    def __init__(self, lengths: Tensor, capacity: int) -> None:
        self.lengths, self.capacity, self.ready = lengths, capacity, False
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store the new keys and values and attend to all up to the own position."""
        if not self.ready:
            room = (0, 0, 0, self.capacity - k.shape[2])
            self.keys.append(F.pad(k, room))
            self.values.append(F.pad(v, room))
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        rows, used = torch.arange(len(q)), int(self.lengths.max()) + 1
        keys, values = self.keys[layer], self.values[layer]
        keys[rows, :, self.lengths] = k[:, :, 0]
        values[rows, :, self.lengths] = v[:, :, 0]
        seen = (torch.arange(used) <= self.lengths[:, None])[:, None, None]
        return F.scaled_dot_product_attention(q, keys[:, :, :used], values[:, :, :used], seen)

    def keep(self, rows: Tensor) -> None:
        """Keep these rows, in this order; a row may be repeated."""
        self.keys = [keys.index_select(0, rows) for keys in self.keys]
        self.values = [values.index_select(0, rows) for values in self.values]
        self.lengths = self.lengths[rows]


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__()
        self.index, self.heads, self.dim = index, shape.heads, shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, shape.hidden)
        self.k_proj = nn.Linear(shape.hidden, shape.hidden)
        self.v_proj = nn.Linear(shape.hidden, shape.hidden)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], cache: Cache | None) -> Tensor:
        """[batch, length, hidden] to the same; with a cache, one new position per row."""
        batch, length, _ = x.shape
        q, k, v = (
            project(x).view(batch, length, self.heads, self.dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = _rotate(q, rope), _rotate(k, rope)
        if cache is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = cache.attend(self.index, q, k, v)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


def _rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding of [batch, heads, length, dim]."""
    cos, sin = rope
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class MLP(nn.Module):
    """The gated feed-forward block."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.down_proj = nn.Linear(shape.inner, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] to [..., hidden]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__()
        self.self_attn = Attention(shape, index)
        self.mlp = MLP(shape)
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=shape.eps)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=shape.eps)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], cache: Cache | None) -> Tensor:
        """[batch, length, hidden] to the same."""
        x = x + self.self_attn(self.input_layernorm(x), rope, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    """Token ids to hidden states; names match `Qwen2Model`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape, i) for i in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.eps)
        half = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        angles = torch.arange(shape.positions)[:, None] / shape.theta**half
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """[batch, length] ids to [batch, length, hidden] states."""
        rope = (self.cos[: ids.shape[1]], self.sin[: ids.shape[1]])
        if cache is not None and cache.ready:
            at = cache.lengths
            rope = (self.cos[at][:, None, None], self.sin[at][:, None, None])
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, rope, cache)
        return self.norm(x)


class LM(nn.Module):
    """Causal language model with tied embeddings; names match `Qwen2ForCausalLM`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = Backbone(shape)
        self.apply(init)

    def logits(self, states: Tensor) -> Tensor:
        """[..., hidden] to [..., vocab]."""
        return F.linear(states, self.model.embed_tokens.weight)


def init(module: nn.Module) -> None:
    """Normal weights of standard deviation 0.02 (linear: 1/sqrt(fan in) / 2), zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.5 / math.sqrt(module.in_features))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
