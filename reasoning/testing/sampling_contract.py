"""What every generator promises of the fields of sampling, and of what a prompt can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np

from reasoning.errors import RecipeError
from reasoning.generate import Generator, Sampling
from reasoning.seeds import fold
from reasoning.testing.generator_case import GeneratorCase, draw, no_task_left
from reasoning.tree import RolloutTree, Sample, Turn

FIELDS: dict[str, Any] = {
    "top_logprobs": 3,
    "min_p": 0.1,
    "min_tokens": 4,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.2,
    "logit_bias": {5: 1.0},
    "choice": ("yes", "no"),
    "regex": "(yes|no)",
    "json_schema": {"type": "object", "properties": {}, "additionalProperties": False},
    "tools": {"tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}]},
}
"""A value for every field that not everyone honours."""


def working(
    work: Callable[[GeneratorCase, Generator], Awaitable[None]],
) -> Callable[[GeneratorCase], None]:
    """A check that runs `work` on a fresh generator, started and closed."""

    def check(case: GeneratorCase) -> None:
        async def run() -> None:
            generator = case.make()
            await generator.astart()
            await work(case, generator)

        asyncio.run(no_task_left(run))

    check.__name__, check.__doc__ = work.__name__, work.__doc__
    return check


@working
async def check_fields(case: GeneratorCase, generator: Generator) -> None:
    """A field of sampling is honoured, or refused by name before anything is spent."""
    for name, value in FIELDS.items():
        params = replace(case.sampling, **{name: value})
        refused = _refused(generator, params)
        if refused is not None:
            assert f"sampling.{name}" in refused or name in generator.honours, (
                f"refused without its name: {refused}"
            )
            continue
        assert name in generator.honours, (
            f"sampling.{name} is not among what it honours, and `refuse` lets it pass"
        )
        sample = await draw(case, generator, 0, **{name: value})
        tokens = sample.generated_tokens
        if name == "min_tokens" and sample.finish != "length":
            assert tokens >= value, f"it ended after {tokens} tokens; {value} had to come"
        if name in ("choice", "regex") and sample.finish == "end":
            assert sample.text in ("yes", "no"), f"bound to yes or no it said {sample.text!r}"


def _refused(generator: Generator, params: Sampling) -> str | None:
    try:
        generator.refuse(params)
    except RecipeError as error:
        return str(error)
    return None


@working
async def check_top_logprobs(case: GeneratorCase, generator: Generator) -> None:
    """The likeliest tokens of each position, in order; they change nothing of the sample."""
    k = 3
    if "top_logprobs" not in generator.honours:
        return
    heat = 0.0 if case.greedy else case.sampling.temperature
    sample = await draw(case, generator, 0, top_logprobs=k, temperature=heat)
    tops = sample.top_logprobs
    assert tops is not None, "top_logprobs were asked for and are not there"
    shortest = sample.generated_tokens - (sample.finish == "end")  # as in `check_sample`
    assert shortest <= len(tops.texts) == len(tops.logprobs) <= sample.generated_tokens, (
        f"top_logprobs of {len(tops.texts)} positions for {sample.generated_tokens} tokens"
    )
    for texts, row in zip(tops.texts, tops.logprobs.astype(float), strict=True):
        assert 0 < len(texts) <= k, f"{len(texts)} likeliest tokens, asked for {k}"
        assert (np.diff(row[: len(texts)]) <= 1e-4).all(), f"not the likeliest first: {row}"
        assert np.exp(row).sum() <= 1 + 1e-2, f"probabilities add up to {np.exp(row).sum()}"
    if case.greedy and sample.logprobs is not None:
        assert np.allclose(sample.logprobs, tops.logprobs[:, 0], atol=1e-4), (
            "at temperature 0 a token was said that is not the likeliest"
        )
    if case.seeded:
        plain = await draw(case, generator, 0, temperature=heat)
        assert plain.text == sample.text, "asked for the likeliest tokens it says another thing"
        assert plain.top_logprobs is None, "top_logprobs that nobody asked for"


@working
async def check_begun(case: GeneratorCase, generator: Generator) -> None:
    """A call that a limit cut short is taken up again: what is joined is what was not cut."""
    if not generator.resumes:
        return
    most = case.sampling.max_tokens
    root = RolloutTree(case.problem.id).root
    seed = fold(root.key, 0)  # what a search gives: some find their sample by it
    heat = 0.0 if case.greedy else case.sampling.temperature
    whole = await draw(case, generator, 0, parent=root, seed=seed, temperature=heat)
    for cuts in ((1,), (2, 1), (5,)):
        joined: Sample | None = None
        for cut in (*cuts, most):
            before = joined.generated_tokens if joined else 0
            part = await draw(
                case,
                generator,
                0,
                parent=root,
                seed=seed if joined is None else fold(seed, "more", before),
                asked={"begun": joined},
                temperature=heat,
                max_tokens=min(cut, most - before),
            )
            joined = part if joined is None else joined + part
            if part.finish != "length":
                break
        assert joined is not None
        assert joined.generated_tokens <= most
        if case.greedy or case.fixed:
            got, want = (joined.text, joined.token_ids), (whole.text, whole.token_ids)
            assert got == want, f"cut after {cuts} it says {got} and not {want}"
            assert joined.finish == whole.finish, f"{joined.finish}, uncut {whole.finish}"


@working
async def check_written(case: GeneratorCase, generator: Generator) -> None:
    """Text that a search wrote is gone on from, and so is the suffix of a probe: the same way."""
    if not case.steps:
        return
    tree = RolloutTree(case.problem.id)
    first = await draw(case, generator, 0, max_tokens=2, temperature=0.0)
    node = tree.add(tree.root, 0, first)
    text = " Wait, that is"
    written = tree.add(node, 0, Sample(text, finish="written"))
    behind = await draw(case, generator, 0, parent=written, seed=1, temperature=0.0, max_tokens=4)
    probe = await draw(
        case,
        generator,
        0,
        parent=node,
        seed=1,
        temperature=0.0,
        max_tokens=4,
        asked={"suffix": text},
    )
    assert written.generated_tokens == first.generated_tokens, "written text was charged for"
    if case.greedy:
        assert (behind.text, behind.token_ids) == (probe.text, probe.token_ids), (
            f"behind {text!r} it says {behind.text!r}, asked in a probe {probe.text!r}"
        )
    assert node.text == first.text


@working
async def check_turns(case: GeneratorCase, generator: Generator) -> None:
    """A turn of the conversation is answered, and what was said before it is read."""
    if not case.steps:
        return
    read = []
    for said in ("It is 4.", "It is 4, as anybody can see who counts the fingers of a hand."):
        tree = RolloutTree(case.problem.id)
        node = tree.add(tree.root, 0, Sample(said, finish="written"))
        turn = Turn.user("Are you sure?")
        sample = await draw(case, generator, 0, parent=node, asked={"turn": turn}, max_tokens=3)
        read.append(sample.prompt_tokens)
    if read[0]:
        assert read[0] < read[1], f"prompts of {read} tokens: what was said is not read"


SAMPLING_CHECKS: tuple[Callable[[GeneratorCase], None], ...] = (
    check_fields,
    check_top_logprobs,
    check_begun,
    check_written,
    check_turns,
)
