"""Teach `nano_think` to tell at once whether an attempt is right.

::

    python -m benchmarks.training.train_nano_verdict --base FOLDER --out FOLDER

FOLDER holds a checkpoint as `train_nano_think` exports it. Its layers stay as they are, number for
number, in a wider residual stream; three layers come on top, and what they may add to anything but
verdicts and critiques is held down (Kullback-Leibler divergence from the model below).

The layers below predict the next token, and have lost their own by then. So the wider stream
carries the token of each position along, where it is a digit or an operator. Layer five looks one
position back, at what was expected there, and learns how surprising the token was (`tell`). Layer
six gathers surprises, and learns whether any step so far is wrong and has not been put right; layer
seven says so when it is asked (`judge`): first of attempts that the program of `nano_think_traces`
has written, then of the model's own, drawn at temperature 1 on training problems.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrize

from benchmarks.training.nano_think_traces import (
    HABITS,
    SLOPPY,
    STOP,
    Piece,
    closed,
    judged,
    row,
    shown,
    thought,
    user,
    verdict,
)
from benchmarks.training.train_nano_net import LM, Shape, pad
from benchmarks.training.train_nano_prm import look_back
from evals.tasks import nano_think as task
from evals.tasks.nano_think import Program
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.search import Search

BELOW, LAYERS = 4, 7
STATE = 128  # features of the model below
WIDE = 192
CODE = 128  # from here on: which of SYMBOLS the own token is
EXPECTED = 160  # from here on: how likely each of them was
FOUND = 176  # from here on: what the comparing layer has found
SYMBOLS = "0123456789+-*"
MARK = 0.01  # of the code in the stream, beside embeddings of 0.13
UNIT = 0.1  # of everything else that is added beside the state of the model below
HEAD = 32  # features of an attention head
FIT = (STATE / WIDE) ** 0.5  # a norm over WIDE features of which STATE are not about zero
KEPT = 0.25  # of the positions at which the model is held to the one below
FOLDER = Path("reasoning/backends/nano/weights/think")


# --- rows --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens; which of them are to be learnt; and at each value whether an error stands so far."""

    ids: list[int]
    learnt: list[int]
    errors: list[int]  # 1, 0, or -1 where no value stands


@dataclass(frozen=True, slots=True)
class Own:
    """An attempt that the model below has drawn itself."""

    item: Program
    text: str

    @property
    def right(self) -> bool:
        return task.answer_of(self.text) == self.item.answer


def written(item: Program, rng: random.Random, tokenizer: Tokenizer) -> list[Piece]:
    """A conversation on a written attempt; of weight 0 is what is read, or to stay as it is."""
    kind = rng.random()
    trace = thought(item, rng, rng.choice((HABITS, HABITS, SLOPPY)))
    attempt = Own(item, closed(trace))
    if kind < 0.45:
        return verdict_on(attempt)
    if kind < 0.75:
        return judged(trace, rng)
    if kind < 0.87:
        return critique_of(attempt)

    def cut(text: str, rng: random.Random) -> str:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        return text[: rng.choice(offsets)[1]]

    return [(text, 0.0) for text, _ in row(item, rng, cut)]


def drawn(attempt: Own, rng: random.Random) -> list[Piece]:
    """A conversation on an attempt of the model's own."""
    kind = rng.random()
    if kind < 0.60:
        return verdict_on(attempt)
    if kind < 0.84:
        return shown(attempt.item, attempt.text, attempt.right, rng)
    return critique_of(attempt)


def verdict_on(attempt: Own) -> list[Piece]:
    return [*_opening(attempt, task.JUDGE_TURN), (verdict(attempt.right), 1.0)]


def critique_of(attempt: Own) -> list[Piece]:
    wrong = task.first_error(attempt.item, attempt.text)
    critique = "None." if wrong is None else f"{wrong} is wrong."
    return [*_opening(attempt, task.CRITIQUE_TURN), (critique + STOP, 1.0)]


def _opening(attempt: Own, turn: str) -> list[Piece]:
    texts = (user(attempt.item.question), attempt.text + STOP, "\n" + user(turn))
    return [(text, 0.0) for text in texts]


def errors(item: Program, text: str) -> Iterator[tuple[int, bool]]:
    """Of each step's value, its last character and whether a step so far is wrong by itself.

    Of each variable the step written last counts, and is held against the values written before.
    """
    lines = {line.name: line for line in item.lines}
    values, wrong = {"a": item.first}, dict[str, bool]()
    for end, step in task.steps_in(text):
        line = lines.get(step.name)
        if line is None or not {line.left, line.right} <= values.keys() | set("0123456789"):
            continue
        left, right = task.operands(line, values)
        told = (step.left, step.op, step.right, step.value)
        wrong[step.name] = told != (left, line.op, right, task.apply(line.op, left, right))
        values[step.name] = step.value
        yield end - 1, any(wrong.values())


class Rows:
    """Rows by number, the same each time; three in four are on the model's own attempts, if any."""

    def __init__(self, tokenizer: Tokenizer, own: Sequence[Own] = ()) -> None:
        self._tokenizer, self._own = tokenizer, own

    def __call__(self, index: int) -> Row:
        rng = random.Random(f"verdict:77:{index}")
        if self._own and rng.random() < 0.75:
            attempt = rng.choice(self._own)
            return self._encoded(attempt.item, drawn(attempt, rng))
        item = task.problem("train", index, 77)
        return self._encoded(item, written(item, rng, self._tokenizer))

    def _encoded(self, item: Program, pieces: list[Piece]) -> Row:
        found = Row([], [], [])
        for text, weight in pieces:
            encoded = self._tokenizer.encode(text, add_special_tokens=False)
            marks = [-1] * len(encoded.ids)
            for at, wrong in errors(item, text):
                for i, (start, stop) in enumerate(encoded.offsets):
                    if start <= at < stop:
                        marks[i] = int(wrong)
            found.ids.extend(encoded.ids)
            found.learnt.extend([int(weight > 0)] * len(marks))
            found.errors.extend(marks)
        return found


def own_attempts(base: Path, problems: int) -> list[Own]:
    """Two attempts of the model below at each of some training problems, at temperature 1."""
    generator = names.build("generator", {"name": "nano", "model": "nano_think", "path": str(base)})

    async def draw(item: Program, turn: asyncio.Semaphore) -> list[Own]:
        async with turn:
            search = Search(Problem(item.id, item.question), generator, sampling=Sampling(512))
            nodes = await search.draws(search.root, 2, until="end")
            return [Own(item, node.text) for node in nodes]

    async def run() -> list[Own]:
        await generator.astart()
        try:
            turn = asyncio.Semaphore(32)
            items = [task.problem("train", i, 555) for i in range(problems)]
            found = await asyncio.gather(*(draw(item, turn) for item in items))
        finally:
            await generator.aclose()
        return [attempt for attempts in found for attempt in attempts]

    return asyncio.run(run())


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows side by side, all [rows, length]."""

    ids: Tensor
    learnt: Tensor
    errors: Tensor
    real: Tensor


def batches(rows: Rows, first: int, steps: int, size: int) -> Iterator[list[Batch]]:
    """Of each step the shorter and the longer half of its rows."""
    for step in range(steps):
        numbers = range(first + step * size, first + (step + 1) * size)
        found = sorted(map(rows, numbers), key=lambda r: len(r.ids))
        yield [
            Batch(
                pad([r.ids for r in half]),
                pad([r.learnt for r in half]),
                pad([r.errors for r in half], -1),
                pad([[1] * len(r.ids) for r in half]),
            )
            for half in (found[: size // 2], found[size // 2 :])
        ]


# --- network -----------------------------------------------------------------------


def shape(vocab: int, layers: int = LAYERS) -> Shape:
    """The sizes of the whole model."""
    return Shape(vocab, hidden=WIDE, layers=layers, heads=WIDE // HEAD, inner=320)


@torch.no_grad()
def widened(base: dict[str, Tensor], symbols: list[int], example: list[int]) -> LM:
    """The model below in a wider stream, with layers on top that do nothing as yet but compare.

    example: tokens whose states are of typical size.
    """
    torch.manual_seed(0)
    embedding = base["model.embed_tokens.weight"]
    net = LM(shape(len(embedding)))
    for name, given in net.state_dict().items():
        if name in base:
            old = base[name]
            given.zero_()
            given[tuple(map(slice, old.shape))] = old * FIT if "norm" in name else old
    for i, symbol in enumerate(symbols):
        net.model.embed_tokens.weight[symbol, CODE + i] = MARK
    size = float(below(net, torch.tensor([example])).pow(2).mean(-1).sqrt().mean())
    for i, layer in enumerate(net.model.layers[BELOW:]):
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight[:CODE] = FIT
            norm.weight[CODE:EXPECTED] = size / MARK
            norm.weight[EXPECTED:] = size / UNIT
        if i == 0:
            layer.input_layernorm.weight[:STATE] = base["model.norm.weight"] * FIT
            compare(layer, embedding[symbols])
    return net


@torch.no_grad()
def compare(layer: nn.Module, symbols: Tensor) -> None:
    """Copy from one position back how likely each symbol was, and set it against the own one.

    One half of the units has the logit of the own symbol, the other the squares of those of others.
    """
    attention, mlp, n = layer.self_attn, layer.mlp, len(symbols)
    q, k, v = (p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    rest = [p[HEAD:].clone() for p in (q, k)]
    look_back(attention, shape(0))
    q[HEAD:], k[HEAD:] = rest  # the other heads are free
    attention.q_proj.bias[HEAD:] = attention.k_proj.bias[HEAD:] = 0
    v[:HEAD] = 0
    v[:n, :STATE] = symbols / 5
    mlp.gate_proj.weight[: 2 * n] = mlp.up_proj.weight[: 2 * n] = 0
    mlp.down_proj.weight[FOUND:] = torch.randn(WIDE - FOUND, 320) * UNIT * 0.05
    mlp.down_proj.weight[:, : 2 * n] = 0
    for i in range(n):
        attention.o_proj.weight[EXPECTED + i, i] = UNIT
        mlp.gate_proj.weight[i, CODE + i] = 4
        mlp.gate_proj.weight[n + i, CODE + i] = -20
        mlp.gate_proj.weight[n + i, EXPECTED + i] = 1
        mlp.up_proj.weight[[i, n + i], EXPECTED + i] = 1
        mlp.down_proj.weight[FOUND, i] = UNIT / 4
        mlp.down_proj.weight[FOUND + 1, n + i] = UNIT / 5


def rope(net: LM, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The rotary tables for ids [rows, length]."""
    return net.model.cos[: ids.shape[1]], net.model.sin[: ids.shape[1]]


@torch.no_grad()
def below(net: LM, ids: Tensor) -> Tensor:
    """States [rows, length, WIDE] after the layers that stay as they are."""
    x: Tensor = net.model.embed_tokens(ids)
    for layer in net.model.layers[:BELOW]:
        x = layer(x, rope(net, ids), None)
    return x


# --- training ----------------------------------------------------------------------


def tell(net: LM, data: Iterator[list[Batch]], steps: int, symbols: Tensor) -> None:
    """Train the comparing layer: the log-probability of a symbol, down to -6."""
    comparing, reading = net.model.layers[BELOW], nn.Linear(WIDE - FOUND, 1)
    params = [*comparing.mlp.parameters(), *reading.parameters()]
    optimiser = torch.optim.AdamW(params, betas=(0.9, 0.98), weight_decay=0.0)
    for step, halves in enumerate(data):
        total = 0.0
        for batch in halves:
            x, ids = below(net, batch.ids), batch.ids[:, 1:]
            logs = F.log_softmax(net.logits(net.model.norm(x))[:, :-1], -1)
            wanted = logs.gather(-1, ids[..., None]).squeeze(-1).detach().clamp(min=-6) / 3
            x = comparing(x, rope(net, batch.ids), None)
            told = reading(x[:, 1:, FOUND:] / UNIT).squeeze(-1)
            here = torch.isin(ids, symbols) & batch.real[:, 1:].bool()
            loss = ((told - wanted)[here] ** 2).mean() / 2
            loss.backward()
            total += loss.item()
        comparing.mlp.down_proj.weight.grad[:FOUND] = 0
        _step(optimiser, 3e-3 * _scale(step, steps))
        if (step + 1) % 20 == 0:
            print(f"tell {step + 1} error {total:.4f}", flush=True)


class Scaled(nn.Module):
    """What a matrix adds to each feature of the stream, in that feature's unit."""

    def __init__(self, units: Tensor) -> None:
        super().__init__()
        self.register_buffer("units", units[:, None])

    def forward(self, weight: Tensor) -> Tensor:
        """The matrix itself."""
        return self.units * weight

    def right_inverse(self, matrix: Tensor) -> Tensor:
        """What gives this matrix; a feature without a unit is never written to."""
        return matrix / self.units.where(self.units > 0, 1.0)


def judge(net: LM, data: Iterator[list[Batch]], steps: int, rate: float, hold: float) -> None:
    """Train the two layers on top: errors so far, and verdicts.

    hold: how strongly all else is held to the model below.
    """
    net.requires_grad_(False)
    gathering, saying = net.model.layers[BELOW + 1 :]
    for layer, state in ((gathering, 0.0), (saying, 5.0)):
        units = torch.full((WIDE,), UNIT)
        units[:STATE] = state
        layer.requires_grad_(True)
        for matrix in (layer.self_attn.o_proj, layer.mlp.down_proj):
            parametrize.register_parametrization(matrix, "weight", Scaled(units))
    reading = nn.Linear(WIDE - EXPECTED, 1)
    params = [*gathering.parameters(), *saying.parameters(), *reading.parameters()]
    optimiser = torch.optim.AdamW(params, betas=(0.9, 0.98), weight_decay=0.0)
    began = time.time()
    for step, halves in enumerate(data):
        losses = torch.zeros(3)
        for batch in halves:
            parts = judging_losses(net, batch, reading)
            (parts @ torch.tensor([1.0, hold, 1.0]) / 2).backward()
            losses += parts.detach() / 2
        nn.utils.clip_grad_norm_(params, 1.0)
        _step(optimiser, rate * _scale(step, steps))
        if (step + 1) % 10 == 0:
            said, moved, found = losses.tolist()
            seconds = time.time() - began
            print(f"judge {step + 1} {said:.3f} kl {moved:.5f} errors {found:.3f} s {seconds:.0f}")
    for layer in (gathering, saying):
        for matrix in (layer.self_attn.o_proj, layer.mlp.down_proj):
            parametrize.remove_parametrizations(matrix, "weight")


def judging_losses(net: LM, batch: Batch, reading: nn.Module) -> Tensor:
    """Of the verdicts, of the distance from the model below, and of the errors so far."""
    turn = rope(net, batch.ids)
    x = below(net, batch.ids)
    old = net.model.norm(x)[:, :-1]
    comparing, gathering, saying = net.model.layers[BELOW:]
    middle = gathering(comparing(x, turn, None), turn, None)
    new = net.model.norm(saying(middle, turn, None))[:, :-1]
    ids, learnt = batch.ids[:, 1:], batch.learnt[:, 1:] == 1
    kept = ~learnt & (batch.real[:, 1:] == 1) & (torch.rand(ids.shape) < KEPT)
    before, after = (F.log_softmax(net.logits(states[kept]), -1) for states in (old, new))
    errors = reading(middle[..., EXPECTED:] / UNIT).squeeze(-1)
    here = batch.errors >= 0
    return torch.stack(
        (
            F.cross_entropy(net.logits(new[learnt]), ids[learnt]),
            (before.exp() * (before - after)).sum(-1).mean(),
            F.binary_cross_entropy_with_logits(errors[here], batch.errors[here].float()),
        )
    )


def _step(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad()


def _scale(step: int, steps: int) -> float:
    """Of a learning rate: up for 30 steps, down over the second half."""
    return min(1.0, (step + 1) / 30, max(0.03, (steps - step) / (0.5 * steps)))


# --- files -------------------------------------------------------------------------


def save(net: LM, base: Path, folder: Path) -> None:
    """A checkpoint beside the tokenizer of the model below, in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((base / "config.json").read_text())
    config |= {
        "hidden_size": WIDE,
        "num_attention_heads": WIDE // HEAD,
        "num_key_value_heads": WIDE // HEAD,
        "num_hidden_layers": LAYERS,
        "max_window_layers": LAYERS,
    }
    for file in base.iterdir():
        if file.name not in ("config.json", "model.safetensors") and base != folder:
            shutil.copyfile(file, folder / file.name)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    halves = {name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}
    save_file(halves, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def main() -> None:
    """Widen, train and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="what train_nano_think exports")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--tell", type=int, default=300, help="steps of 16 rows")
    parser.add_argument("--judge", type=int, default=500, help="steps of 32 rows, written attempts")
    parser.add_argument("--own", type=int, default=300, help="steps of 32 rows, its own attempts")
    parser.add_argument("--problems", type=int, default=1400, help="of its own attempts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    symbols = [tokenizer.token_to_id(symbol) for symbol in SYMBOLS]
    stored = load_file(str(args.base / "model.safetensors"))
    base = {name: tensor.float() for name, tensor in stored.items()}
    rows = Rows(tokenizer)
    net = widened(base, symbols, rows(10**6).ids)
    tell(net, batches(rows, 10**6, args.tell, 16), args.tell, torch.tensor(symbols))
    judge(net, batches(rows, 0, args.judge, 32), args.judge, 2e-3, 1.0)
    save(net, args.base, args.out)
    rows = Rows(tokenizer, own_attempts(args.base, args.problems))
    judge(net, batches(rows, 2 * 10**6, args.own, 32), args.own, 1e-3, 10.0)
    save(net, args.base, args.out)


if __name__ == "__main__":
    main()
