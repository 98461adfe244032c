"""Train the embedded model `nano`: tokenizer, language model and process reward model.

Stages (each reads what the ones before it wrote below ``--work``)::

    python -m evals.train_nano tokenizer   # byte-level BPE on generated text
    python -m evals.train_nano lm          # language model, snapshots on the way
    python -m evals.train_nano rollouts    # samples of the LM with exact step labels
    python -m evals.train_nano prm         # process reward model on the rollouts
    python -m evals.train_nano eval        # pass@k, majority, best-of-n, AUROC
    python -m evals.train_nano all

Weights are written in the Hugging Face layout (Qwen2, float32).  Data, seeds and
order are fixed; on one machine with the same number of threads a run repeats.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evals.nano import (
    STEP_BREAK,
    NanoProblem,
    carry,
    gold_equations,
    problem,
    problems,
    slip,
    solution,
    step_labels,
)

STAGES = ("tokenizer", "lm", "rollouts", "prm", "eval", "export")
LM_LAYERS, PRM_LAYERS = 4, 6
SCALE = 0.05  # factor of the residual stream in the LM part of the PRM
LM_PLAN = ((1600, 2400), (1800, 1800))  # (until this step, length of the schedule)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>")
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


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


# --- tokenizer ---------------------------------------------------------------------


def train_tokenizer(size: int, n: int = 20000) -> Tokenizer:
    """A byte-level BPE of `size` tokens with the pre-tokenizer of Qwen2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_plain_texts(n), trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIALS]
    )
    return tokenizer


def _plain_texts(n: int) -> Iterator[str]:
    """Roles, questions and solutions as raw text."""
    for i in range(n):
        item = problem("train", i)
        yield f"user\n{item.question}"
        yield f"assistant\n{solution(item, random.Random(item.id))}"


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """tokenizer.json, vocab.json, merges.txt and the configuration files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    end, start, stop, mark = SPECIALS
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token in SPECIALS
    }
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": added,
        "additional_special_tokens": [start, stop, mark],
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": stop,
        "pad_token": end,
        "unk_token": None,
        "errors": "replace",
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
        "chat_template": CHAT_TEMPLATE,
    }
    special = {
        "eos_token": stop,
        "pad_token": end,
        "additional_special_tokens": [start, stop, mark],
    }
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "special_tokens_map.json", special)


def _write_json(path: Path, value: Any) -> None:
    """Indented JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# --- network -----------------------------------------------------------------------


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
        self.apply(_init)

    def logits(self, states: Tensor) -> Tensor:
        """[..., hidden] to [..., vocab]."""
        return F.linear(states, self.model.embed_tokens.weight)


def _init(module: nn.Module) -> None:
    """Normal weights of standard deviation 0.02 (linear: 1/sqrt(fan in) / 2), zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.5 / math.sqrt(module.in_features))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


# --- optimiser ---------------------------------------------------------------------


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Newton-Schulz), for weight matrices."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # noqa: ARG002
        """One update of all matrices."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = _orthogonal(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def _orthogonal(g: Tensor, steps: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrix, by a quintic Newton-Schulz iteration."""
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def optimisers(
    net: nn.Module, muon_lr: float, adam_lr: float, kept: int = 0
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else.

    The first `kept` layers, which are trained already, move at a quarter of the rate.
    """
    old = tuple(f"model.layers.{i}." for i in range(kept))
    named = [(n, p) for n, p in net.named_parameters() if p.ndim == 2 and ".layers." in n]
    chosen = {id(p) for _, p in named}
    others = [p for p in net.parameters() if id(p) not in chosen]
    groups = [
        {"params": [p for n, p in named if not n.startswith(old)], "lr": muon_lr},
        {"params": [p for n, p in named if n.startswith(old)], "lr": muon_lr / 4},
    ]
    table = [p for n, p in net.named_parameters() if "embed_tokens" in n]
    rest = [p for p in others if p is not table[0]]
    free = [{"params": rest}, {"params": table, "lr": adam_lr * (SCALE if kept else 1.0)}]
    adam = torch.optim.AdamW(free, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    return [Muon([group for group in groups if group["params"]], lr=muon_lr), adam]


def set_rate(opts: Sequence[torch.optim.Optimizer], scale: float) -> None:
    """Set every learning rate to `scale` times its first value."""
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = group.setdefault("base", group["lr"]) * scale


def schedule(step: int, total: int, warm: int = 100, decay: float = 0.5) -> float:
    """Warm up, stay, then fall linearly to 3 % over the last `decay` share of the run."""
    falling = (total - step) / max(1, decay * total)
    return min(1.0, (step + 1) / warm, max(0.03, falling))


# --- language model ----------------------------------------------------------------


def lm_rate(step: int) -> float:
    """The scale of the learning rates: a long schedule, cut short by a quick cool-down."""
    return schedule(step, next(total for until, total in LM_PLAN if step < until))


def lm_rows(tokenizer: Tokenizer, first: int, n: int) -> list[tuple[list[int], int]]:
    """Training rows `first` ... : (ids, length of the prompt), from fresh problems."""
    items = [problem("train", i, 1) for i in range(first, first + n)]
    prompts = tokenizer.encode_batch([chat(item.question) for item in items])
    texts = [solution(item, random.Random(item.id)) + SPECIALS[2] for item in items]
    answers = tokenizer.encode_batch(texts)
    return [(p.ids + a.ids, len(p.ids)) for p, a in zip(prompts, answers, strict=True)]


def pad(rows: Sequence[list[int]], value: int = 0) -> Tensor:
    """Rows of different lengths as one [batch, longest] tensor, padded on the right."""
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def lm_batches(
    tokenizer: Tokenizer, start: int, total: int, size: int, pool: int = 10
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (ids, targets), both [size, length]; targets are -100 outside completions.

    `pool` batches are drawn at a time and sorted by length to save padding.
    """
    for block in range(start // pool, -(-total // pool)):
        rows = sorted(
            lm_rows(tokenizer, block * pool * size, pool * size), key=lambda row: len(row[0])
        )
        groups = [rows[i * size : (i + 1) * size] for i in range(pool)]
        random.Random(block).shuffle(groups)
        for group in groups:
            ids = pad([row for row, _ in group])
            targets = pad([[-100] * (cut - 1) + row[cut:] + [-100] for row, cut in group], -100)
            yield ids, targets


def lm_loss(net: LM, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over completion tokens, in nats."""
    with torch.autocast("cpu", torch.bfloat16):
        states = net.model(ids)
        wanted = targets >= 0
        return F.cross_entropy(net.logits(states[wanted]), targets[wanted])


def train_lm(work: Path, steps: int, size: int) -> None:
    """Train (or resume) the language model; a snapshot every 200 steps."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
    torch.manual_seed(0)
    net = LM(Shape(vocab=tokenizer.get_vocab_size()))
    opts = optimisers(net, muon_lr=0.02, adam_lr=4e-3)
    start, state_file = 0, work / "lm_state.pt"
    if state_file.exists():
        state = torch.load(state_file)
        start = state["step"]
        net.load_state_dict(state["net"])
        for opt, saved in zip(opts, state["opts"], strict=True):
            opt.load_state_dict(saved)
    loss_of = torch.compile(lm_loss, dynamic=True)
    began, tokens = time.time(), 0
    for step, (ids, targets) in enumerate(lm_batches(tokenizer, start, steps, size), start):
        set_rate(opts, lm_rate(step))
        loss = loss_of(net, ids, targets)
        loss.backward()
        for opt in opts:
            opt.step()
            opt.zero_grad()
        tokens += ids.numel()
        if step % 20 == 0:
            print(
                f"step {step} loss {loss.item():.4f} s {time.time() - began:.0f} tokens {tokens}",
                flush=True,
            )
        if (step + 1) % 100 == 0:
            state = {
                "step": step + 1,
                "net": net.state_dict(),
                "opts": [opt.state_dict() for opt in opts],
            }
            torch.save(state, state_file)
        if (step + 1) % 200 == 0:
            save_file(net.state_dict(), str(work / f"lm_{step + 1:05d}.safetensors"))


# --- sampling ----------------------------------------------------------------------


@torch.no_grad()
def sample(
    net: LM, prompts: Sequence[list[int]], repeats: int, stop: int, seed: int, longest: int = 320
) -> list[list[list[int]]]:
    """`repeats` completions (ids, without the stop token) of every prompt at temperature 1."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    cache = Cache(lengths, int(lengths.max()) + longest)
    states = net.model(pad(prompts), cache)[torch.arange(len(prompts)), lengths - 1]
    cache.ready = True
    rows = torch.arange(len(prompts)).repeat_interleave(repeats)
    cache.keep(rows)
    states, names = states[rows], torch.arange(len(rows))
    texts: list[list[int]] = [[] for _ in rows]
    ended = torch.zeros(len(rows), dtype=torch.bool)
    for _ in range(longest):
        chosen = torch.multinomial(net.logits(states).softmax(-1), 1, generator=generator)[:, 0]
        ended = ended | (chosen == stop)
        going = (~ended).nonzero()[:, 0]
        if len(going) == 0:
            break
        for row, token in zip(names[going].tolist(), chosen[going].tolist(), strict=True):
            texts[row].append(token)
        if len(going) < 0.8 * len(names):
            cache.keep(going)
            names, chosen, ended = names[going], chosen[going], ended[going]
        states = net.model(chosen[:, None], cache)[:, 0]
        cache.lengths = cache.lengths + 1
    return [texts[i : i + repeats] for i in range(0, len(texts), repeats)]


def complete(
    net: LM, tokenizer: Tokenizer, items: Sequence[NanoProblem], repeats: int, seed: int
) -> list[list[str]]:
    """`repeats` sampled solution texts of every problem, about 512 at a time."""
    prompts = [
        encoding.ids for encoding in tokenizer.encode_batch([chat(i.question) for i in items])
    ]
    order = sorted(range(len(items)), key=lambda i: len(prompts[i]))
    stop, size = tokenizer.token_to_id(SPECIALS[2]), max(1, 512 // repeats)
    texts: list[list[str]] = [[] for _ in items]
    for at in range(0, len(order), size):
        group = order[at : at + size]
        rows = sample(net, [prompts[i] for i in group], repeats, stop, seed + at)
        for i, row in zip(group, rows, strict=True):
            texts[i] = tokenizer.decode_batch(row, skip_special_tokens=True)
    return texts


def make_rollouts(work: Path, n: int, repeats: int, first: int = 0) -> None:
    """Write rollouts.jsonl: {"index", "text", "labels"} for `n` training problems."""
    tokenizer, net = load_tokenizer(work), load_lm(work)
    with (work / "rollouts.jsonl").open("a", encoding="utf-8") as out:
        for start in range(first, first + n, 1024):
            indices = range(start, min(start + 1024, first + n))
            items = [problem("train", i, 2) for i in indices]
            texts = complete(net, tokenizer, items, repeats, seed=start)
            for i, item, row in zip(indices, items, texts, strict=True):
                for text in row:
                    out.write(
                        json.dumps({"index": i, "text": text, "labels": step_labels(item, text)})
                        + "\n"
                    )


# --- process reward model ----------------------------------------------------------


class PRM(nn.Module):
    """Backbone and two-class head; names match vLLM's `Qwen2ForProcessRewardModel`.

    Two layers more than the LM: one to compare every token with what the LM part expects
    there, one to gather the findings at the marks.  They start as the identity, and the
    first head of the comparing layer starts by looking at the position before.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = Backbone(shape)
        self.score = nn.Sequential(
            nn.Linear(shape.hidden, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, 2)
        )
        self.apply(_init)
        for layer in self.model.layers[LM_LAYERS:]:
            nn.init.zeros_(layer.self_attn.o_proj.weight)
            nn.init.zeros_(layer.mlp.down_proj.weight)
        look_back(self.model.layers[LM_LAYERS].self_attn, shape)

    def forward(self, ids: Tensor, marks: Tensor) -> Tensor:
        """Class scores [marked positions, 2] of ids and a mask, both [batch, length]."""
        return self.score(self.model(ids)[marks])

    def parts(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States after the LM part, the comparing and the gathering layer."""
        model, rope = self.model, (self.model.cos[: ids.shape[1]], self.model.sin[: ids.shape[1]])
        x = model.embed_tokens(ids)
        for layer in model.layers[:LM_LAYERS]:
            x = layer(x, rope, None)
        compared = model.layers[LM_LAYERS](x, rope, None)
        gathered = model.layers[LM_LAYERS + 1](compared, rope, None)
        return model.norm(x), compared, model.norm(gathered)


@torch.no_grad()
def look_back(attention: Attention, shape: Shape, strength: float = 8.0) -> None:
    """Make the first head attend to the position before, through its biases."""
    half = shape.head_dim // 2
    turn = shape.theta ** (-torch.arange(half) / half)
    wave = strength * (torch.arange(half) < 8)
    attention.q_proj.weight[: 2 * half] = 0
    attention.k_proj.weight[: 2 * half] = 0
    attention.q_proj.bias[: 2 * half] = torch.cat((wave, 0 * wave))
    attention.k_proj.bias[: 2 * half] = torch.cat((wave * turn.cos(), wave * turn.sin()))


def steps_of(text: str) -> list[str]:
    """The stripped steps of a solution, none of them empty."""
    return [step.strip() for step in text.strip().split(STEP_BREAK)]


def prm_text(question: str, text: str) -> str:
    """The input of the PRM: prompt, then every stripped step followed by its mark."""
    return chat(question) + "".join(step + SPECIALS[3] for step in steps_of(text))


def corrupted(item: NanoProblem, rng: random.Random) -> str:
    """A solution with one slip, lost number or misread number that is carried to the end."""
    gold = gold_equations(item)
    bad = rng.randrange(len(gold))
    old, kind = gold[bad], rng.random()
    if kind < 0.7:
        said = [slip(old, rng)]
        wrong = {old.value: said[0].value}
    elif kind < 0.85:
        said, wrong = [], {old.value: old.left}
    else:
        said = carry([old], {old.right: rng.choice(gold).right})
        wrong = {old.value: said[0].value} if said else {}
    equations = [*gold[:bad], *said, *carry(gold[bad + 1 :], wrong)]
    last = equations[-1].value if equations else old.left
    words = rng.choice(("", "", "Then ", "Next, "))
    steps = [f"{words if i else ''}{equation}." for i, equation in enumerate(equations)]
    return STEP_BREAK.join([*steps, rf"The answer is \boxed{{{last}}}."])


Row = tuple[list[int], list[int], list[bool]]  # per position: id, label or -100, right step


def prm_rows(tokenizer: Tokenizer, pairs: Sequence[tuple[NanoProblem, str]]) -> list[Row]:
    """Encoded PRM inputs with exact labels at the marks and inside the steps.

    Inside a step the tokens of its equation are labelled 1 up to the first one that no
    right equation has, and 0 from there on: the network learns where a step goes wrong.
    Steps that follow a wrong one are labelled at their mark alone.  The last list says
    which tokens belong to right steps, marks excluded.
    """
    mark = tokenizer.token_to_id(SPECIALS[3])
    inputs = tokenizer.encode_batch([prm_text(item.question, text) for item, text in pairs])
    rows = []
    for (item, text), encoding in zip(pairs, inputs, strict=True):
        labels, steps = step_labels(item, text), steps_of(text)
        right = right_texts(item)
        judged, good = [-100] * len(encoding.ids), [False] * len(encoding.ids)
        at, start, begin, split, before = 0, len(chat(item.question)), 0, 0, 1
        fresh = True
        for i, (first, last) in enumerate(encoding.offsets):
            if first < start:
                continue
            if fresh:
                begin, split = agreement(steps[at], right)
                before, fresh = labels[at - 1] if at else 1, False
            if encoding.ids[i] == mark:
                judged[i] = labels[at]
                start, at, fresh = last, at + 1, True
                continue
            good[i] = labels[at] == 1
            if before and first - start >= begin:
                judged[i] = int(labels[at] == 1 or last - start <= split)
        rows.append((encoding.ids, judged, good))
    return rows


def right_texts(item: NanoProblem) -> list[str]:
    """Everything a right step may state: the gold equations, either way round, and the answer."""
    gold = gold_equations(item)
    turned = [replace(g, left=g.right, right=g.left) for g in gold if g.op != "-"]
    return [*(f"{equation}." for equation in (*gold, *turned)), item.steps[-1]]


def agreement(step: str, right: Sequence[str]) -> tuple[int, int]:
    """Where the statement of a step begins and how far a right text has it, in characters."""
    begin = 0
    for word in ("Wait, that is wrong. ", "Start with ", "First, ", "Then ", "Next, "):
        begin += len(word) if step[begin:].startswith(word) else 0
    said = step[begin:]
    return begin, begin + max(len(commonprefix((said, text))) for text in right)  # noqa: RUF071


def trim(item: NanoProblem, text: str, rng: random.Random) -> str:
    """Drop most of what follows the first wrong step, which is labelled 0 anyhow."""
    labels, steps = step_labels(item, text), steps_of(text)
    if 0 not in labels or 1 in labels[labels.index(0) :] or rng.random() < 0.2:
        return text
    return STEP_BREAK.join(steps[: labels.index(0) + 1 + (rng.random() < 0.3)])


def made_up(first: int, n: int) -> list[tuple[NanoProblem, str]]:
    """Fresh problems `first` ... with a training trace (1 in 3) or a corrupted solution."""
    pairs = []
    for i in range(first, first + n):
        item = problem("train", i, 3)
        rng = random.Random(item.id)
        pairs.append((item, solution(item, rng) if i % 3 == 0 else corrupted(item, rng)))
    return pairs


def drills(tokenizer: Tokenizer, first: int, n: int, length: int = 8) -> list[Row]:
    """Rows of unrelated equations under an empty question, half of them false.

    Here every mark tells whether its own equation is true, so that each row holds many
    examples of what a false equation looks like.
    """
    head, mark = tokenizer.encode(chat("")).ids, tokenizer.encode(SPECIALS[3]).ids
    rows = []
    for i in range(first, first + n):
        rng = random.Random(f"drill:{i}")
        ids, judged, good = list(head), [-100] * len(head), [False] * len(head)
        pool = [g for j in range(4) for g in gold_equations(problem("train", 4 * i + j, 4))]
        for gold in rng.sample(pool, min(length, len(pool))):
            said = replace(gold if rng.random() < 0.5 else slip(gold, rng), owner="")
            right = f"{replace(gold, owner='')}."
            encoding = tokenizer.encode(f"{said}.")
            split = len(commonprefix((f"{said}.", right)))  # noqa: RUF071
            true = said.value == gold.value
            ids += encoding.ids + mark
            judged += [*(int(true or last <= split) for _, last in encoding.offsets), int(true)]
            good += [*(true for _ in encoding.ids), False]
        rows.append((ids, judged, good))
    return rows


def prm_batches(
    work: Path, tokenizer: Tokenizer, steps: int, size: int, pool: int = 10
) -> Iterator[list[Row]]:
    """Batches of rows: a third each of rollouts (repeated), made-up solutions and drills."""
    rng, third = random.Random(0), pool * size // 3
    queue: list[str] = []
    lines = (work / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()
    for block in range(-(-steps // pool)):
        while len(queue) < third:
            queue += rng.sample(lines, len(lines))
        records = [json.loads(queue.pop()) for _ in range(third)]
        pairs = [(problem("train", record["index"], 2), record["text"]) for record in records]
        pairs += made_up(block * third, third)
        rows = prm_rows(tokenizer, [(item, trim(item, text, rng)) for item, text in pairs])
        rest = pool * size - len(rows)
        rows += drills(tokenizer, block * rest, rest)
        rows.sort(key=lambda row: len(row[0]))
        groups = [rows[i * size : (i + 1) * size] for i in range(pool)]
        rng.shuffle(groups)
        yield from groups


@torch.no_grad()
def rescale(net: PRM) -> None:
    """Shrink the residual stream of the LM part, so that what the new layers write counts.

    Every layer reads the stream through a norm, so nothing else changes.
    """
    net.model.embed_tokens.weight.mul_(SCALE)
    for layer in net.model.layers[:LM_LAYERS]:
        layer.self_attn.o_proj.weight.mul_(SCALE)
        layer.mlp.down_proj.weight.mul_(SCALE)


def prm_losses(
    net: PRM, probe: nn.Linear, ids: Tensor, marks: Tensor, judged: Tensor, good: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four mean losses in nats: at the marks, inside the steps, of the comparison, of the LM part.

    The comparing layer has to know how likely the LM part finds every token, and the LM
    part is kept a language model of right steps.  `good` marks the tokens of right steps.
    """
    with torch.autocast("cpu", torch.bfloat16):
        expected, compared, gathered = net.parts(ids)
        inside = (judged >= 0) & ~marks
        at_marks = F.cross_entropy(net.score(gathered[marks]).float(), judged[marks])
        at_tokens = F.cross_entropy(net.score(gathered[inside]).float(), judged[inside])
        told, good = inside[:, 1:], good[:, 1:]
        wanted = good | told
        table = net.model.embed_tokens.weight / SCALE
        logits = F.linear(expected[:, :-1][wanted], table).float()
        lost = F.cross_entropy(logits, ids[:, 1:][wanted], reduction="none")
        compared = F.rms_norm(compared, compared.shape[-1:])
        guess = probe(compared[:, 1:][told])[:, 0].float()
        surprise = F.smooth_l1_loss(guess, lost.detach()[told[wanted]].clamp(max=6.0))
        return at_marks, at_tokens, surprise, lost[good[wanted]].mean()


def train_prm(work: Path, steps: int, size: int, start_from: Path) -> None:
    """Train the PRM from the weights of a language model; a snapshot every 100 steps."""
    tokenizer = load_tokenizer(work)
    mark = tokenizer.token_to_id(SPECIALS[3])
    torch.manual_seed(1)
    shape = Shape(tokenizer.get_vocab_size(), layers=PRM_LAYERS)
    net, probe = PRM(shape), nn.Linear(shape.hidden, 1)
    net.load_state_dict(load_file(str(start_from)), strict=False)
    rescale(net)
    opts = optimisers(net, muon_lr=0.02, adam_lr=2e-3, kept=LM_LAYERS)
    opts.append(torch.optim.AdamW(probe.parameters(), lr=1e-2))
    losses_of = torch.compile(prm_losses, dynamic=True)
    began = time.time()
    for step, rows in enumerate(prm_batches(work, tokenizer, steps, size)):
        set_rate(opts, schedule(step, steps, warm=40))
        ids, judged = pad([row[0] for row in rows]), pad([row[1] for row in rows], -100)
        good = pad([[int(x) for x in row[2]] for row in rows]) > 0
        losses = losses_of(net, probe, ids, ids == mark, judged, good)
        torch.stack(losses).sum().backward()
        for opt in opts:
            opt.step()
            opt.zero_grad()
        if step % 20 == 0:
            shown = " ".join(f"{loss.item():.4f}" for loss in losses)
            print(f"step {step} losses {shown} s {time.time() - began:.0f}", flush=True)
        if (step + 1) % 100 == 0 or step + 1 == steps:
            weights = {name: value.half() for name, value in net.state_dict().items()}
            save_file(weights, str(work / "prm.safetensors"))


@torch.no_grad()
def score(net: PRM, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
    """Probability that each step is right, for (question, solution text) pairs."""
    mark = tokenizer.token_to_id(SPECIALS[3])
    rows = [e.ids for e in tokenizer.encode_batch([prm_text(*pair) for pair in pairs])]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    result: list[list[float]] = [[] for _ in rows]
    for at in range(0, len(order), 256):
        group = order[at : at + 256]
        ids = pad([rows[i] for i in group])
        good = net(ids, ids == mark).softmax(-1)[:, 1].tolist()
        for i in group:
            count = len(steps_of(pairs[i][1]))
            result[i], good = good[:count], good[count:]
    return result


# --- evaluation --------------------------------------------------------------------


def boxed(text: str) -> str | None:
    """The last boxed number of a solution."""
    found = re.findall(r"\\boxed\{(\d+)\}", text)
    return found[-1] if found else None


def best(scores: Sequence[float], right: Sequence[bool]) -> float:
    """1 if the solution of the highest score is right."""
    return float(right[max(range(len(scores)), key=scores.__getitem__)])


def majority(answers: Sequence[str | None], weights: Sequence[float], truth: str) -> float:
    """1 if the answer of the largest total weight is right; ties go to the earliest."""
    totals: dict[str, float] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            totals[answer] = totals.get(answer, 0.0) + weight
    return float(bool(totals) and max(totals, key=totals.__getitem__) == truth)


def measure(item: NanoProblem, texts: list[str], scores: list[list[float]]) -> dict[str, float]:
    """All measures of one problem, each averaged over its groups of 16 samples."""
    answers = [boxed(text) for text in texts]
    right = [answer == item.answer for answer in answers]
    n, c = len(right), sum(right)
    result = {
        f"pass@{k}": 1 - math.comb(n - c, k) / math.comb(n, k) for k in (1, 4, 16, 64) if k <= n
    }
    kinds = {
        "last": [row[-1] for row in scores],
        "min": [min(row) for row in scores],
        "prod": [math.prod(row) for row in scores],
    }
    groups = [slice(at, at + 16) for at in range(0, n, 16)]
    flat = [1.0] * n
    votes = [majority(answers[g], flat[g], item.answer) for g in groups]
    result["majority@16"] = sum(votes) / len(groups)
    weighted = [majority(answers[g], kinds["last"][g], item.answer) for g in groups]
    result["weighted majority@16"] = sum(weighted) / len(groups)
    for name, values in kinds.items():
        result[f"best-of-16 {name}"] = sum(best(values[g], right[g]) for g in groups) / len(groups)
    result["majority@16 - pass@1"] = result["majority@16"] - result["pass@1"]
    result["best-of-16 last - majority@16"] = result["best-of-16 last"] - result["majority@16"]
    return result


def interval(
    values: Sequence[Any], statistic: Callable[[Sequence[Any]], float], draws: int = 1000
) -> list[float]:
    """The statistic with its 95 % bootstrap interval over problems."""
    rng = random.Random(0)
    drawn = sorted(statistic(rng.choices(values, k=len(values))) for _ in range(draws))
    low, high = drawn[draws * 25 // 1000], drawn[draws * 975 // 1000]
    return [round(x, 4) for x in (statistic(values), low, high)]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def auroc(problems: Sequence[list[tuple[float, int]]]) -> float:
    """Area under the ROC curve of (score, label) pairs, pooled over problems."""
    pairs = [pair for rows in problems for pair in rows]
    return float(roc_auc_score([label for _, label in pairs], [score for score, _ in pairs]))


def test_samples(work: Path, items: Sequence[NanoProblem], samples: int) -> list[list[str]]:
    """The sampled solutions of the test problems, kept in samples.json for later runs."""
    file = work / "samples.json"
    if not file.exists():
        texts = complete(load_lm(work), load_tokenizer(work), items, samples, seed=12345)
        _write_json(file, texts)
    kept: list[list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return kept


def evaluate(work: Path, n: int, samples: int) -> dict[str, Any]:
    """Measure the LM and the PRM on `n` test problems; writes eval.json."""
    tokenizer, items = load_tokenizer(work), list(problems(n))
    texts = test_samples(work, items, samples)
    pairs = [(item.question, text) for item, row in zip(items, texts, strict=True) for text in row]
    scores = score(load_prm(work), tokenizer, pairs)
    rows, steps = [], []
    for i, (item, row) in enumerate(zip(items, texts, strict=True)):
        own = scores[i * samples : (i + 1) * samples]
        rows.append(measure(item, row, own))
        labels = [label for text in row for label in step_labels(item, text)]
        steps.append(list(zip([x for part in own for x in part], labels, strict=True)))
    result: dict[str, Any] = {name: interval([row[name] for row in rows], mean) for name in rows[0]}
    result["step AUROC"] = interval(steps, auroc, draws=100)
    lengths = [len(e.ids) for row in texts for e in tokenizer.encode_batch(row)]
    result["tokens per solution"] = [round(mean(lengths), 1), max(lengths)]
    result["by operations"] = {
        k: by_operations([row for i, row in zip(items, rows, strict=True) if i.difficulty == k])
        for k in sorted({item.difficulty for item in items})
    }
    _write_json(work / "eval.json", result)
    return result


def by_operations(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The number of problems and the main measures of some problems."""
    names = ("pass@1", "majority@16", "best-of-16 last", "pass@64")
    return {"problems": len(rows)} | {
        name: round(mean([row[name] for row in rows]), 3) for name in names if name in rows[0]
    }


# --- files -------------------------------------------------------------------------


def load_tokenizer(work: Path) -> Tokenizer:
    """The tokenizer of this run."""
    return Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))


def load_lm(work: Path) -> LM:
    """The chosen language model, lm.safetensors."""
    net = LM(Shape(vocab=load_tokenizer(work).get_vocab_size()))
    net.load_state_dict(load_file(str(work / "lm.safetensors")))
    return net.eval()


def load_prm(work: Path) -> PRM:
    """The trained process reward model, prm.safetensors (float16, computed in float32)."""
    net = PRM(Shape(load_tokenizer(work).get_vocab_size(), layers=PRM_LAYERS))
    net.load_state_dict(load_file(str(work / "prm.safetensors")))
    return net.eval()


def export(work: Path, kind: str, folder: Path) -> None:
    """Write `kind` ("lm" or "prm") in the Hugging Face layout to `folder`."""
    tokenizer = load_tokenizer(work)
    save_tokenizer(tokenizer, folder)
    layers = LM_LAYERS if kind == "lm" else PRM_LAYERS
    shape = Shape(tokenizer.get_vocab_size(), layers=layers)
    end, stop = tokenizer.token_to_id(SPECIALS[0]), tokenizer.token_to_id(SPECIALS[2])
    config: dict[str, Any] = {
        "architectures": ["Qwen2ForCausalLM" if kind == "lm" else "Qwen2ForProcessRewardModel"],
        "model_type": "qwen2",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.positions,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.theta,
        "rope_scaling": None,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": shape.layers,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": kind == "lm",
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": stop,
        "pad_token_id": end,
        "torch_dtype": "float32",
    }
    if kind == "prm":
        config["num_labels"] = 2
    else:
        generation = {
            "do_sample": True,
            "temperature": 1.0,
            "eos_token_id": [stop, end],
            "pad_token_id": end,
        }
        _write_json(folder / "generation_config.json", generation)
    _write_json(folder / "config.json", config)
    weights = load_file(str(work / f"{kind}.safetensors"))
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def fill_card(card: Path, result: dict[str, Any]) -> None:
    """Write the measured numbers between the marks of the model card."""
    lines = ["| measure | value | 95 % interval |", "|---|---|---|"]
    for name, value in result.items():
        if isinstance(value, list) and len(value) == 3:
            lines.append(f"| {name} | {value[0]:.3f} | {value[1]:.3f} to {value[2]:.3f} |")
    average, longest = result["tokens per solution"]
    lines += ["", f"A solution takes {average:.0f} tokens on average, at most {longest}.", ""]
    names = list(next(iter(result["by operations"].values())))
    lines += ["| operations | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for count, row in result["by operations"].items():
        lines.append(f"| {count} | " + " | ".join(f"{row[name]:g}" for name in names) + " |")
    head, rest = card.read_text(encoding="utf-8").split("<!-- measured -->")
    tail = rest.split("<!-- end -->")[1]
    body = "\n".join(lines)
    text = f"{head}<!-- measured -->\n\n{body}\n\n<!-- end -->{tail}"
    card.write_text(text, encoding="utf-8")


# --- command line ------------------------------------------------------------------


def choose(work: Path, step: int) -> None:
    """Take snapshot `step` of the language model as lm.safetensors."""
    shutil.copy(work / f"lm_{step:05d}.safetensors", work / "lm.safetensors")


def parser() -> argparse.ArgumentParser:
    """The options; the defaults repeat the shipped weights."""
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("stage", choices=(*STAGES, "all"))
    result.add_argument("--work", type=Path, default=Path("nano_run"), help="working folder")
    result.add_argument("--out", type=Path, default=Path("reasoning/backends/nano/weights"))
    result.add_argument("--threads", type=int, default=2, help="CPU threads")
    result.add_argument("--vocab", type=int, default=640, help="at most this many tokens")
    result.add_argument("--lm-steps", type=int, default=1800)
    result.add_argument("--lm-snapshot", type=int, default=1800, help="the step to ship")
    result.add_argument("--lm-batch", type=int, default=96, help="problems per step")
    result.add_argument("--rollout-problems", type=int, default=10240)
    result.add_argument("--rollout-repeats", type=int, default=2)
    result.add_argument("--prm-steps", type=int, default=3600)
    result.add_argument("--prm-batch", type=int, default=48, help="solutions per step")
    result.add_argument("--eval-problems", type=int, default=200)
    result.add_argument("--eval-samples", type=int, default=64)
    return result


def main() -> None:
    """Run one stage, or all in order."""
    args = parser().parse_args()
    torch.set_num_threads(args.threads)
    for stage in STAGES if args.stage == "all" else [args.stage]:
        run_stage(stage, args)


def run_stage(stage: str, args: argparse.Namespace) -> None:
    """Run one stage in the working folder."""
    work = args.work
    if stage == "tokenizer":
        save_tokenizer(train_tokenizer(args.vocab), work / "tokenizer")
    elif stage == "lm":
        train_lm(work, args.lm_steps, args.lm_batch)
        choose(work, args.lm_snapshot)
    elif stage == "rollouts":
        make_rollouts(work, args.rollout_problems, args.rollout_repeats)
    elif stage == "prm":
        train_prm(work, args.prm_steps, args.prm_batch, work / "lm.safetensors")
    elif stage == "eval":
        print(json.dumps(evaluate(work, args.eval_problems, args.eval_samples), indent=2))
    else:
        for kind in ("lm", "prm"):
            export(work, kind, args.out / kind)
        card = args.out.parent / "README.md"
        if card.exists():
            fill_card(card, json.loads((work / "eval.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
