"""How the process reward models that people use want to be asked: one row a family.

A layout is the tokens a model reads, and the positions where it says what it thinks of each step.
Question and frame may hold special tokens; a step may not: there they are written out, so that
a solution cannot pretend that a step, or its own turn, had ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from reasoning.errors import RecipeError
from reasoning.verify import Reduction


@dataclass(frozen=True, slots=True)
class Layout:
    """Token ids, and for each step the position (ascending) whose output is its score."""

    ids: list[int]
    marks: list[int]


_HUB_SECONDS = 5.0
"""How long the hub may take to say that it is there."""


def _file(source: str) -> Path:
    """A checkpoint's tokenizer.json, from its folder, the hub, or the hub's cache."""
    if (folder := Path(source)).is_dir():
        return folder / "tokenizer.json"
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = not _reachable(source)
    try:
        return Path(hf_hub_download(source, "tokenizer.json", local_files_only=offline))
    except LocalEntryNotFoundError:
        raise FileNotFoundError("the hub does not answer, and its cache has none") from None


def _reachable(model: str) -> bool:
    """Whether the hub answers at all. Asked first, since a download is tried for half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(model, timeout=_HUB_SECONDS)
    except HfHubHTTPError:
        return True
    except Exception:  # of whatever client it uses
        return False
    return True


class Tokens:
    """A checkpoint's tokenizer, from its folder or, by name, from the hub. Raises RecipeError."""

    def __init__(self, source: str) -> None:
        from tokenizers import Tokenizer

        self.source = source
        try:
            self._tokenizer = Tokenizer.from_file(str(_file(source)))
        except Exception as error:  # tokenizers raises plain exceptions
            raise RecipeError(
                f"no tokenizer at {source!r} ({error}); name a folder with a tokenizer.json, or "
                "a model on the hub, as the verifier's tokenizer"
            ) from error
        self.step = lru_cache(maxsize=1 << 14)(self._step)
        self.frame = lru_cache(maxsize=1 << 12)(self._frame)

    def id(self, token: str) -> int:
        """The id of the token written `token`. Raises RecipeError if there is none."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise RecipeError(
                f"the tokenizer of {self.source!r} has no token {token!r}, which this family of "
                "reward models needs; set verifier.family or verifier.tokenizer"
            )
        return int(found)

    def whole(self, text: str) -> Any:
        """The encoding of `text` with the beginning-of-text token, special tokens written out."""
        text.encode()  # what is not text: the tokenizer would not say why
        self._tokenizer.encode_special_tokens = True
        return self._tokenizer.encode(text)

    def beginning(self) -> str:
        """The beginning-of-text token as tokenizer_config.json has it; Qwen's if it has none."""
        path = Path(self.source) / "tokenizer_config.json"
        if not Path(self.source).is_dir():
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(self.source, "tokenizer_config.json"))
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        found = config.get("bos_token")
        return str(found["content"] if isinstance(found, Mapping) else found or "<|endoftext|>")

    def _step(self, text: str) -> tuple[int, ...]:
        """Ids of what the candidate wrote: special tokens count as plain text."""
        text.encode()
        self._tokenizer.encode_special_tokens = True
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _frame(self, text: str) -> tuple[int, ...]:
        """Ids of what we wrote around it: special tokens count."""
        text.encode()
        self._tokenizer.encode_special_tokens = False
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)


Lay: TypeAlias = Callable[[Tokens, str, Sequence[str]], Layout]


@dataclass(frozen=True, slots=True)
class Family:
    """One row. `models` is a pattern of names it is recognised by.

    The model's output at a mark has `columns` numbers that went through its activation, and the
    one in column `good` is the score. `tag` is the token that pooling by steps goes by, None where
    scores must be read at all tokens. `overrides` makes a reward model of a language model: vLLM's
    `hf_overrides`, for use with `convert: classify`. `dtype` is what its numbers need, None for
    what vLLM takes by itself, which is never more than 16 bits. `reduction` is what the authors
    make of the scores of a path's steps.
    """

    models: str
    lay: Lay
    columns: int = 2
    good: int = 1
    tag: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    dtype: str | None = None
    reduction: Reduction = "last"


def tagged(frame: Callable[[Tokens, str], str], tag: str) -> Lay:
    """The question in its frame, then every step with `tag` after it, judged at the tag."""

    def lay(tokens: Tokens, question: str, steps: Sequence[str]) -> Layout:
        ids, marks = list(tokens.frame(frame(tokens, question))), []
        (mark,) = tokens.frame(tag)
        for step in steps:
            ids += tokens.step(step)
            marks.append(len(ids))
            ids.append(mark)
        return Layout(ids, marks)

    return lay


def chatml(system: str | None) -> Callable[[Tokens, str], str]:
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""

    def frame(_: Tokens, question: str) -> str:
        return f"{head}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"

    return frame


def rlhflow(tokens: Tokens, question: str, steps: Sequence[str]) -> Layout:
    """A conversation: the user says a step, the assistant answers + or -; judged before the +."""
    user, assistant = (
        tokens.frame(f"<|start_header_id|>{role}<|end_header_id|>\n\n")
        for role in ("user", "assistant")
    )
    end, plus = tokens.id("<|eot_id|>"), tokens.id("+")
    ids, marks = list(tokens.frame(_LLAMA_HEAD)), []
    for number, step in enumerate(steps):
        said = f"{question} {step}" if number == 0 else step
        ids += [*user, *tokens.step(said.strip()), end, *assistant]
        marks.append(len(ids) - 1)
        ids += [plus, end]
    return Layout(ids, marks)


_LLAMA_HEAD = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
)


def shepherd(tokens: Tokens, question: str, steps: Sequence[str]) -> Layout:
    """Plain text of numbered steps, each ended by the word `ки`, at which it is judged."""
    text, ends = question, []
    for number, step in enumerate(steps, 1):
        label = "" if re.match(r"Step \d", step) else f"Step {number}: "
        text += f"{' ' if number == 1 else chr(10)}{label}{step} {_SHEPHERD_TAG}"
        ends.append(len(text) - 1)
    encoding = tokens.whole(text)
    marks = [encoding.char_to_token(end) for end in ends]
    tag = tokens.id(f"\u2581{_SHEPHERD_TAG}")
    if any(mark is None or encoding.ids[mark] != tag for mark in marks):
        raise RecipeError(
            f"the tokenizer of {tokens.source!r} does not keep {_SHEPHERD_TAG!r} in one token, at "
            "which this family judges a step; set verifier.family or verifier.tokenizer"
        )
    return Layout(list(encoding.ids), marks)


_SHEPHERD_TAG = "ки"


def first_of(good: str, bad: str) -> dict[str, Any]:
    """Overrides that make a classifier of a language model: `good` against `bad` as next token."""
    return {"classifier_from_token": [good, bad], "method": "no_post_processing"}


FAMILIES: dict[str, Family] = {
    # Zhang et al., 2025, arXiv:2501.07301; also Qwen2.5-Math-7B-PRM800K
    "qwen": Family(
        r"qwen2\.5-math(-\d+b)?-prm",
        tagged(
            chatml(r"Please reason step by step, and put your final answer within \boxed{}."),
            "<extra_0>",
        ),
        tag="<extra_0>",
    ),
    # Skywork o1 Open PRM, 2024; its class for vLLM is in verifiers/engines/skywork_model.py
    "skywork": Family(
        r"skywork-o1-open-prm",
        tagged(lambda tokens, question: f"{tokens.beginning()}{question}\n", "\n"),
        columns=1,
        good=0,
    ),
    # Xiong et al., 2024, RLHFlow/RLHF-Reward-Modeling
    "rlhflow": Family(r"llama3\.1-8b-prm", rlhflow, good=0, overrides=first_of("+", "-")),
    # Wang et al., 2023, arXiv:2312.08935
    "math_shepherd": Family(
        r"math-shepherd",
        shepherd,
        good=0,
        overrides=first_of("\u2581+", "\u2581-"),
        reduction="min",
    ),
    # the embedded checkpoint, see reasoning/backends/nano/README.md
    "nano": Family(
        r"(^|/)nano(/|$|.*prm)",
        tagged(chatml(None), "<extra_0>"),
        tag="<extra_0>",
        dtype="float32",
    ),
}


def family_of(model: str) -> str:
    """The family a model belongs to, by its name. Raises RecipeError for an unknown one."""
    for name, family in FAMILIES.items():
        if re.search(family.models, model.lower()):
            return name
    raise RecipeError(
        f"vllm_prm does not know the family of {model!r}; set verifier.family to the one whose "
        f"format it was trained with: {', '.join(FAMILIES)}"
    )
