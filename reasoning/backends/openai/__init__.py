"""Any server that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp, hosted ones; one or several.

What the server can do is found out with a few small requests before the first call (see
docs/servers.md). Best are token ids in and out, as vLLM has them: a path is resubmitted as the
very tokens the model produced, so its prefix is found in the server's cache.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from reasoning.backends.openai.generator import OpenAI
from reasoning.backends.openai.known import SESSION
from reasoning.backends.openai.probe import Api
from reasoning.backends.openai.request import Abilities
from reasoning.http.admission import Limits
from reasoning.http.pool import Pool
from reasoning.thinking import Thinking

__all__ = ["Abilities", "Limits", "OpenAI", "Pool", "openai"]


def openai(
    *,
    base_url: str | list[str],
    model: str | None = None,
    api: Api = "auto",
    api_key_env: str = "OPENAI_API_KEY",
    template: str | None = None,
    max_in_flight: Annotated[int, Field(ge=1)] = 512,
    timeout: Annotated[float, Field(gt=0)] = 600.0,
    patience: Annotated[float, Field(ge=0)] = 300.0,
    priority: bool = False,
    chat_template_kwargs: dict[str, Any] | None = None,
    thinking_tokens: int | None = None,
    thinking_end: str = "</think>",
    session_header: str = SESSION,
    heal: bool = False,
    extra: dict[str, Any] | None = None,
) -> OpenAI:
    """A server that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp, hosted ones), or several.

    base_url: such as http://localhost:8000/v1; a list names replicas of one model, and so do
    file:/PATH (a URL a line) and dns:http://HOST:PORT/v1 (each address), which may change.
    model: the name it is served under; the server's first one if left out.
    api: tokens, text or chat (token ids or text to /completions, or /chat/completions); auto
    takes the best one the server has.
    api_key_env: the environment variable that holds the key, if one is needed.
    template: the prompt for api text, with {system} and {prompt} where they belong.
    max_in_flight: calls at once for each server; the others wait in line.
    timeout: seconds without a word from the server after which a call is given up.
    patience: seconds to wait for the server to come back before the run stops, and seconds that a
    call is offered again to a server that turns it away before the call fails.
    priority: deeper paths first, where the server schedules by priority.
    chat_template_kwargs: for the model's chat template, say {enable_thinking: false}.
    thinking_tokens: after so many tokens a model that thinks is made to end its thinking, which
    `thinking_end` marks, and to answer. Answers are looked for behind that mark.
    session_header: the header that is the same for all calls of a tree, for routers that keep those
    together; empty for none.
    heal: have the last word of text that a search wrote said again, so that it may end inside a
    token (`reasoning.backends.openai.backing`); for servers that know structured outputs.
    extra: further fields for every request; not those that other options set.
    """
    if chat_template_kwargs:
        extra = {**(extra or {}), "chat_template_kwargs": chat_template_kwargs}
    return OpenAI(
        [base_url] if isinstance(base_url, str) else base_url,
        model,
        api=api,
        key_env=api_key_env,
        template=template,
        priority=priority,
        extra=extra,
        thinking=Thinking.stated(thinking_tokens, thinking_end),
        limits=Limits(max_in_flight, timeout, patience),
        marks=(_begin(thinking_end), thinking_end),
        session_header=session_header,
        heal=heal,
    )


def _begin(end: str) -> str:
    """The mark that a thought begins with, by the one it ends with."""
    for closing, opening in (("/", ""), ("END", "START"), ("end", "start"), ("close", "open")):
        if closing in end:
            return end.replace(closing, opening, 1)
    return "<think>"
