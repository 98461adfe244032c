"""What is asked of a server: the bodies of requests, by what the server can do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling

Mode: TypeAlias = Literal["tokens", "text", "chat"]
"""How a path is handed over: as its token ids, as text, or as a message to continue."""

_SAMPLING = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",  # SGLang's name
    "n_predict": "max_tokens",  # llama.cpp's
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop",
    "logprobs": "top_logprobs",
    "top_logprobs": "top_logprobs",
    "min_p": "min_p",
    "min_tokens": "min_tokens",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repetition_penalty",
    "repeat_penalty": "repetition_penalty",
    "logit_bias": "logit_bias",
    "structured_outputs": "json_schema, regex or choice",
    "guided_json": "json_schema",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "regex": "regex",
    "response_format": "json_schema",
}
_CURES = {
    **{name: f"set sampling.{option}" for name, option in _SAMPLING.items()},
    **dict.fromkeys(("n", "best_of", "n_cmpl"), "set how many samples in the strategy's params"),
    **dict.fromkeys(("prompt", "messages"), "questions come from the task"),
    "seed": "set the recipe's seed",
    "sampling_seed": "set the recipe's seed",
    "model": "set generator.model",
    "priority": "set generator.priority: true",
    "thinking_token_budget": "set generator.thinking_tokens",
}
"""Fields that say what a search counts on, and where they are set instead."""
_OWN = frozenset(
    [
        "stream",
        "stream_options",
        "prompt_logprobs",
        "echo",
        "return_token_ids",
        "return_tokens_as_token_ids",
        "include_stop_str_in_output",
        "no_stop_trim",
        "add_generation_prompt",
        "continue_final_message",
    ]
)
"""Fields that say how answers are read."""


def checked_extra(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Further fields for every request. Raises RecipeError for one that is set here, or no JSON."""
    for name, value in extra.items():
        if name in _CURES or name in _OWN:
            cure = _CURES.get(name, "leave it out")
            raise RecipeError(f"openai: extra.{name} would replace a field set here; {cure}")
        try:
            json.dumps({name: value}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise RecipeError(
                f"openai: extra.{name} cannot be sent as JSON ({error}); write it as text, a "
                "number, a list or a mapping"
            ) from None
    return dict(extra)


CONTINUE: Final = {"add_generation_prompt": False, "continue_final_message": True}
"""The wish that an answer be continued."""
BUDGET: Final = "thinking_token_budget"
"""vLLM's name for the tokens after which it ends a thought."""
Need: TypeAlias = Literal["steps", "likelihood", "fields", "seeds", "budget", "tools"]
"""What is found out only if something needs it."""
NEEDS: Final[tuple[Need, ...]] = ("steps", "likelihood", "fields", "seeds", "budget", "tools")


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can do, found out once. The last eight only if something needs them: `found`.

    mode: how a path is handed over.
    native: paths go to /generate, SGLang's own door.
    extended: it knows vLLM's fields (include_stop_str_in_output, priority, ...).
    stops: it keeps stop strings in the text and says which one it met; if not, answers are cut
        here, and the server is left as soon as a stop string comes.
    few_stops: it does so for four at most.
    streams, logprobs: it streams; it gives log-probabilities.
    template: it has a chat template to put questions through.
    counts: it tells how many tokens it has generated.
    tokenizes: it has /tokenize.
    thinks: it sets thoughts apart.
    least: fewest likely tokens to ask for, so that log-probabilities come at all.
    off: the fields that say how to draw, with the values at which they mean nothing.
    refused: the fields that it refuses, and that are left out.
    limit: its name for the limit on generated tokens.
    context: tokens of prompt and answer together, if it says.
    listed: the model is among those that it lists.
    engine: what it is, and its version, if it says.
    continues: chat answers can be continued (step search); always so in the other modes.
    closes: it has to be told not to close the answer that it continues.
    repeats: it gives the answer that it continues once more.
    goes_on: what comes of an open thought that it continues is set apart, too; None if not known.
    scores: it gives the log-probabilities of given text.
    knows: the fields of `Sampling` that it does what they say, besides temperature and stop.
    bounds: its name for bounds on the text: structured_outputs, guided, regex; or empty.
    seeds: what different seeds, and the same one, come to; see `Seeds`.
    budgets: it ends a thought where it is told to.
    tools: a chat may offer tools.
    """

    mode: Mode
    native: bool = False
    extended: bool = False
    stops: bool = False
    few_stops: bool = False
    streams: bool = True
    logprobs: bool = False
    template: bool = True
    counts: bool = True
    tokenizes: bool = False
    thinks: bool = False
    least: int = 0
    off: Mapping[str, float] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    limit: str = "max_tokens"
    context: int | None = None
    listed: bool = True
    engine: str = ""
    found: frozenset[Need] = frozenset()
    continues: bool = True
    closes: bool = True
    repeats: bool = False
    goes_on: bool | None = None
    scores: bool = False
    knows: frozenset[str] = frozenset()
    bounds: str = ""
    seeds: Seeds | None = None
    budgets: bool = False
    tools: bool = False


@dataclass(frozen=True, slots=True)
class Seeds:
    """What came of two hot answers with different seeds, asked for at once.

    differ: their texts do. repeat: alone, the first seed gives its text again. ends: the
    log-probabilities of a finished stream have one for the token that ends it; None if neither
    answer came to its end. at_once: neither was broken off for the sake of the other.
    """

    differ: bool
    repeat: bool
    ends: bool | None
    at_once: bool


def logprobs(able: Abilities, params: Sampling) -> dict[str, Any]:
    """The fields that ask for log-probabilities."""
    if not able.logprobs:
        return {}
    most = max(params.confidence_k, params.top_logprobs, able.least)
    if able.mode == "chat":
        return {"logprobs": True, "top_logprobs": most} if most else {"logprobs": True}
    if able.mode == "tokens" and most:
        # By their text, different tokens of the same text would hide each other.
        return {"logprobs": most, "return_tokens_as_token_ids": True}
    return {"logprobs": most}


def question(prompt: Prompt) -> list[dict[str, str]]:
    """The messages that ask it."""
    return [message.to_json() for message in prompt.messages]


def refuse_steps(able: Abilities) -> None:
    """Raises RecipeError if the server is known not to go on from a step."""
    if able.continues or "steps" not in able.found:
        return
    if able.thinks:
        raise RecipeError(
            "this server sets thoughts apart and does not go on from one that is not over, so a "
            "search cannot go step by step. Use a strategy over whole solutions (sample, "
            "self_consistency, best_of_n, ...), start the server without its reasoning parser, or "
            "let the model answer without thinking (chat_template_kwargs)"
        )
    raise RecipeError(
        "this server starts every chat answer afresh, so it cannot go on from a step. Use a "
        "strategy over whole solutions (sample, self_consistency, best_of_n, ...), a server "
        "that continues answers (vLLM, SGLang, llama.cpp), or set generator.template and "
        "generator.api: text, so that prompts go to /completions"
    )


def chat(prompt: Prompt, able: Abilities) -> dict[str, Any]:
    """The fields of a chat, with the answer begun if there is one. Raises RecipeError."""
    messages = question(prompt)
    text = prompt.text
    if not text:
        return {"messages": messages}
    refuse_steps(able)
    messages.append({"role": "assistant", "content": text})
    return {"messages": messages, **(CONTINUE if able.closes else {})}


def wants_tools(prompt: Prompt, params: Sampling) -> bool:
    """Whether a call offers tools, or its conversation has spoken with some.

    Raises RecipeError where it would go on from what the model has said: a server reads calls of
    tools from whole answers alone.
    """
    wants = bool(params.tools) or any(message.more for message in prompt.problem.messages)
    if wants and (prompt.turn is not None or prompt.text):
        raise RecipeError(
            "sampling.tools offers tools, and this strategy goes on from what has been said; use "
            "one whose samples are whole answers (sample, self_consistency, first_finish, ...)"
        )
    return wants


def in_a_chat(able: Abilities) -> Abilities:
    """The same server, asked at /chat/completions: who else knows of tools?"""
    return able if able.mode == "chat" else replace(able, mode="chat", native=False)


def opened(text: str, able: Abilities, marks: tuple[str, str]) -> bool | None:
    """Whether `text` ends within a thought; None if so, and nobody knows whether the server sets
    what follows apart."""
    inside = able.mode == "chat" and text.rfind(marks[0]) > text.rfind(marks[1])
    return (able.goes_on or None) if inside else False


def written(prompt: Prompt, template: str | None) -> str:
    """The question as plain text: `template` filled in, else its messages one after another."""
    messages = prompt.messages
    if template is None:
        return "".join(message.content for message in messages)
    # A template has one place for a system message and one for a question: earlier turns of a
    # conversation stand before the question, as a document has them.
    system = "".join(message.content for message in messages if message.role == "system")
    asked = "\n\n".join(message.content for message in messages if message.role != "system")
    return template.replace("{system}", system).replace("{prompt}", asked)


def affinity(prompt: Prompt) -> Sequence[int | str]:
    """The prefixes of a call, longest first, as the pool knows them; last the problem, its tree."""
    keys: list[int | str] = []
    node = prompt.parent
    while node is not None:
        keys.append(node.key)
        if prompt.turn is not None or len(keys) == 8:
            break
        if node.parent is None:
            break
        node = node.parent
    keys.append(prompt.problem.id)
    return keys


def names(refusal: str, field: str) -> bool:
    """Whether a refusal is about a field."""
    return re.search(rf"(?<![A-Za-z0-9_]){field}(?![A-Za-z0-9_])", refusal) is not None
