"""Make `nano_draft`, a small sibling of `nano`: the cheap one of two models to route between.

Stages (each reads what the ones before it wrote below ``--work``)::

    python -m benchmarks.training.train_nano_draft cut  # a part of nano
    python -m benchmarks.training.train_nano_draft lm  # trains it; resumes from state.pt
    python -m benchmarks.training.train_nano_draft export  # weights, as float16, to the package
    python -m benchmarks.training.train_nano_draft eval  # pass@k, votes; the table of the card
    python -m benchmarks.training.train_nano_draft all

It is cut out of nano and trained on, which takes a fraction of what training anew would: three of
four layers; of their heads and feed-forward features those that say most; and of what passes
between layers the principal components (SliceGPT, Ashkboos et al., 2024, arXiv:2401.15024). Its
tokenizer, problems and solutions are nano's. Data, seeds and order are fixed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.training.train_nano import (
    evaluate,
    export,
    fill_card,
    lm_batches,
    load_tokenizer,
    optimisers,
    schedule,
    set_rate,
)
from benchmarks.training.train_nano_net import LM, Shape

STAGES = ("cut", "lm", "export", "eval")
MARK = "<!-- measured: draft -->"
LAYERS = (0, 2, 3)
"""Those of nano that stay: without the second one it loses least."""
HEADS, INNER = 4, 200
HIDDEN = 32 * HEADS
PROBE = 5_000_000
"""The first of the training problems on which it is found out what matters."""
SAVE = 50
"""Steps between two checkpoints."""


def shape(vocab: int) -> Shape:
    """The sizes of nano_draft."""
    return Shape(vocab=vocab, hidden=HIDDEN, layers=len(LAYERS), heads=HEADS, inner=INNER)


# --- cutting -----------------------------------------------------------------------


@dataclass(frozen=True)
class Worth:
    """What matters in nano: `basis` [hidden, hidden] has the principal directions of what enters
    the norms, first ones first; `heads` and `inner` how much each adds, by layer."""

    basis: Tensor
    heads: Mapping[int, Tensor]
    inner: Mapping[int, Tensor]


@torch.no_grad()
def worth(net: LM, ids: Tensor, targets: Tensor) -> Worth:
    """What matters where completions are written, in one pass over a batch."""
    wanted, spread = targets >= 0, torch.zeros(net.model.shape.hidden, net.model.shape.hidden)
    heads: dict[int, Tensor] = {}
    inner: dict[int, Tensor] = {}

    def seen(_: nn.Module, given: tuple[Tensor]) -> None:
        x = given[0][wanted]
        x = x / x.pow(2).mean(-1, keepdim=True).sqrt()
        spread.add_(x.T @ x)

    def watch(i: int, layer: Any) -> None:
        out, down = layer.self_attn.o_proj, layer.mlp.down_proj
        dim = net.model.shape.head_dim

        def attended(_: nn.Module, given: tuple[Tensor]) -> None:
            parts = zip(given[0].split(dim, -1), out.weight.split(dim, 1), strict=True)
            heads[i] = torch.stack([(x @ w.T).pow(2).mean() for x, w in parts])

        def fed(_: nn.Module, given: tuple[Tensor]) -> None:
            inner[i] = given[0].abs().mean((0, 1)) * down.weight.norm(dim=0)

        out.register_forward_pre_hook(attended)
        down.register_forward_pre_hook(fed)

    for module in net.modules():
        if isinstance(module, nn.RMSNorm):
            module.register_forward_pre_hook(seen)
    for i, layer in enumerate(net.model.layers):
        watch(i, layer)
    net.model(ids)
    return Worth(torch.linalg.eigh(spread).eigenvectors.flip(1), heads, inner)


def part(full: Mapping[str, Tensor], found: Worth, dim: int) -> dict[str, Tensor]:
    """The weights that stay, in the first HIDDEN principal directions.

    Turning what passes between layers changes nothing once a norm's weights stand in the matrices
    behind it; those of the last norm cannot, with tied embeddings, and become their mean.
    """
    turn = found.basis[:, :HIDDEN]
    last = full["model.norm.weight"]
    kept = {
        "model.embed_tokens.weight": full["model.embed_tokens.weight"] @ turn,
        "model.norm.weight": torch.full((HIDDEN,), last.mean().item()),
    }
    for new, old in enumerate(LAYERS):
        here, there = f"model.layers.{new}.", f"model.layers.{old}."
        heads = found.heads[old].topk(HEADS).indices.sort().values
        rows = (heads[:, None] * dim + torch.arange(dim)).flatten()
        feed = found.inner[old].topk(INNER).indices.sort().values
        for norm, names, which in (
            ("input_layernorm", [f"self_attn.{x}_proj" for x in "qkv"], rows),
            ("post_attention_layernorm", ["mlp.gate_proj", "mlp.up_proj"], feed),
        ):
            scale = full[f"{there}{norm}.weight"]
            kept[f"{here}{norm}.weight"] = torch.ones(HIDDEN)
            for name in names:
                kept[f"{here}{name}.weight"] = (full[f"{there}{name}.weight"] * scale)[which] @ turn
        for x in "qkv":
            kept[f"{here}self_attn.{x}_proj.bias"] = full[f"{there}self_attn.{x}_proj.bias"][rows]
        for name, which in (("self_attn.o_proj", rows), ("mlp.down_proj", feed)):
            kept[f"{here}{name}.weight"] = turn.T @ full[f"{there}{name}.weight"][:, which]
    return kept


def cut(work: Path, weights: Path) -> None:
    """cut.safetensors, a part of nano that has not been trained since."""
    shutil.copytree(weights / "lm", work / "tokenizer", dirs_exist_ok=True)
    tokenizer, full = load_tokenizer(work), load_file(str(weights / "lm" / "model.safetensors"))
    net = LM(Shape(vocab=tokenizer.get_vocab_size()))
    net.load_state_dict(full)
    ids, targets = next(lm_batches(tokenizer, PROBE // 64, PROBE // 64 + 1, 64, pool=1))
    kept = part(full, worth(net, ids, targets), net.model.shape.head_dim)
    save_file({name: x.contiguous() for name, x in kept.items()}, str(work / "cut.safetensors"))


# --- training ----------------------------------------------------------------------


def loss_of(net: LM, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over completion tokens, in nats."""
    wanted = targets >= 0
    return F.cross_entropy(net.logits(net.model(ids)[wanted]), targets[wanted])


def train(work: Path, steps: int, size: int, scale: float) -> None:
    """Train what was cut out, or resume; lm.safetensors has what float16 keeps of it.

    Rates are nano's times `scale`, and fall over the last 80 % of the steps.
    """
    tokenizer, file = load_tokenizer(work), work / "state.pt"
    net = LM(shape(tokenizer.get_vocab_size()))
    net.load_state_dict(load_file(str(work / "cut.safetensors")))
    opts = optimisers(net, muon_lr=0.02, adam_lr=4e-3)
    start, began = 0, time.time()
    if file.exists():
        state = torch.load(file)
        start = state["step"]
        net.load_state_dict(state["net"])
        for opt, saved in zip(opts, state["opts"], strict=True):
            opt.load_state_dict(saved)
    for step, (ids, targets) in enumerate(lm_batches(tokenizer, start, steps, size), start + 1):
        set_rate(opts, scale * schedule(step - 1, steps, warm=10, decay=0.8))
        loss = loss_of(net, ids, targets)
        loss.backward()
        for opt in opts:
            opt.step()
            opt.zero_grad()
        if step % 10 == 0:
            print(f"step {step} loss {loss.item():.4f} s {time.time() - began:.0f}", flush=True)
        if step % SAVE == 0 or step == steps:
            saved = [opt.state_dict() for opt in opts]
            torch.save({"step": step, "net": net.state_dict(), "opts": saved}, work / "state.tmp")
            (work / "state.tmp").replace(file)
            halves = {name: tensor.half() for name, tensor in net.state_dict().items()}
            save_file(halves, str(work / "lm.safetensors"))


def measure(work: Path, weights: Path, problems: int, samples: int) -> None:
    """Measure it, and nano's reward model on its solutions; the numbers go to the card."""
    shutil.copy(weights / "prm" / "model.safetensors", work / "prm.safetensors")
    result = evaluate(work, problems, samples, shape)
    print(json.dumps(result, indent=2))
    fill_card(weights.parent / "README.md", result, MARK)


# --- command line ------------------------------------------------------------------


def main() -> None:
    """Run one stage, or all in order."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage", choices=(*STAGES, "all"))
    parser.add_argument("--work", type=Path, default=Path("nano_draft_run"), help="working folder")
    parser.add_argument("--out", type=Path, default=Path("reasoning/backends/nano/weights"))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--steps", type=int, default=1000, help="a multiple of 10")
    parser.add_argument("--batch", type=int, default=16, help="problems per step")
    parser.add_argument("--scale", type=float, default=0.3, help="of nano's learning rates")
    parser.add_argument("--eval-problems", type=int, default=200)
    parser.add_argument("--eval-samples", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for stage in STAGES if args.stage == "all" else [args.stage]:
        if stage == "cut":
            cut(args.work, args.out)
        elif stage == "lm":
            train(args.work, args.steps, args.batch, args.scale)
        elif stage == "export":
            export(args.work, "lm", args.out / "draft", shape)
        else:
            measure(args.work, args.out, args.eval_problems, args.eval_samples)


if __name__ == "__main__":
    main()
