"""Train the embedded model `nano_think`, which thinks before it answers.

Stages (each reads what the ones before it wrote below ``--work``)::

    python -m benchmarks.training.train_nano_think tokenizer  # byte-level BPE on generated text
    python -m benchmarks.training.train_nano_think lm  # resumes from state.pt where there is one
    python -m benchmarks.training.train_nano_think export  # weights, as float16, to the package
    python -m benchmarks.training.train_nano_think all

`benchmarks.training.nano_think_traces` says what it learns from and
`benchmarks.training.eval_nano_think` measures what came of it. Data, seeds and order are fixed: a
run that is cut short and resumed sees the same rows as one that is not.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
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
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks.training.nano_think_traces import Piece, row, texts
from benchmarks.training.train_nano import CHAT_TEMPLATE, PATTERN, optimisers, set_rate
from benchmarks.training.train_nano_net import LM, Shape, pad
from evals.tasks.nano_think import BEGIN, END, problem

STAGES = ("tokenizer", "lm", "export")
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SAVE = 50
"""Steps between two checkpoints."""
POOL = 16
"""Batches drawn at a time and sorted by length, to save padding."""


# --- tokenizer ---------------------------------------------------------------------


def train_tokenizer(size: int, n: int = 4000) -> Tokenizer:
    """A byte-level BPE of at most `size` tokens; the marks of a thought are tokens, and text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    marks = [*SPECIALS, BEGIN, END]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(marks),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    plain = (part for text in texts(n) for part in _without(text, marks))
    tokenizer.train_from_iterator(plain, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in (BEGIN, END)])
    return tokenizer


def _without(text: str, marks: Sequence[str]) -> list[str]:
    """The parts of `text` between the marks, which are tokens of their own."""
    for mark in marks:
        text = text.replace(mark, "\0")
    return text.split("\0")


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """tokenizer.json, vocab.json, merges.txt and the configuration files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIALS,
        }
        for token in (*SPECIALS, BEGIN, END)
    }
    end, start, stop = SPECIALS
    special = {
        "eos_token": stop,
        "pad_token": end,
        "additional_special_tokens": [start, stop],
    }
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": added,
        "add_prefix_space": False,
        "bos_token": None,
        "unk_token": None,
        "errors": "replace",
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
        "chat_template": CHAT_TEMPLATE,
        **special,
    }
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "special_tokens_map.json", special)


def _write_json(path: Path, value: object) -> None:
    """Indented JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_tokenizer(work: Path) -> Tokenizer:
    """The tokenizer of this run."""
    return Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))


# --- data --------------------------------------------------------------------------


class Rows:
    """Training rows by number: tokens and, for each, its weight in the loss."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Tokens of a piece; the short ones, which come again and again, are remembered."""
        if text not in self._known:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            if len(text) > 90 or len(self._known) > 4096:
                return ids
            self._known[text] = ids
        return self._known[text]

    def cut(self, text: str, rng: random.Random) -> str:
        """A beginning of `text` that ends between two of its tokens."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text[: rng.choice(offsets)[1]]

    def pieces(self, index: int, seed: int = 1) -> list[Piece]:
        """Row `index` as text."""
        item = problem("train", index, seed)
        return row(item, random.Random(f"row:{seed}:{index}"), self.cut)

    def __call__(self, index: int) -> tuple[list[int], list[float]]:
        """Row `index` as tokens and weights."""
        ids: list[int] = []
        weights: list[float] = []
        for text, weight in self.pieces(index):
            piece = self.encode(text)
            ids += piece
            weights += [weight] * len(piece)
        return ids, weights


def batches(
    tokenizer: Tokenizer, start: int, total: int, size: int, rank: int = 0, ranks: int = 1
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches from step `start` on: ids, the tokens that follow and their weights.

    All are [size / ranks, length]; process `rank` of `ranks` has every ranks-th row.
    """
    rows = Rows(tokenizer)
    for block in range(start // POOL, -(-total // POOL)):
        numbers = range(block * POOL * size + rank, (block + 1) * POOL * size, ranks)
        drawn = sorted(map(rows, numbers), key=lambda r: len(r[0]))
        share = len(drawn) // POOL
        groups = [drawn[i * share : (i + 1) * share] for i in range(POOL)]
        random.Random(block).shuffle(groups)
        for i, group in enumerate(groups):
            if start <= block * POOL + i < total:
                ids = pad([row for row, _ in group])
                weights = pad([[int(w) for w in weights] for _, weights in group]).float()
                yield ids[:, :-1], ids[:, 1:], weights[:, 1:]


# --- training ----------------------------------------------------------------------


def shape(vocab: int) -> Shape:
    """The sizes of nano_think."""
    return Shape(vocab=vocab, hidden=128, layers=4, heads=4, inner=320)


def loss_of(net: LM, ids: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy over the assistant's tokens, in nats."""
    wanted = weights > 0
    losses = F.cross_entropy(net.logits(net.model(ids)[wanted]), targets[wanted], reduction="none")
    weight = weights[wanted]
    return (losses * weight).sum() / weight.sum()


def rate(step: int, total: int, cool: int) -> float:
    """The scale of the learning rates: a short start, then full until `cool` steps from the end."""
    return min(1.0, (step + 1) / 50, max(0.03, (total - step) / cool))


def train(work: Path, total: int, size: int, cool: int, processes: int) -> None:
    """Train, or go on from state.pt; the weights go to lm.safetensors at every checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        meet = (Path(folder) / "meet").as_uri()
        torch.multiprocessing.spawn(_train, (meet, work, total, size, cool, processes), processes)


def _train(
    rank: int, meet: str, work: Path, total: int, size: int, cool: int, processes: int
) -> None:
    """One of several processes, of one thread each: threads that wait for each other at every
    product would stand still for most of the time on a machine that has other work to do."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=processes)
    tokenizer = load_tokenizer(work)
    torch.manual_seed(0)
    net = LM(shape(tokenizer.get_vocab_size()))
    opts = optimisers(net, muon_lr=0.02, adam_lr=4e-3)
    start, file = 0, work / "state.pt"
    if file.exists():
        state = torch.load(file)
        start = state["step"]
        net.load_state_dict(state["net"])
        for opt, saved in zip(opts, state["opts"], strict=True):
            opt.load_state_dict(saved)
    began, tokens, losses = time.time(), 0, 0.0
    drawn = batches(tokenizer, start, total, size, rank, processes)
    for step, batch in enumerate(drawn, start):
        set_rate(opts, rate(step, total, cool))
        loss = loss_of(net, *batch)
        loss.backward()
        average(net, processes)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        tokens, losses = tokens + batch[0].numel(), losses + loss.item()
        if rank == 0 and (step + 1) % 20 == 0:
            seconds, mean = time.time() - began, losses / 20
            print(f"step {step + 1} loss {mean:.4f} s {seconds:.0f} tokens {tokens}", flush=True)
        losses = losses if (step + 1) % 20 else 0.0
        if rank == 0 and ((step + 1) % SAVE == 0 or step + 1 == total):
            save(work, net, opts, step + 1)


def average(net: LM, processes: int) -> None:
    """Make the gradients the mean of those of all processes, of norm 1 at most."""
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient) / processes)
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)


def save(work: Path, net: LM, opts: Sequence[torch.optim.Optimizer], step: int) -> None:
    """Write the checkpoint; a run killed meanwhile leaves the one before."""
    state = {"step": step, "net": net.state_dict(), "opts": [opt.state_dict() for opt in opts]}
    torch.save(state, work / "state.tmp")
    (work / "state.tmp").replace(work / "state.pt")
    save_file(net.state_dict(), str(work / "lm.safetensors"))


# --- files -------------------------------------------------------------------------


def export(work: Path, folder: Path) -> None:
    """Write the model in the Hugging Face layout; float16, to be computed in float32."""
    tokenizer = load_tokenizer(work)
    save_tokenizer(tokenizer, folder)
    sizes = shape(tokenizer.get_vocab_size())
    end, _, stop = map(tokenizer.token_to_id, SPECIALS)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": sizes.vocab,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.heads,
        "hidden_act": "silu",
        "max_position_embeddings": sizes.positions,
        "rms_norm_eps": sizes.eps,
        "rope_theta": sizes.theta,
        "rope_scaling": None,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": sizes.layers,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": stop,
        "pad_token_id": end,
        "torch_dtype": "float32",
    }
    generation = {
        "do_sample": True,
        "temperature": 1.0,
        "eos_token_id": [stop, end],
        "pad_token_id": end,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", generation)
    weights = load_file(str(work / "lm.safetensors"))
    halves = {name: tensor.half() for name, tensor in weights.items()}
    save_file(halves, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


# --- command line ------------------------------------------------------------------


def main() -> None:
    """Run one stage, or all in order."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage", choices=(*STAGES, "all"))
    parser.add_argument("--work", type=Path, default=Path("nano_think_run"), help="working folder")
    parser.add_argument("--out", type=Path, default=Path("reasoning/backends/nano/weights/think"))
    parser.add_argument("--processes", type=int, default=2, help="of one thread each")
    parser.add_argument("--vocab", type=int, default=416, help="at most this many tokens")
    parser.add_argument("--steps", type=int, default=1750)
    parser.add_argument("--cool", type=int, default=650, help="the last steps, at falling rates")
    parser.add_argument("--batch", type=int, default=32, help="rows per step")
    args = parser.parse_args()
    for stage in STAGES if args.stage == "all" else [args.stage]:
        if stage == "tokenizer":
            save_tokenizer(train_tokenizer(args.vocab), args.work / "tokenizer")
        elif stage == "lm":
            train(args.work, args.steps, args.batch, args.cool, args.processes)
        else:
            export(args.work, args.out)


if __name__ == "__main__":
    main()
