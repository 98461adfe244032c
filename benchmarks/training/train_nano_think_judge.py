"""Teach `nano_think` to see wrong steps, on which its verdicts rest.

::

    python -m benchmarks.training.train_nano_think_judge --work nano_think_run

From one word at the end of a long attempt it hardly learns which step makes an attempt wrong. So
training goes on for a while with a second loss: where a line of an attempt ends, a linear head on
the last layer but one tells whether that step follows from what was claimed before it. The head is
thrown away; what it has made the layers find is there for the last one to gather. Goes on from
lm.safetensors and writes there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.training.nano_think_traces import STOP
from benchmarks.training.train_nano import optimisers, set_rate
from benchmarks.training.train_nano_net import LM, pad
from benchmarks.training.train_nano_think import Rows, load_tokenizer, shape
from evals.tasks.nano_think import BEGIN, END, Program, apply, operands, problem, steps_of

SEED = 3
"""Of the rows: others than those of the training before."""


def follows(item: Program, attempt: str) -> list[int]:
    """1 for every step of an attempt that is right, given what was claimed before it."""
    lines = {line.name: line for line in item.lines}
    values = {"a": item.first}
    labels = []
    for step in steps_of(attempt):
        line = lines[step.name]
        left, right = operands(line, values)
        said = (step.left, step.op, step.right, step.value)
        labels.append(int(said == (left, line.op, right, apply(line.op, left, right))))
        values[step.name] = step.value
    return labels


class Marked:
    """Training rows with a label for every line of an attempt."""

    def __init__(self, rows: Rows, ends: set[int]) -> None:
        self.rows, self.ends = rows, ends

    def __call__(self, index: int) -> tuple[list[int], list[float], list[int]]:
        """Tokens, their weights in the loss, and labels: -1 where there is none."""
        ids: list[int] = []
        weights: list[float] = []
        labels: list[int] = []
        item = problem("train", index, SEED)
        for text, weight in self.rows.pieces(index, SEED):
            piece = self.rows.encode(text)
            own = [-1] * len(piece)
            if (
                text.startswith(BEGIN)
                and END in text
                and text.endswith(STOP)
                and not labels_in(labels)
            ):
                places = [i for i, token in enumerate(piece) if token in self.ends]
                for place, label in zip(places, follows(item, text), strict=False):
                    own[place] = label
            ids, weights, labels = ids + piece, weights + [weight] * len(piece), labels + own
        return ids, weights, labels


def labels_in(labels: list[int]) -> bool:
    """Whether an attempt before this one, on which it goes on, has its labels already."""
    return any(label >= 0 for label in labels)


def states(net: LM, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The states of the last layer but one, and the final ones."""
    body = net.model
    rope = (body.cos[: ids.shape[1]], body.sin[: ids.shape[1]])
    x = body.embed_tokens(ids)
    for layer in body.layers[:-1]:
        x = layer(x, rope, None)
    return x, body.norm(body.layers[-1](x, rope, None))


def losses(net: LM, head: nn.Module, ids: Tensor, weights: Tensor, labels: Tensor) -> list[Tensor]:
    """The loss of the language model and that of the head, in nats."""
    inner, final = states(net, ids)
    weight = weights[:, 1:]
    wanted = weight > 0
    each = F.cross_entropy(net.logits(final[:, :-1][wanted]), ids[:, 1:][wanted], reduction="none")
    weight = weight[wanted]
    marked = labels >= 0
    told = head(inner[marked])[:, 0]
    wrong = F.binary_cross_entropy_with_logits(told, labels[marked].float())
    return [(each * weight).sum() / weight.sum(), wrong]


def train(work: Path, steps: int, size: int, share: float) -> None:
    """Go on for `steps` steps at falling rates that begin at `share` of the first ones."""
    tokenizer = load_tokenizer(work)
    net = LM(shape(tokenizer.get_vocab_size()))
    net.load_state_dict(load_file(str(work / "lm.safetensors")))
    torch.manual_seed(0)
    head = nn.Sequential(nn.RMSNorm(net.model.shape.hidden), nn.Linear(net.model.shape.hidden, 1))
    opts = optimisers(net, muon_lr=0.02 * share, adam_lr=4e-3 * share)
    opts.append(torch.optim.AdamW(head.parameters(), lr=4e-3))
    rows = Marked(Rows(tokenizer), {tokenizer.get_vocab()[end] for end in (".ĊĊ", ".Ċ")})
    began = time.time()
    for step in range(steps):
        set_rate(opts, min(1.0, (step + 1) / 20, 0.03 + (steps - step) / steps))
        ids, weights, labels = zip(*(rows(step * size + i) for i in range(size)), strict=True)
        parts = losses(
            net,
            head,
            pad(ids),
            pad([[int(w) for w in row] for row in weights]).float(),
            pad(labels, -1),
        )
        (parts[0] + parts[1]).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        if (step + 1) % 10 == 0:
            told = " ".join(f"{part.item():.4f}" for part in parts)
            print(f"step {step + 1} losses {told} s {time.time() - began:.0f}", flush=True)
        if (step + 1) % 25 == 0 or step + 1 == steps:
            save_file(net.state_dict(), str(work / "judge.safetensors"))
    (work / "judge.safetensors").replace(work / "lm.safetensors")


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("nano_think_run"), help="working folder")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32, help="rows per step")
    parser.add_argument("--share", type=float, default=0.5, help="of the first learning rates")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.work, args.steps, args.batch, args.share)


if __name__ == "__main__":
    main()
