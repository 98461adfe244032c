"""What only some recipes need to know of a server: steps, the likelihood of text, what seeds do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.asking import (
    MESSAGES,
    TEXT,
    Questions,
    path_of,
    prompt_tokens,
    question,
)
from reasoning.backends.openai.probe_fields import with_fields
from reasoning.backends.openai.request import (
    BUDGET,
    CONTINUE,
    Abilities,
    Need,
    Seeds,
    in_a_chat,
    logprobs,
)
from reasoning.errors import TransientError
from reasoning.generate import Sampling

_NOISE = 0.3
"""Nats by which a log-probability may differ that is worked out twice, in 16 bits."""
_CUT, _MORE = 4, 8
"""Tokens of an answer that is continued, and of the same answer in one go."""
_END = 48
"""Tokens in which a short answer should have come to its end."""
_THOUGHT, _LONG_THOUGHT = 4, 96
"""Tokens of a thought that is cut, and of the answer without."""
_PUZZLE = "Start with 7. Add 5. Multiply by 3. Subtract 4. What is the result?"
_SEEDS = (1_203_117, 77_203_119)
_TOOL = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Not needed for counting.",
        "parameters": {"type": "object", "properties": {}},
    },
}
_HOT = (2.0, 1.0)
"""Temperatures at which seeds are told apart: some servers allow no more than 1."""


async def with_steps(ask: Questions, able: Abilities) -> Abilities:
    """Whether a chat answer that is begun can be continued, and how; thoughts, too.

    Asked twice: with the fields that wish for it, and if that does not tell, without.
    """
    if able.mode != "chat":
        return able
    first = await _greedy(ask, able, _CUT)
    if first is None or not first.said():
        return replace(able, continues=False)
    able = replace(able, thinks=able.thinks or first.thinks)
    whole = await _greedy(ask, able, _MORE)
    begun = _Begun(first, whole.said() if whole is not None else "")
    wished = await _continued(ask, able, begun, CONTINUE)
    if wished is None or begun.in_place(wished) is None:
        plain = await _continued(ask, able, begun, {})
        if plain is not None and begun.in_place(plain):
            return begun.found(replace(able, closes=False), plain)
        sizes = prompt_tokens(wished), prompt_tokens(plain)
        fewer = None not in sizes and sizes[0] < sizes[1]  # type: ignore[operator]
        if wished is None or not fewer:
            return replace(able, continues=False)
    elif not begun.in_place(wished):
        return replace(able, continues=False)
    return begun.found(able, wished)


async def _greedy(ask: Questions, able: Abilities, most: int) -> Answer | None:
    return await ask.answer(
        path_of(able), question(able, most), streams=able.streams, marks=ask.marks
    )


async def _continued(
    ask: Questions, able: Abilities, begun: _Begun, wish: Mapping[str, Any]
) -> Answer | None:
    messages = [*MESSAGES, {"role": "assistant", "content": begun.said}]
    asked = {**question(able, _CUT), "messages": messages, **wish}
    opened = None if begun.first.thinks else False
    return await ask.answer(
        path_of(able), asked, streams=able.streams, opened=opened, marks=ask.marks
    )


class _Begun:
    """An answer that was cut, `first`, and what `whole`, the same in one go, says behind it."""

    def __init__(self, first: Answer, whole: str) -> None:
        self.first = first
        self.said = first.said()
        self.rest = whole.removeprefix(self.said) if whole.startswith(self.said) else ""
        self.raw = self.said.removeprefix(first.marks[0]) if first.thinks else self.said

    def repeated(self, more: Answer) -> bool:
        """What was begun stands in front of what comes back."""
        back = more.said()
        return back.startswith(self.raw) and len(back) > len(self.raw)

    def in_place(self, more: Answer) -> bool | None:
        """Whether `more` goes on from it; None if that cannot be told.

        What comes back is compared with the answer in one go. A model that is shown its unfinished
        answer as a turn that is over may go on with it in a new one, though: then the prompt has
        grown by more than what was begun.
        """
        back = more.said()
        back = back[len(self.raw) :] if self.repeated(more) else back
        alike = bool(back and self.rest) and (
            self.rest.startswith(back) or back.startswith(self.rest)
        )
        if back and not alike and self.raw.startswith(back):
            return False  # from the beginning again
        before, after = prompt_tokens(self.first), prompt_tokens(more)
        if before is None or after is None:
            return True if alike else None
        return True if before < after <= before + self.first.tokens else None

    def found(self, able: Abilities, more: Answer) -> Abilities:
        """With what `more`, which goes on from it, shows."""
        goes_on = more.thinks if self.first.thinks else None
        return replace(able, continues=True, repeats=self.repeated(more), goes_on=goes_on)


async def with_likelihood(ask: Questions, able: Abilities) -> Abilities:
    """Whether the server finds the tokens of its own greedy answer as likely as it said.

    There are servers whose echo tells each token's probability for the place of the next one.
    """
    if able.mode == "chat" or not able.logprobs:
        return able
    plain = {"prompt": TEXT, "max_tokens": _CUT, "logprobs": able.least}
    if able.mode == "tokens":
        return replace(able, scores=await _told_again(ask, able, plain))
    said = await ask.choice("completions", plain) or {}
    text = TEXT + str(said.get("text") or "")
    asked = {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": able.least}
    echo = await ask.choice("completions", asked) or {}
    one, other = (choice.get("logprobs") or {} for choice in (said, echo))
    places = zip(other.get("text_offset") or (), other.get("token_logprobs") or (), strict=False)
    found = [p for at, p in places if at >= len(TEXT)]
    whole = str(echo.get("text")).startswith(text)
    return replace(able, scores=whole and _agree(one.get("token_logprobs") or (), found))


async def _told_again(ask: Questions, able: Abilities, plain: Mapping[str, Any]) -> bool:
    """The same by token ids and prompt_logprobs."""
    before, path = await ask.tokens({"prompt": TEXT}), path_of(able)
    said = await ask.choice(path, {**plain, "prompt": before, "return_token_ids": True})
    ids = (said or {}).get("token_ids") or []
    if not before or not said or not ids:
        return False
    asked = {"prompt": [*before, *ids], "max_tokens": 1, "prompt_logprobs": 0}
    rows = ((await ask.choice(path, asked)) or {}).get("prompt_logprobs") or []
    pairs = zip(ids, rows[len(before) :], strict=False)
    found = [(row or {}).get(str(token), {}).get("logprob") for token, row in pairs]
    return _agree((said.get("logprobs") or {}).get("token_logprobs") or (), found)


def _agree(known: Sequence[float | None], found: Sequence[float | None]) -> bool:
    pairs = [(a, b) for a, b in zip(known, found, strict=False) if a is not None]
    return bool(pairs) and all(b is not None and abs(a - b) < _NOISE for a, b in pairs)


async def with_seeds(ask: Questions, able: Abilities) -> Abilities:
    """What different seeds, and the same one, come to; and whether two streams at once do."""
    for hot in _HOT:
        asked = {**question(able), **logprobs(able, Sampling(1)), "temperature": hot}
        pair = await _at_once(ask, able, asked)
        answers = [answer for answer in pair if answer is not None]
        if answers:
            break
    else:
        return able
    texts = [answer.said() for answer in answers]
    differ = len(set(texts)) > 1
    # The same seed once more, or if there was no difference, another one.
    alone = await _alone(ask, able, {**asked, "seed": _SEEDS[0] if differ else _SEEDS[1] + 2})
    again = alone.said() if alone is not None else None
    differ = differ or again not in (None, *texts)
    if alone is not None:
        answers.append(alone)
    ends = [_has_end(answer) for answer in answers if answer.reason == "stop"]
    if able.logprobs and not ends:
        whole = await _alone(ask, able, {**question(able, _END), **logprobs(able, Sampling(1))})
        ends = [_has_end(whole)] if whole is not None and whole.reason == "stop" else []
    return replace(
        able,
        seeds=Seeds(
            differ=differ,
            repeat=pair[0] is not None and again == pair[0].said(),
            ends=all(ends) if ends and able.logprobs else None,
            at_once=len(answers) == 3,
        ),
    )


async def _at_once(
    ask: Questions, able: Abilities, asked: Mapping[str, Any]
) -> list[Answer | None]:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(_alone(ask, able, {**asked, "seed": seed})) for seed in _SEEDS]
    return [call.result() for call in calls]


async def _alone(ask: Questions, able: Abilities, asked: Mapping[str, Any]) -> Answer | None:
    """None also if the answer was broken off."""
    try:
        return await ask.answer(path_of(able), asked, streams=able.streams)
    except TransientError:
        return None


def _has_end(answer: Answer) -> bool:
    """As many log-probabilities as tokens."""
    return len(answer.logprobs) >= answer.told


async def with_budget(ask: Questions, able: Abilities) -> Abilities:
    """Whether the server's own bound on thinking holds: the thought it cuts is the beginning of the
    one without it, has no more tokens than it may, and is followed by an answer.

    There are servers that take the field and think on.
    """
    if not (able.template and able.tokenizes):
        return able
    thoughts, messages = [], [{"role": "user", "content": _PUZZLE}]
    for bound in ({}, {BUDGET: _THOUGHT}):
        asked = {"messages": messages, able.limit: _LONG_THOUGHT, **bound}
        answer = await ask.answer("chat/completions", asked, streams=able.streams, marks=ask.marks)
        if answer is None:
            return able
        thoughts.append(answer.said().removeprefix(ask.marks[0]).partition(ask.marks[1]))
    (free, _, _), (bound_one, end, said) = thoughts
    size = await ask.tokens({"prompt": bound_one, "add_special_tokens": False})
    cut = len(bound_one) < len(free) and free.startswith(bound_one.rstrip())
    held = cut and end and said.strip() and size is not None and len(size) <= _THOUGHT + 1
    return replace(able, budgets=bool(held))


async def with_tools(ask: Questions, able: Abilities) -> Abilities:
    """Whether a chat may offer tools: asked with one that nobody needs."""
    chat = in_a_chat(able)
    asked = {**question(chat), "tools": [_TOOL], "tool_choice": "auto"}
    try:
        choice = await ask.choice(path_of(chat), asked)
    except TransientError as error:
        if " answered 500" not in str(error):  # llama.cpp's way to refuse them
            raise
        choice = None
    return replace(able, tools=choice is not None)


async def _with_fields(ask: Questions, able: Abilities) -> Abilities:
    return await with_fields(able, partial(ask.said, able))


_LEARN: Mapping[Need, Callable[[Questions, Abilities], Awaitable[Abilities]]] = {
    "steps": with_steps,
    "likelihood": with_likelihood,
    "fields": _with_fields,
    "seeds": with_seeds,
    "budget": with_budget,
    "tools": with_tools,
}


async def with_answer(need: Need, ask: Questions, able: Abilities) -> Abilities:
    """What is known of a server, and what `need` needs to know. Raises as the pool does."""
    found = await _LEARN[need](ask, able)
    return replace(found, found=able.found | {need})
