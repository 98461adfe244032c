"""Train the embedded model `nano`: tokenizer, language model and process reward model.

Stages (each reads what the ones before it wrote below ``--work``)::

    python -m benchmarks.training.train_nano tokenizer  # byte-level BPE on generated text
    python -m benchmarks.training.train_nano lm  # two language models: one to ship, one stronger
    python -m benchmarks.training.train_nano rollouts  # samples of the shipped one
    python -m benchmarks.training.train_nano prm  # reward model: the stronger one, two layers
    python -m benchmarks.training.train_nano eval  # pass@k, majority, best-of-n, AUROC
    python -m benchmarks.training.train_nano export  # weights and the table of the model card
    python -m benchmarks.training.train_nano all

The shipped language model is an early one on purpose (an average of two snapshots), so that search
has something to find; the reward model stands on one that was trained for longer, so that it knows
better. Weights are written in the Hugging Face layout (Qwen2). Data, seeds and order are fixed.
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

from benchmarks.training.train_nano_net import (
    LM,
    SPECIALS,
    Cache,
    Shape,
    chat,
    pad,
)
from benchmarks.training.train_nano_prm import PRM, prm_shape, score, train_prm
from evals.tasks.nano import MIXES, NanoProblem, problem, problems, solution, step_labels

STAGES = ("tokenizer", "lm", "rollouts", "prm", "eval", "export")
FORK, SHIPPED, RESTART, STRONG = 1600, 1800, 2400, 4400
"""Steps: where the two models part, the shipped one ends, the stronger one cools and ends."""
SHARE = 0.2  # of the step SHIPPED in the average that is shipped; the rest is of the step FORK
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


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


# --- optimiser ---------------------------------------------------------------------


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Newton-Schulz), for weight matrices."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
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


def optimisers(net: nn.Module, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices = [p for n, p in net.named_parameters() if p.ndim == 2 and ".layers." in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in net.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    return [Muon(matrices, lr=muon_lr), adam]


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


def shipped_rate(step: int) -> float:
    """The scale of the learning rates: a long schedule, cut short by a quick cool-down."""
    return schedule(step, 2400 if step < FORK else SHIPPED)


def strong_rate(step: int) -> float:
    """The same after the fork for the stronger model: full speed with two cool-downs."""
    if step < RESTART:
        return min(1.0, max(0.03, (RESTART - step) / 300))
    return min(1.0, (step - RESTART + 1) / 50, max(0.03, (STRONG - step) / 700))


def lm_rows(tokenizer: Tokenizer, first: int, n: int) -> list[tuple[list[int], int]]:
    """Training rows `first` ... : (ids, length of the prompt), from fresh problems."""
    items = [problem("train", i, 1) for i in range(first, first + n)]
    prompts = tokenizer.encode_batch([chat(item.question) for item in items])
    texts = [solution(item, random.Random(item.id)) + SPECIALS[2] for item in items]
    answers = tokenizer.encode_batch(texts)
    return [(p.ids + a.ids, len(p.ids)) for p, a in zip(prompts, answers, strict=True)]


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


def train_lms(work: Path, size: int) -> None:
    """The shipped language model, lm.safetensors, and a stronger one, strong.safetensors."""
    state, fork = work / "lm_state.pt", work / "lm_state_fork.pt"
    train_lm(work, FORK, size, shipped_rate)
    shutil.copy(state, fork)
    train_lm(work, SHIPPED, size, shipped_rate)
    early, late = (load_file(str(work / f"lm_{step:05d}.safetensors")) for step in (FORK, SHIPPED))
    mixed = {name: early[name].lerp(late[name], SHARE) for name in early}
    save_file(mixed, str(work / "lm.safetensors"))
    shutil.copy(fork, state)
    train_lm(work, STRONG, size, strong_rate)
    shutil.copy(work / f"lm_{STRONG:05d}.safetensors", work / "strong.safetensors")


def train_lm(work: Path, steps: int, size: int, rate: Callable[[int], float]) -> None:
    """Train (or resume) a language model; a snapshot every 200 steps."""
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
        set_rate(opts, rate(step))
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


def make_rollouts(work: Path, n: int) -> None:
    """Write rollouts.jsonl, {"index", "text"}: one sample of each of `n` training problems."""
    tokenizer, net = load_tokenizer(work), load_lm(work)
    with (work / "rollouts.jsonl").open("w", encoding="utf-8") as out:
        for start in range(0, n, 1000):
            indices = range(start, min(start + 1000, n))
            items = [problem("train", i, 2, mix=MIXES["test"]) for i in indices]
            for i, (text,) in zip(indices, complete(net, tokenizer, items, 1, start), strict=True):
                out.write(json.dumps({"index": i, "text": text}) + "\n")


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


def test_samples(work: Path, net: LM, items: Sequence[NanoProblem], n: int) -> list[list[str]]:
    """n sampled solutions of each test problem, kept in samples.json for later runs."""
    file = work / "samples.json"
    if not file.exists():
        texts = complete(net, load_tokenizer(work), items, n, seed=12345)
        _write_json(file, texts)
    kept: list[list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return kept


def evaluate(
    work: Path, n: int, samples: int, shape: Callable[[int], Shape] = Shape
) -> dict[str, Any]:
    """Measure the LM and the PRM on `n` test problems; writes eval.json."""
    tokenizer, items = load_tokenizer(work), list(problems(n))
    texts = test_samples(work, load_lm(work, shape), items, samples)
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


def load_lm(work: Path, shape: Callable[[int], Shape] = Shape) -> LM:
    """The chosen language model, lm.safetensors."""
    net = LM(shape(load_tokenizer(work).get_vocab_size()))
    net.load_state_dict(load_file(str(work / "lm.safetensors")))
    return net.eval()


def load_prm(work: Path) -> PRM:
    """The trained process reward model, prm.safetensors (float16, computed in float32)."""
    net = PRM(prm_shape(load_tokenizer(work).get_vocab_size()))
    net.load_state_dict(load_file(str(work / "prm.safetensors")))
    return net.eval()


def export(work: Path, kind: str, folder: Path, sizes: Callable[[int], Shape] = Shape) -> None:
    """Write `kind` ("lm" or "prm") in the Hugging Face layout to `folder`."""
    tokenizer = load_tokenizer(work)
    save_tokenizer(tokenizer, folder)
    shape = sizes(tokenizer.get_vocab_size())
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


def fill_card(card: Path, result: dict[str, Any], mark: str = "<!-- measured -->") -> None:
    """Write the measured numbers of the model card, between `mark` and the end that follows."""
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
    head, rest = card.read_text(encoding="utf-8").split(mark)
    tail = rest.split("<!-- end -->", 1)[1]
    body = "\n".join(lines)
    text = f"{head}{mark}\n\n{body}\n\n<!-- end -->{tail}"
    card.write_text(text, encoding="utf-8")


# --- command line ------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The options; the defaults repeat the shipped weights."""
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("stage", choices=(*STAGES, "all"))
    result.add_argument("--work", type=Path, default=Path("nano_run"), help="working folder")
    result.add_argument("--out", type=Path, default=Path("reasoning/backends/nano/weights"))
    result.add_argument("--threads", type=int, default=2, help="CPU threads")
    result.add_argument("--vocab", type=int, default=640, help="at most this many tokens")
    result.add_argument("--lm-batch", type=int, default=96, help="problems per step")
    result.add_argument("--rollouts", type=int, default=12000)
    result.add_argument("--adapt-steps", type=int, default=120)
    result.add_argument("--tell-steps", type=int, default=600)
    result.add_argument("--prm-steps", type=int, default=800)
    result.add_argument("--prm-batch", type=int, default=64, help="solutions per step")
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
        train_lms(work, args.lm_batch)
    elif stage == "rollouts":
        make_rollouts(work, args.rollouts)
    elif stage == "prm":
        steps = (args.adapt_steps, args.tell_steps, args.prm_steps)
        train_prm(work, load_tokenizer(work), steps, args.prm_batch)
    elif stage == "eval":
        print(json.dumps(evaluate(work, args.eval_problems, args.eval_samples), indent=2))
    else:
        export(work, "lm", args.out / "lm")
        export(work, "prm", args.out / "prm", prm_shape)
        card = args.out.parent / "README.md"
        if card.exists():
            fill_card(card, json.loads((work / "eval.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
