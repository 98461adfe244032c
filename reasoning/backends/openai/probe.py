"""Finds out, once, what a server can do: by asking, not by its name.

What every call needs is asked first; the rest (`probe_more`, `probe_fields`) once it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from reasoning.backends.openai import native
from reasoning.backends.openai.answer import THINK, Answer
from reasoning.backends.openai.asking import MESSAGES, TEXT, Questions
from reasoning.backends.openai.probe_fields import accepted
from reasoning.backends.openai.request import Abilities
from reasoning.errors import GenerationError, RecipeError
from reasoning.http.keys import told
from reasoning.http.pool import Pool
from reasoning.http.reading import count

Api: TypeAlias = Literal["auto", "tokens", "text", "chat"]

_LENGTHS = (
    "max_model_len", "n_ctx", "context_length", "context_window", "max_context_length",
    "max_context_len", "max_seq_len", "max_seq_length", "max_input_tokens", "n_ctx_train",
)  # fmt: skip
"""What servers call the number of tokens of prompt and answer together; the real one first."""
_WITHIN = ("", "meta", "details", "top_provider", "model_info")
_NEVER = ["\u2401\u2402", "\u2402\u2403", "\u2403\u2404", "\u2404\u2405"]
"""Stop strings that nobody says."""


async def served(pool: Pool) -> list[Mapping[str, Any]]:
    """What the server says of its models; nothing if it does not say."""
    try:
        listed = await pool.get("models")
    except GenerationError:
        return []
    data = listed.get("data") if isinstance(listed, dict) else None
    return [entry for entry in data or () if isinstance(entry, dict)]


async def find_out(ask: Questions, *, api: Api, templated: bool) -> Abilities:
    """What every call needs to know of the server. With `templated` the user has given a template.

    Raises RecipeError if `api` asks for what the server has not, TransientError and EngineError
    as the pool does.
    """
    able = await _best(ask, api=api, templated=templated)
    off, refused = await accepted(lambda fields: ask.said(able, fields))
    able = replace(able, off=off, refused=refused | ask.refused)
    return await _about(ask, able)


async def _about(ask: Questions, able: Abilities) -> Abilities:
    """With what the server says of itself and of the model."""
    models = await served(ask.pool)
    mine = [m for m in models if ask.model in (m.get("id"), m.get("root"), m.get("name"))]
    mine = mine or [m for m in models if ask.model in _list(m.get("aliases"))]
    entry = (mine or models)[0] if mine or len(models) == 1 else {}
    owner = entry.get("owned_by")
    owner = owner if isinstance(owner, str) else ""
    engine = ""
    for path, name in (("/version", "version"), ("/props", "build_info")):
        version = (await ask.about(path)).get(name)
        if isinstance(version, str) and version:
            engine = told(f"{owner or 'version'} {version}", 80)
            break
    else:
        info = await ask.about("/get_server_info")
        if isinstance(info.get("version"), str):
            engine = told(f"sglang {info['version']}", 80)
    return replace(able, context=length(entry), listed=bool(mine) or not models, engine=engine)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def length(entry: Mapping[str, Any]) -> int | None:
    """The context length in what a server says of a model, by whatever name."""
    places = [entry if not name else entry.get(name) for name in _WITHIN]
    for name in _LENGTHS:
        for place in places:
            if isinstance(place, Mapping) and (found := count(place.get(name))):
                return found
    return None


async def _best(ask: Questions, *, api: Api, templated: bool) -> Abilities:
    """The best way there is to hand over paths."""
    text = await _text(ask) if api != "chat" else None
    if text is not None and text.mode == "tokens" and api in ("auto", "tokens"):
        return text
    if api == "tokens":
        raise RecipeError(
            "generator.api is tokens, and the server takes and gives no token ids "
            "(return_token_ids of /completions, and /tokenize); leave api at auto"
        )
    if text is not None and (api == "text" or templated):
        return replace(text, mode="text", template=False)
    chat = await _chat(ask) if api != "text" else None
    if chat is not None:
        return chat
    if text is None:
        listed = [told(str(entry.get("id")), 80) for entry in await served(ask.pool)]
        raise RecipeError(
            f"the server does not answer for model {ask.model!r} (its models: "
            f"{', '.join(listed) or 'none listed'}); its last words: {ask.refusal}"
        )
    return replace(text, mode="text", template=False)


async def _text(ask: Questions) -> Abilities | None:
    """About /completions; None if there are none."""
    path, plain = "completions", {"prompt": TEXT, "max_tokens": 8}
    rich = {**plain, "logprobs": 0, "return_token_ids": True, "prompt_logprobs": 0}
    choice = await ask.choice(path, rich)
    if choice is None:
        choice = await ask.choice(path, plain | {"logprobs": 0})
    if choice is None:
        choice = await ask.choice(path, plain)
    if choice is None:
        return None
    logprobs, least = _has_logprobs(choice), 0
    if not logprobs:
        more = await ask.choice(path, plain | {"logprobs": 1})
        logprobs, least = more is not None and _has_logprobs(more), 1
    templated = await _templated(ask)
    ids = choice.get("token_ids")
    if not ids and templated and (found := await _native(ask)) is not None:
        return found
    able = Abilities(
        "tokens" if ids and templated is not None else "text",
        logprobs=logprobs,
        template=templated is not False,
        tokenizes=templated is not None,
        least=least,
    )
    return await _streaming(ask, able, path, plain, choice)


async def _native(ask: Questions) -> Abilities | None:
    """About SGLang's /generate; None if it is not there."""
    body = {"prompt": await ask.tokens({"prompt": TEXT}), "max_tokens": 8, "logprobs": 0}
    choice = await ask.choice(native.PATH, body)
    if choice is None or not choice.get("token_ids"):
        return None
    able = Abilities("tokens", native=True, logprobs=_has_logprobs(choice), tokenizes=True)
    return await _streaming(ask, able, native.PATH, body, choice)


async def _chat(ask: Questions) -> Abilities | None:
    """About /chat/completions; None if there are none."""
    path, limit = "chat/completions", "max_tokens"
    plain: dict[str, Any] = {"messages": MESSAGES, limit: 8}
    choice = await ask.choice(path, plain | {"logprobs": True})
    if choice is None and "max_completion_tokens" in ask.refusal:
        limit = "max_completion_tokens"
        plain = {"messages": MESSAGES, limit: 64}
        choice = await ask.choice(path, plain | {"logprobs": True})
    if choice is None:
        choice = await ask.choice(path, plain)
    if choice is None:
        return None
    logprobs, least = _has_logprobs(choice), 0
    if not logprobs:
        more = await ask.choice(path, plain | {"logprobs": True, "top_logprobs": 1})
        logprobs, least = more is not None and _has_logprobs(more), 1
    templated = await _templated(ask)
    able = Abilities(
        "chat", logprobs=logprobs, tokenizes=templated is not None, least=least, limit=limit
    )
    return await _streaming(ask, able, path, plain, choice)


async def _templated(ask: Questions) -> bool | None:
    """Whether questions are put through a chat template; None if there is no tokenizer."""
    if await ask.tokens({"messages": MESSAGES}):
        return True
    return False if await ask.tokens({"prompt": TEXT}) else None


async def _streaming(
    ask: Questions, able: Abilities, path: str, body: Mapping[str, Any], choice: Mapping[str, Any]
) -> Abilities:
    """With whether stop strings are kept and named, answers are streamed, and tokens counted.

    Some honour four stop strings and drop the others: the one that comes is given last of five.
    """
    first = Answer()
    first._take({"choices": [choice]})
    said = first.said().removeprefix(THINK[0])
    extended = "stop_reason" in choice or "matched_stop" in choice
    able = replace(able, extended=extended, thinks=first.thinks)
    keep = {"include_stop_str_in_output": True, "no_stop_trim": True}
    tries: list[list[str]] = [[*_NEVER, said[0]], [said[0]]] if extended and said else [[]]
    answer = None
    for stops in tries:
        asked = {**body, "seed": 7, **({"stop": stops, **keep} if stops else {})}
        answer = await ask.answer(path, asked)
        if answer is None:
            continue
        if stops and answer.stopped_by == said[0] and answer.said().endswith(said[0]):
            able = replace(able, stops=True, few_stops=len(stops) == 1)
            break
    if answer is None:
        return replace(able, streams=False)
    return replace(able, counts=bool(answer.told), thinks=able.thinks or answer.thinks)


def _has_logprobs(choice: Mapping[str, Any]) -> bool:
    given = choice.get("logprobs") or {}
    return bool(given.get("token_logprobs") or given.get("content"))
