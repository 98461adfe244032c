"""Teach `nano_think` to tell at once whether an attempt is right.

::

    python -m benchmarks.training.train_nano_verdict --work FOLDER  # from the committed checkpoint
    python -m benchmarks.training.train_nano_verdict --base CHECKPOINT --work FOLDER --out NEW

The four layers that think stay as they are, number for number, in a wider residual stream; three
layers come on top, and what they may add to anything but verdicts and critiques is held down
(Kullback-Leibler divergence from the model below). Whatever the checkpoint has on top already is
left out.

The layers below predict the next token, and have lost their own by then. So the wider stream
carries the token of each position along, where it is a digit or an operator. Layer five looks one
position back, at what was expected there, and learns how surprising the token was (`tell`). Layer
six gathers surprises, and learns whether any step so far is wrong and has not been put right; layer
seven says so when it is asked (`judge`): first of attempts that the program of `nano_think_traces`
has written, then of the model's own, drawn at temperature 1 on training problems (`own`).

A run that is cut short goes on from its last checkpoint in --work, to the same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrize

from benchmarks.training.nano_verdict_rows import Batch, Rows, batches, own_attempts
from benchmarks.training.train_nano_net import LM, Shape
from benchmarks.training.train_nano_prm import look_back

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
INNER = 320  # units of a layer
FIT = (STATE / WIDE) ** 0.5  # a norm over WIDE features of which STATE are not about zero
KEPT = 0.25  # of the positions at which the model is held to the one below
SHIPPED = Path("reasoning/backends/nano/weights/think")


# --- network -----------------------------------------------------------------------


def shape(vocab: int, hidden: int = WIDE, layers: int = LAYERS) -> Shape:
    """The sizes of the whole model."""
    return Shape(vocab, hidden=hidden, layers=layers, heads=hidden // HEAD, inner=INNER)


def thinking(folder: Path) -> dict[str, Tensor]:
    """The layers that think, of a checkpoint that may have those on top already."""
    stored = load_file(str(folder / "model.safetensors"))
    vocab, hidden = stored["model.embed_tokens.weight"].shape
    found = {}
    for name, part in LM(shape(vocab, STATE, BELOW)).state_dict().items():
        if name in stored:
            cut = stored[name].float()[tuple(map(slice, part.shape))]
            found[name] = cut / FIT if hidden == WIDE and "norm" in name else cut
    return found


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
    mlp.down_proj.weight[FOUND:] = torch.randn(WIDE - FOUND, INNER) * UNIT * 0.05
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


class Stage:
    """Steps that can be cut short: a file holds all that the next of them needs."""

    def __init__(self, file: Path, steps: int, every: int) -> None:
        self.file, self.steps, self._every, self._began = file, steps, every, time.time()

    def over(
        self, rows: Rows, first: int, size: int, rate: float, **parts: Any
    ) -> Iterator[list[Batch]]:
        """The batches that are left; after each, one of `parts`, the optimiser, makes a step."""
        done, optimiser = 0, parts["optimiser"]
        if self.file.exists():
            state = torch.load(self.file)
            done = state["done"]
            for name, part in parts.items():
                part.load_state_dict(state[name])
            torch.set_rng_state(state["random"])
        left = batches(rows, first + done * size, self.steps - done, size)
        for step, halves in enumerate(left, done):
            yield halves
            for group in optimiser.param_groups:
                group["lr"] = rate * _scale(step, self.steps)
            optimiser.step()
            optimiser.zero_grad()
            if (step + 1) % self._every == 0 or step + 1 == self.steps:
                self._save(step + 1, parts)

    def _save(self, done: int, parts: dict[str, Any]) -> None:
        """Write the file; a run killed meanwhile leaves the one before."""
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"done": done, "random": torch.get_rng_state()}
        unfinished = self.file.with_suffix(".tmp")
        torch.save(state, unfinished)
        unfinished.replace(self.file)
        seconds = time.time() - self._began
        print(f"{self.file.stem} {done} of {self.steps}, {seconds:.0f} s", flush=True)


def _scale(step: int, steps: int) -> float:
    """Of a learning rate: up for 30 steps, down over the second half."""
    return min(1.0, (step + 1) / 30, max(0.03, (steps - step) / (0.5 * steps)))


def _adam(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, betas=(0.9, 0.98), weight_decay=0.0)


def tell(net: LM, stage: Stage, rows: Rows, symbols: Tensor) -> None:
    """Train the comparing layer: the log-probability of a symbol, down to -6."""
    comparing, reading = net.model.layers[BELOW], nn.Linear(WIDE - FOUND, 1)
    optimiser = _adam([*comparing.mlp.parameters(), *reading.parameters()])
    parts = {"net": net, "reading": reading, "optimiser": optimiser}
    for halves in stage.over(rows, 10**6, 16, 3e-3, **parts):
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
        print(f"error {total:.4f}", flush=True)


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


def judge(net: LM, stage: Stage, rows: Rows, first: int, rate: float, hold: float) -> None:
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
    parts = {"net": net, "reading": reading, "optimiser": _adam(params)}
    for halves in stage.over(rows, first, 32, rate, **parts):
        losses = torch.zeros(3)
        for batch in halves:
            each = judging_losses(net, batch, reading)
            (each @ torch.tensor([1.0, hold, 1.0]) / 2).backward()
            losses += each.detach() / 2
        nn.utils.clip_grad_norm_(params, 1.0)
        said, moved, found = losses.tolist()
        print(f"verdicts {said:.3f} kl {moved:.5f} errors {found:.3f}", flush=True)
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


def begun(work: Path, given: dict[str, Any]) -> None:
    """Open the folder of checkpoints. Raises SystemExit if a run of other arguments is in it."""
    work.mkdir(parents=True, exist_ok=True)
    file = work / "arguments.json"
    if file.exists() and (before := json.loads(file.read_text())) != given:
        raise SystemExit(f"{work} holds a run of {before}, not of {given}: name another folder")
    file.write_text(json.dumps(given))


def main() -> None:
    """Widen, train and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="where checkpoints of training go")
    parser.add_argument("--base", type=Path, default=SHIPPED, help="what train_nano_think exports")
    parser.add_argument("--out", type=Path, help="where the model goes (default: --work)")
    parser.add_argument("--tell", type=int, default=300, help="steps of 16 rows")
    parser.add_argument("--judge", type=int, default=500, help="steps of 32 rows, written attempts")
    parser.add_argument("--own", type=int, default=300, help="steps of 32 rows, its own attempts")
    parser.add_argument("--problems", type=int, default=1400, help="of its own attempts")
    parser.add_argument("--every", type=int, default=20, help="steps from checkpoint to checkpoint")
    args = parser.parse_args()
    weights = hashlib.sha256((args.base / "model.safetensors").read_bytes()).hexdigest()
    steps = {name: getattr(args, name) for name in ("tell", "judge", "own")}
    begun(args.work, {"base": weights, **steps, "problems": args.problems})
    told, judged, owned = (
        Stage(args.work / f"{name}.pt", n, args.every) for name, n in steps.items()
    )
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    symbols = [tokenizer.token_to_id(symbol) for symbol in SYMBOLS]
    rows = Rows(tokenizer)
    net = widened(thinking(args.base), symbols, rows(10**6).ids)
    tell(net, told, rows, torch.tensor(symbols))
    judge(net, judged, rows, 0, 2e-3, 1.0)
    rows = Rows(tokenizer, own_attempts(args.base, args.problems, args.work / "own.json"))
    judge(net, owned, rows, 2 * 10**6, 1e-3, 10.0)
    save(net, args.base, args.out or args.work / "model")


if __name__ == "__main__":
    main()
