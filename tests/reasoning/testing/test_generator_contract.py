"""The contract of all generators that need nothing but this package: one row each."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.journal import Journal
from reasoning.backends.loop_guard import loop_guard
from reasoning.backends.nano import WEIGHTS, nano
from reasoning.backends.nano.text import Vocabulary
from reasoning.backends.openai import openai
from reasoning.backends.recorded import recorded
from reasoning.backends.scripted import Scripted, scripted
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.testing import ToyGenerator, random_tree
from reasoning.testing.contracts import GENERATOR_CHECKS, GeneratorCase
from reasoning.testing.generator_contract import (
    check_cancelled_calls_are_paid_for,
    check_continues,
    check_greedy_paths,
    check_text_of_tokens,
)
from reasoning.testing.http_model import decode
from reasoning.testing.http_server import CHAT, LLAMA, PLAIN_CHAT, TEXT, VLLM, Flavour, serving
from reasoning.testing.sampling_contract import check_begun, check_fields, check_top_logprobs
from reasoning.tree import RolloutTree, Sample, TopLogprobs

MODEL = random_tree(5, depth=6)


def recording(folder: Path) -> Path:
    path = folder / "samples.jsonl.gz"
    samples = [{"text": f"sample {i} " * i, "n_tokens": 2 * i} for i in range(1, 9)]
    with gzip.open(path, "wt") as file:
        file.write(json.dumps({"id": "contract", "samples": samples}) + "\n")
    return path


ROWS: dict[str, tuple[Callable[[Path], Generator], dict[str, Any]]] = {
    "scripted": (lambda _: scripted(), {"streams": False, "fixed": True}),
    "scripted, slow": (lambda _: scripted(delay=1.0, token_seconds=0.1), {"fixed": True}),
    "toy": (lambda _: ToyGenerator(MODEL, token_seconds=0.1), {"problem": MODEL.problem}),
    "recorded": (
        lambda folder: recorded(path=str(recording(folder))),
        {"varied": False, "stops": False, "steps": False, "streams": False, "fixed": True},
    ),
    "journal": (lambda _: Journal(scripted(delay=1.0)), {"streams": False, "fixed": True}),
    "journal, one strategy's": (
        lambda _: Journal(scripted(delay=1.0)).of("s", live=True),
        {"streams": False, "fixed": True},
    ),
    "journal, shared": (lambda _: Journal(scripted(delay=1.0), shared=True), {}),
    "journal, on disk": (
        lambda folder: Journal(scripted(), path=folder / "j.jsonl"),
        {"streams": False},
    ),
    "loop_guard": (
        lambda _: loop_guard(generator={"name": "scripted", "delay": 1.0, "token_seconds": 0.1}),
        {"fixed": True},
    ),
    "nano, guarded": (
        lambda _: loop_guard(generator="nano"),
        {"sampling": Sampling(max_tokens=20), "slots": 3},
    ),
    "nano": (
        lambda _: nano(),
        {
            "sampling": Sampling(max_tokens=20),
            "slots": 3,
            "greedy": True,
            "decode": Vocabulary(WEIGHTS).decode,
        },
    ),
}

SERVERS: dict[str, Flavour] = {
    "token ids": VLLM,
    "text": TEXT,
    "chat": CHAT,
    "chat, whole solutions only": PLAIN_CHAT,
    "llama.cpp": LLAMA,
}


@pytest.mark.parametrize("check", GENERATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_contract(name: str, check: Callable[[GeneratorCase], None], tmp_path: Path) -> None:
    make, setting = ROWS[name]
    made: list[Any] = []

    def remembered() -> Generator:
        made.append(make(tmp_path))
        return made[-1]  # type: ignore[no-any-return]

    try:
        check(GeneratorCase(make=remembered, **setting))
    finally:
        for generator in made:
            if close := getattr(generator, "close", None):
                close()


@pytest.mark.parametrize("check", GENERATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("flavour", SERVERS)
def test_contract_of_openai(flavour: str, check: Callable[[GeneratorCase], None]) -> None:
    able = SERVERS[flavour]
    with serving(able) as server:
        case = GeneratorCase(
            make=lambda: openai(base_url=server.url),
            steps=able.continues,
            streams=False,  # its model takes no time
            greedy=able.tokens,  # text is not always cut into the tokens that it came in
            decode=decode if able.tokens else None,
        )
        check(case)


class Spoiled:
    """The fake, with a change to the prompt or to what a cancelled call meters."""

    def __init__(
        self,
        *,
        prompt: Callable[[Prompt], Prompt] = lambda prompt: prompt,
        cancelled: Callable[[int], int] = lambda tokens: tokens,
    ) -> None:
        self.inner = scripted(delay=1.0, token_seconds=0.1)
        self.prompt, self.cancelled = prompt, cancelled

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        try:
            sample = await self.inner.generate(
                self.prompt(prompt), params, seed=seed, meter=(used := list[int]()).append
            )
        except asyncio.CancelledError:
            meter(self.cancelled(sum(used)))
            raise
        meter(sum(used))
        return sample


def forgotten(prompt: Prompt) -> Prompt:
    return replace(prompt, parent=RolloutTree(prompt.problem.id).root)


class Restarting(Scripted):
    """Says everything anew where it should go on."""

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        return super().reply(replace(prompt, begun=None), params, seed)


class Careless(Scripted):
    """Lets every field pass, and does none of them."""

    def refuse(self, params: Sampling) -> None:
        del params


class Upside(Scripted):
    """Gives the least likely first."""

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        sample = super().reply(prompt, params, seed)
        tops = sample.top_logprobs
        return replace(
            sample, top_logprobs=tops and TopLogprobs(tops.texts, tops.logprobs[:, ::-1])
        )


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (Restarting, check_begun, "cut after"),
        (Careless, check_fields, "`refuse` lets it pass"),
        (Upside, check_top_logprobs, "not the likeliest first"),
    ],
)
def test_what_sampling_promises_is_checked(
    kind: type[Scripted], check: Callable[[GeneratorCase], None], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check(GeneratorCase(make=lambda: kind(["one two three four five six"]), fixed=True))


@pytest.mark.parametrize(
    ("spoiled", "check", "setting", "message"),
    [
        ({"prompt": forgotten}, check_continues, {}, "whatever the path"),
        ({"prompt": forgotten}, check_greedy_paths, {"greedy": True}, "a cut by .*1"),
        ({}, check_text_of_tokens, {"decode": str}, "its tokens say"),
        (
            {"cancelled": lambda n: 0},
            check_cancelled_calls_are_paid_for,
            {"late": 99},
            "streams=False",
        ),
        (
            {"cancelled": lambda n: n // 2},
            check_cancelled_calls_are_paid_for,
            {},
            "made [1-9].* more",
        ),
        (
            {"cancelled": lambda n: n + 1},
            check_cancelled_calls_are_paid_for,
            {},
            "made -[0-9]* more",
        ),
    ],
)
def test_bad_generators_are_caught(
    spoiled: dict[str, Any],
    check: Callable[[GeneratorCase], None],
    setting: dict[str, Any],
    message: str,
) -> None:
    generators: list[Spoiled] = []

    def make() -> Generator:
        generators.append(Spoiled(**spoiled))
        return generators[-1]

    case = GeneratorCase(
        make=make, produced=lambda: generators[-1].inner.metered, **{"late": 0, **setting}
    )
    with pytest.raises(AssertionError, match=message):
        check(case)
