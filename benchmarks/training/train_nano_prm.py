"""Train the process reward model of `nano`: a second stage of `benchmarks.training.train_nano`.

The reward model is a language model that was trained for longer than the shipped one and that reads
its own surprise. Its first four layers are that model, made at home in the format of steps and
marks, and frozen. Layer five looks one position back, at what was expected of every token, and
compares: it learns to tell the token's log-probability. Layer six gathers the findings at the
marks.

The residual stream has 192 features: 160 of the language model; 31 of a code that tells tokens
apart (after four layers a token's own embedding is lost in its state), which later carry the
findings; and a constant, large beside the rest, which keeps every norm above at the same scale. The
upper layers are trained in a unit of their own, `UNIT`, in which the constant and the findings are
about 1 and the language model's state is next to nothing; `assemble` multiplies it in.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.training.train_nano_net import (
    LM,
    LM_LAYERS,
    PRM_LAYERS,
    SPECIALS,
    Attention,
    Backbone,
    Layer,
    Shape,
    chat,
    init,
    pad,
)
from evals.tasks.nano import MIXES, STEP_BREAK, problem, solution, step_labels

OWN = 160  # features of the language model in the residual stream
CODE = slice(160, 191)  # features of the code, and of the findings
ONE = 191  # the constant
UNIT = 4e3  # half precision ends at 65,504
SHRINK = 0.04  # of the language model's state, which its norms undo
GAIN = 0.03  # of the expectations, in units: small beside the constant, large beside the state
FIT = (OWN / (ONE + 1)) ** 0.5  # a norm over 192 features of which 160 are not zero
FINDINGS = 3


class PRM(nn.Module):
    """Backbone and two-class head; names match vLLM's `Qwen2ForProcessRewardModel`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = Backbone(shape)
        self.score = head(shape)

    def forward(self, ids: Tensor, marks: Tensor) -> Tensor:
        """Class scores [marked positions, 2] of ids and a mask, both [batch, length]."""
        return self.score(self.model(ids)[marks])


def prm_shape(vocab: int) -> Shape:
    """Sizes of the process reward model."""
    return Shape(vocab, hidden=ONE + 1, heads=6, layers=PRM_LAYERS)


def head(shape: Shape) -> nn.Sequential:
    """From a state to the scores of the two classes, wrong and right."""
    return nn.Sequential(
        nn.Linear(shape.hidden, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, 2)
    )


class Upper(nn.Module):
    """What is trained: the comparing and gathering layers, the head, and the code of the tokens."""

    def __init__(self, shape: Shape, norm: Tensor) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape, i) for i in range(LM_LAYERS, shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.eps)
        self.score = head(shape)
        self.apply(init)
        self.code = nn.Parameter(0.5 * torch.randn(shape.vocab, CODE.stop - CODE.start))
        self._wire(shape, norm)

    @torch.no_grad()
    def _wire(self, shape: Shape, norm: Tensor) -> None:
        """Copy what was expected, and the constant, from one position back. This stays as it is."""
        comparing, *above = self.layers
        attention = comparing.self_attn
        look_back(attention, shape)
        nn.init.eye_(attention.v_proj.weight)
        nn.init.zeros_(attention.v_proj.bias)
        nn.init.zeros_(attention.o_proj.weight)
        own = torch.arange(OWN)
        attention.o_proj.weight[own, own] = GAIN
        attention.v_proj.bias[OWN] = 10.0
        attention.o_proj.weight[ONE, OWN] = (
            shape.hidden**0.5 / 10
        )  # the constant: norms divide by 1
        comparing.input_layernorm.weight.zero_()
        comparing.input_layernorm.weight[:OWN] = norm * FIT
        comparing.post_attention_layernorm.weight[:OWN] = 1 / GAIN
        fixed = (attention, comparing.input_layernorm, comparing.post_attention_layernorm)
        for module in fixed:
            module.requires_grad_(False)
        comparing.mlp.down_proj.weight[:OWN] = 0
        comparing.mlp.down_proj.weight[ONE] = 0
        for layer in above:
            layer.input_layernorm.weight[:OWN] = 0.1 / GAIN
            layer.post_attention_layernorm.weight[:OWN] = 0.1 / GAIN

    def comparing(self) -> list[nn.Parameter]:
        """The parameters that make the findings."""
        return [*self.layers[0].mlp.parameters(), self.code]

    def gathering(self) -> list[nn.Parameter]:
        """The parameters above them."""
        layers = [p for layer in list(self.layers)[1:] for p in layer.parameters()]
        return [*layers, *self.norm.parameters(), *self.score.parameters()]

    def compare(self, batch: Batch) -> Tensor:
        """States [batch, length, hidden] after the comparing layer, in units."""
        layer = self.layers[0]
        own = F.pad(batch.states * SHRINK, (0, ONE + 1 - OWN))
        x = own / UNIT + layer.self_attn(layer.input_layernorm(own), batch.rope, None)
        y = layer.post_attention_layernorm(x)
        y = torch.cat((y[..., :OWN], self.code[batch.ids], y[..., ONE:]), -1)
        return x + layer.mlp(y)

    def gather(self, x: Tensor, batch: Batch) -> Tensor:
        """Class scores [batch, length, 2] from the states after the comparing layer."""
        for layer in list(self.layers)[1:]:
            x = layer(x, batch.rope, None)
        return self.score(self.norm(x))


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


# --- data --------------------------------------------------------------------------


def steps_of(text: str) -> list[str]:
    """The stripped steps of a solution, none of them empty."""
    return [step.strip() for step in text.strip().split(STEP_BREAK)]


def prm_text(question: str, text: str) -> str:
    """The input of the PRM: prompt, then every stripped step followed by its mark."""
    return chat(question) + "".join(step + SPECIALS[3] for step in steps_of(text))


@dataclass(frozen=True)
class Row:
    """A rollout: `ids` and, at each, a label or -100; `start` is the length of the prompt.

    `states` [length, OWN] (half precision) and `logs` [length] are what the frozen language model
    makes of it: its states, and the log-probability of each token.
    """

    ids: list[int]
    labels: list[int]
    start: int
    states: Tensor
    logs: Tensor


@dataclass(frozen=True)
class Batch:
    """Rows padded to [batch, length]; `real` marks tokens and `said` those of the solutions."""

    ids: Tensor
    labels: Tensor
    states: Tensor
    logs: Tensor
    real: Tensor
    said: Tensor
    rope: tuple[Tensor, Tensor]


def gold_row(tokenizer: Tokenizer, index: int, rng: random.Random) -> tuple[list[int], int]:
    """A training solution in the format of the PRM, and the length of its prompt."""
    item = problem("train", index, 5, mix=MIXES["test"] if index % 2 else None)
    ids = tokenizer.encode(prm_text(item.question, solution(item, rng))).ids
    return ids, len(tokenizer.encode(chat(item.question)).ids)


def labelled(tokenizer: Tokenizer, index: int, text: str) -> tuple[list[int], list[int], int]:
    """A rollout in the format of the PRM with the exact labels of its steps at their marks."""
    item = problem("train", index, 2, mix=MIXES["test"])
    ids = tokenizer.encode(prm_text(item.question, text)).ids
    start = len(tokenizer.encode(chat(item.question)).ids)
    mark, verdicts = tokenizer.token_to_id(SPECIALS[3]), iter(step_labels(item, text))
    labels = [next(verdicts, -100) if i >= start and x == mark else -100 for i, x in enumerate(ids)]
    return ids, labels, start


@torch.no_grad()
def read(lm: LM, found: Sequence[tuple[list[int], list[int], int]]) -> list[Row]:
    """The rollouts with what the language model makes of them, shortest first."""
    found = sorted(found, key=lambda row: len(row[0]))
    rows = []
    for at in range(0, len(found), 128):
        group = found[at : at + 128]
        ids = pad([row[0] for row in group])
        states = lm_states(lm, ids)
        logs = lm.logits(lm.model.norm(states)).log_softmax(-1)[:, :-1]
        logs = F.pad(logs.gather(2, ids[:, 1:, None])[..., 0], (1, 0))
        for i, (tokens, labels, start) in enumerate(group):
            n = len(tokens)
            own = states[i, :n].half()
            rows.append(Row(tokens, labels, start, own, logs[i, :n].clone()))
    return rows


def lm_states(lm: LM, ids: Tensor) -> Tensor:
    """States [batch, length, OWN] below the last norm."""
    x, rope = (
        lm.model.embed_tokens(ids),
        (lm.model.cos[: ids.shape[1]], lm.model.sin[: ids.shape[1]]),
    )
    for layer in lm.model.layers:
        x = layer(x, rope, None)
    return x


def batches(rows: Sequence[Row], size: int, table: Backbone, rng: random.Random) -> Iterator[Batch]:
    """Batches of rows of similar length (`rows` are sorted by it), for ever."""
    while True:
        starts = list(range(rng.randrange(size), len(rows) - size + 1, size))
        rng.shuffle(starts)
        for at in starts:
            yield collate(rows[at : at + size], table)


def collate(rows: Sequence[Row], table: Backbone) -> Batch:
    """One batch; `table` holds the rotary embedding."""
    ids = pad([row.ids for row in rows])
    n = ids.shape[1]
    at, lengths = torch.arange(n), torch.tensor([len(row.ids) for row in rows])[:, None]
    real = at < lengths
    return Batch(
        ids,
        pad([row.labels for row in rows], -100),
        nn.utils.rnn.pad_sequence([row.states for row in rows], batch_first=True).float(),
        nn.utils.rnn.pad_sequence([row.logs for row in rows], batch_first=True),
        real,
        real & (at >= torch.tensor([row.start for row in rows])[:, None]),
        (table.cos[:n], table.sin[:n]),
    )


# --- training ----------------------------------------------------------------------


def train_prm(work: Path, tokenizer: Tokenizer, steps: tuple[int, int, int], size: int) -> None:
    """strong.safetensors (an LM) and rollouts.jsonl to prm.safetensors.

    `steps` of `adapt`, `tell` and `judge`; `size` is the number of solutions in a batch.
    """
    torch.manual_seed(1)
    torch.set_flush_denormal(True)  # sharp attention makes them, and they are slow
    rng = random.Random(1)
    vocab = tokenizer.get_vocab_size()
    lm = LM(Shape(vocab))
    lm.load_state_dict(load_file(str(work / "strong.safetensors")))
    adapt(lm, tokenizer, steps[0], size, rng)
    lines = (work / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = read(lm, [labelled(tokenizer, **json.loads(line)) for line in lines])
    upper = Upper(prm_shape(vocab), lm.model.norm.weight.detach())
    tell(upper, batches(rows, size // 2, lm.model, rng), steps[1])
    judge(upper, batches(rows, size, lm.model, rng), steps[2])
    halves = {name: value.half() for name, value in assemble(lm, upper).state_dict().items()}
    save_file(halves, str(work / "prm.safetensors"))


def adapt(lm: LM, tokenizer: Tokenizer, steps: int, size: int, rng: random.Random) -> None:
    """Make the language model at home among marks, which stand where it knew blank lines."""
    mark, blank = tokenizer.token_to_id(SPECIALS[3]), tokenizer.encode("5.\n\n").ids[-1]
    lm.model.embed_tokens.weight.data[mark] = lm.model.embed_tokens.weight.data[blank]
    optimiser = torch.optim.AdamW(lm.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        set_rate(optimiser, 6e-4 * min(1, (step + 1) / 10) * max(0.05, 1 - step / steps))
        rows = [gold_row(tokenizer, step * size + i, rng) for i in range(size)]
        targets = pad([[-100] * (n - 1) + ids[n:] for ids, n in rows], -100)
        logits = lm.logits(lm.model(pad([ids for ids, _ in rows])))[:, : targets.shape[1]]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0:
            print(f"adapt {step} loss {loss.item():.4f}", flush=True)


def findings(batch: Batch) -> Tensor:
    """What the comparing layer is to find [batch, length, FINDINGS]: how likely a token was.

    Coarse and fine log-probabilities, zero in the prompt, and whether it is part of the solution.
    """
    logs = batch.logs.where(batch.said, 0.0)
    return torch.stack((logs.clamp(min=-10) / 2, logs.clamp(min=-2), batch.said.float()), -1)


def told(x: Tensor, batch: Batch) -> Tensor:
    """Mean squared error of the findings in the states after the comparing layer."""
    found = x[..., CODE][..., :FINDINGS]
    errors = ((found - findings(batch)) ** 2)[batch.real].mean(0)
    return errors @ torch.tensor([1.0, 1.0, 0.3])


def tell(upper: Upper, data: Iterable[Batch], steps: int) -> None:
    """Train the comparing layer alone."""
    optimiser = torch.optim.AdamW(upper.comparing(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)
    began = time.time()
    for step, batch in zip(range(steps), data, strict=False):
        set_rate(optimiser, 4e-3 * cooled(step, steps))
        loss = told(upper.compare(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            print(f"tell {step} {loss:.4f} s {time.time() - began:.0f}", flush=True)


def judge(upper: Upper, data: Iterable[Batch], steps: int) -> None:
    """Train everything above the language model on the labels at the marks."""
    fast, slow = upper.gathering(), upper.comparing()
    optimiser = torch.optim.AdamW(
        [{"params": fast, "share": 1.0}, {"params": slow, "share": 0.3}],
        lr=0.0,
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    began = time.time()
    for step, batch in zip(range(steps), data, strict=False):
        set_rate(optimiser, 1e-3 * cooled(step, steps))
        x = upper.compare(batch)
        marked = batch.labels >= 0
        loss = F.cross_entropy(upper.gather(x, batch)[marked], batch.labels[marked])
        optimiser.zero_grad()
        (loss + 0.3 * told(x, batch)).backward()
        nn.utils.clip_grad_norm_(fast, 1.0)
        optimiser.step()
        if step % 50 == 0:
            print(f"judge {step} {loss:.4f} s {time.time() - began:.0f}", flush=True)


def cooled(step: int, steps: int) -> float:
    """The scale of a learning rate: 50 steps of warming up, linear fall over the last 70 %."""
    return min(1.0, (step + 1) / 50) * max(0.02, min(1.0, (steps - step) / (0.7 * steps)))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


# --- the whole ---------------------------------------------------------------------


@torch.no_grad()
def assemble(lm: LM, upper: Upper) -> PRM:
    """The language model below, widened with zeros, and the upper layers out of their unit."""
    net = PRM(prm_shape(lm.model.shape.vocab))
    whole = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    for name, value in lm.state_dict().items():
        if name == "model.norm.weight":
            continue
        corner = tuple(slice(n) for n in value.shape)
        whole[name][corner] = value * (SHRINK if writes(name) else FIT if "norm" in name else 1)
    for name, value in upper.state_dict().items():
        if name != "code":
            part, *rest = name.split(".")
            if part == "layers":
                rest[0] = str(int(rest[0]) + LM_LAYERS)
            name = ".".join([part, *rest] if part == "score" else ["model", part, *rest])
            whole[name].copy_(value * (UNIT if writes(name) else 1))
    encode(whole, lm, upper)
    net.load_state_dict(whole)
    return net


def writes(name: str) -> bool:
    """Whether these weights make what is added to the residual stream."""
    return any(part in name for part in ("embed_tokens", "o_proj", "down_proj"))


def encode(whole: dict[str, Tensor], lm: LM, upper: Upper) -> None:
    """Write the code beside the embeddings, too faint for the language model to notice.

    The norm and the projections of the comparing layer share in making it loud again.
    """
    own = lm.model.embed_tokens.weight
    faint = 0.02 * SHRINK * (own.square().mean() / upper.code.square().mean()).sqrt()
    whole["model.embed_tokens.weight"][:, CODE] = upper.code * faint
    loud = UNIT / faint
    comparing = f"model.layers.{LM_LAYERS}"
    whole[f"{comparing}.post_attention_layernorm.weight"][CODE] = 2e4
    for name in ("gate_proj", "up_proj"):
        whole[f"{comparing}.mlp.{name}.weight"][:, CODE] *= loud / 2e4


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
