"""Train the process reward model of `nano`: a second stage of `evals.train_nano`.

The reward model knows the same things as a language model that was trained for longer than the
shipped one, and finds an error where that model would not have expected a token. Its first four
layers are that language model, at home in the format of steps and marks and then frozen. A
comparing layer looks one position back, at what was expected of every token (it learns to tell the
token's log-probability); a gathering layer draws the findings together at the marks.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evals.nano import MIXES, STEP_BREAK, problem, solution, step_labels
from evals.train_nano_net import (
    LM_LAYERS,
    PRM_LAYERS,
    SPECIALS,
    Attention,
    Backbone,
    Shape,
    chat,
    init,
    pad,
)

Row = tuple[list[int], list[int], int]  # ids, a label or -100 at each, length of the prompt
SCALE = 0.1
FLOOR = -10.0  # nats: how unlikely a token can look to the comparing layer


class PRM(nn.Module):
    """Backbone and two-class head; names match vLLM's `Qwen2ForProcessRewardModel`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = Backbone(shape)
        self.score = nn.Sequential(
            nn.Linear(shape.hidden, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, 2)
        )
        self.apply(init)

    def forward(self, ids: Tensor, marks: Tensor) -> Tensor:
        """Class scores [marked positions, 2] of ids and a mask, both [batch, length]."""
        return self.score(self.model(ids)[marks])

    def expect(self, ids: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """States [batch, length, hidden] after the LM part, and the rotary table."""
        model = self.model
        rope = (model.cos[: ids.shape[1]], model.sin[: ids.shape[1]])
        x = model.embed_tokens(ids)
        for layer in model.layers[:LM_LAYERS]:
            x = layer(x, rope, None)
        return x, rope

    def judge(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """States after the comparing layer, and class scores everywhere."""
        compared = self.model.layers[LM_LAYERS](x, rope, None)
        gathered = self.model.layers[LM_LAYERS + 1](compared, rope, None)
        return compared, self.score(self.model.norm(gathered))


def steps_of(text: str) -> list[str]:
    """The stripped steps of a solution, none of them empty."""
    return [step.strip() for step in text.strip().split(STEP_BREAK)]


def prm_text(question: str, text: str) -> str:
    """The input of the PRM: prompt, then every stripped step followed by its mark."""
    return chat(question) + "".join(step + SPECIALS[3] for step in steps_of(text))


def train_prm(work: Path, tokenizer: Tokenizer, adapt_steps: int, steps: int, size: int) -> None:
    """strong.safetensors (an LM) and rollouts.jsonl to prm.safetensors."""
    torch.manual_seed(1)
    torch.set_flush_denormal(True)  # sharp attention makes them, and they are slow
    rng = random.Random(1)
    net = PRM(Shape(tokenizer.get_vocab_size(), layers=PRM_LAYERS))
    weights = load_file(str(work / "strong.safetensors"))
    net.load_state_dict(weights, strict=False)
    norm = nn.Parameter(weights["model.norm.weight"].clone())  # the LM's; the PRM has its own
    adapt(net, norm, tokenizer, adapt_steps, size, rng)
    table = net.model.embed_tokens.weight.detach().clone()
    prepare(net, norm)
    fit(net, (table, norm), tokenizer, work, steps, size, rng)


def expected(x: Tensor, table: Tensor, norm: Tensor) -> Tensor:
    """Log-probabilities [batch, length, vocabulary] of the token that follows each position.

    `table` and `norm` are the language model's embeddings and the weight of its last norm.
    """
    return F.log_softmax(F.rms_norm(x, (x.shape[-1],), norm, 1e-6) @ table.T, -1)


def adapt(
    net: PRM, norm: nn.Parameter, tokenizer: Tokenizer, steps: int, size: int, rng: random.Random
) -> None:
    """Make the LM part at home among marks, which stand where it knew blank lines."""
    mark, blank = tokenizer.token_to_id(SPECIALS[3]), tokenizer.encode("5.\n\n").ids[-1]
    net.model.embed_tokens.weight.data[mark] = net.model.embed_tokens.weight.data[blank]
    layers = net.model.layers[:LM_LAYERS]
    params = [*net.model.embed_tokens.parameters(), *layers.parameters(), norm]
    optimiser = torch.optim.AdamW(params, lr=0.0, betas=(0.9, 0.95))
    for step in range(steps):
        set_rate(optimiser, 6e-4 * min(1, (step + 1) / 10) * max(0.05, 1 - step / steps))
        rows = [gold_row(tokenizer, step * size + i, rng) for i in range(size)]
        ids = pad([ids for ids, _ in rows])
        targets = pad([[-100] * (n - 1) + ids[n:] for ids, n in rows], -100)
        logs = expected(net.expect(ids)[0], net.model.embed_tokens.weight, norm)
        logs = logs[:, : targets.shape[1]]
        loss = F.nll_loss(logs.flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0:
            print(f"adapt {step} loss {loss.item():.4f}", flush=True)
    for param in params:
        param.requires_grad_(False)


def gold_row(tokenizer: Tokenizer, index: int, rng: random.Random) -> tuple[list[int], int]:
    """A training solution in the format of the PRM, and the length of its prompt."""
    item = problem("train", index, 5, mix=MIXES["test"] if index % 2 else None)
    ids = tokenizer.encode(prm_text(item.question, solution(item, rng))).ids
    return ids, len(tokenizer.encode(chat(item.question)).ids)


@torch.no_grad()
def prepare(net: PRM, norm: Tensor) -> None:
    """Point all heads of the comparing layer one position back, at the LM's final states there.

    The LM's residual stream, grown large, is scaled down first, which its norms undo: else what
    the new layers add would drown in it.
    """
    net.model.embed_tokens.weight.mul_(SCALE)
    for layer in net.model.layers[:LM_LAYERS]:
        layer.self_attn.o_proj.weight.mul_(SCALE)
        layer.mlp.down_proj.weight.mul_(SCALE)
    comparing, gathering = net.model.layers[LM_LAYERS:]
    look_back(comparing.self_attn, net.model.shape)
    comparing.input_layernorm.weight.copy_(norm)
    nn.init.eye_(comparing.self_attn.v_proj.weight)
    nn.init.zeros_(comparing.self_attn.v_proj.bias)
    nn.init.orthogonal_(comparing.self_attn.o_proj.weight, gain=4.0)
    gathering.self_attn.o_proj.weight.mul_(0.1)
    gathering.mlp.down_proj.weight.mul_(0.1)


@torch.no_grad()
def look_back(attention: Attention, shape: Shape, strength: float = 8.0) -> None:
    """Make every head attend to the position before, whatever stands there.

    Queries and keys are constant; the rotary embedding turns them, and their product is largest
    where the key's head start of one position's angle is made up for.
    """
    half = shape.head_dim // 2
    turn = shape.theta ** (-torch.arange(half) / half)
    wave = strength * (torch.arange(half) < 8).float()
    for project in (attention.q_proj, attention.k_proj):
        nn.init.zeros_(project.weight)
    attention.q_proj.bias.copy_(torch.cat((wave, 0 * wave)).repeat(shape.heads))
    ahead = torch.cat((wave * turn.cos(), wave * turn.sin()))
    attention.k_proj.bias.copy_(ahead.repeat(shape.heads))


def fit(
    net: PRM,
    known: tuple[Tensor, Tensor],
    tokenizer: Tokenizer,
    work: Path,
    steps: int,
    size: int,
    rng: random.Random,
) -> None:
    """Train the two upper layers and the head on labelled rollouts."""
    probe = nn.Linear(net.model.shape.hidden, 2)
    params = [p for p in net.parameters() if p.requires_grad] + list(probe.parameters())
    optimiser = torch.optim.AdamW(params, lr=0.0, betas=(0.9, 0.95), weight_decay=0.01)
    lines = (work / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [prm_row(tokenizer, **json.loads(line)) for line in lines]
    batches = shuffled(rows, size, rng)
    mark, began = tokenizer.token_to_id(SPECIALS[3]), time.time()
    for step in range(steps):
        falling = max(0.03, min(1, (steps - step) / (0.6 * steps)))
        set_rate(optimiser, 2e-3 * min(1, (step + 1) / 30) * falling)
        at_marks, told = losses(net, known, probe, next(batches), mark)
        optimiser.zero_grad()
        (at_marks + 0.1 * told).backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        if step % 25 == 0:
            seconds = time.time() - began
            print(f"prm {step} marks {at_marks:.4f} told {told:.4f} s {seconds:.0f}", flush=True)
    halves = {name: value.half().contiguous() for name, value in net.state_dict().items()}
    save_file(halves, str(work / "prm.safetensors"))


def losses(
    net: PRM, known: tuple[Tensor, Tensor], probe: nn.Module, batch: Sequence[Row], mark: int | None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the labels at the marks; squared error of the told log-probabilities."""
    ids = pad([ids for ids, _, _ in batch])
    labels = pad([labels for _, labels, _ in batch], -100)
    at = torch.arange(ids.shape[1])
    starts = torch.tensor([start for _, _, start in batch])[:, None]
    ends = torch.tensor([len(row) for row, _, _ in batch])[:, None]
    said = (at >= starts) & (at < ends) & (ids != mark)
    with torch.no_grad():
        x, rope = net.expect(ids)
        logs = expected(x, *known)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
        truth = F.pad(logs.clamp(min=FLOOR), (1, 0))
    compared, scores = net.judge(x, rope)
    marked = labels >= 0
    told = ((probe(compared)[..., 0] - truth)[said] ** 2).mean()
    return F.cross_entropy(scores[marked], labels[marked]), told


def prm_row(tokenizer: Tokenizer, index: int, text: str) -> Row:
    """A rollout in the format of the PRM with the exact labels of its steps at their marks."""
    item = problem("train", index, 2, mix=MIXES["test"])
    ids = tokenizer.encode(prm_text(item.question, text)).ids
    start = len(tokenizer.encode(chat(item.question)).ids)
    mark, verdicts = tokenizer.token_to_id(SPECIALS[3]), iter(step_labels(item, text))
    labels = [next(verdicts, -100) if i >= start and x == mark else -100 for i, x in enumerate(ids)]
    return ids, labels, start


def shuffled(rows: list[Row], size: int, rng: random.Random) -> Iterator[list[Row]]:
    """Batches of rows of similar length, for ever."""
    while True:
        rng.shuffle(rows)
        order = sorted(rows, key=lambda row: len(row[0]))
        batches = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        rng.shuffle(batches)
        yield from batches


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


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
