"""What is asked of a server: the bodies of requests, by what the server can do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

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
    "model": "set generator.model",
    "priority": "set generator.priority: true",
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


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can do, found out once.

    mode: how a path is handed over.
    extended: it knows vLLM's fields (include_stop_str_in_output, priority, ...).
    stops: it keeps stop strings in the text and says which one it met; if not, answers are cut
        here, and the server is left as soon as a stop string comes.
    continues: chat answers can be continued (step search); always so in the other modes.
    streams, logprobs, scores: it streams; it gives log-probabilities; also those of given text.
    template: it has a chat template to put questions through.
    counts: it tells how many tokens it has generated.
    tokenizes: it has /tokenize.
    least: fewest likely tokens to ask for, so that log-probabilities come at all.
    off: the fields that say how to draw, with the values at which they mean nothing.
    knows: the fields of `Sampling` that it does what they say, besides temperature and stop.
    bounds: its name for bounds on the text: structured_outputs, guided, regex; or empty.
    limit: its name for the limit on generated tokens.
    context: tokens of prompt and answer together, if it says.
    """

    mode: Mode
    extended: bool = False
    stops: bool = False
    continues: bool = True
    streams: bool = True
    logprobs: bool = False
    scores: bool = False
    template: bool = True
    counts: bool = True
    tokenizes: bool = False
    least: int = 0
    off: Mapping[str, float] = field(default_factory=dict)
    knows: frozenset[str] = frozenset()
    bounds: str = ""
    limit: str = "max_tokens"
    context: int | None = None


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
    """Raises RecipeError if the server cannot go on from a step."""
    if not able.continues:
        raise RecipeError(
            "this server starts every chat answer afresh, so it cannot go on from a step. Use a "
            "strategy over whole solutions (sample, self_consistency, best_of_n, ...), a server "
            "that continues answers (vLLM, SGLang), or set generator.template and generator.api: "
            "text, so that prompts go to /completions"
        )


def chat(prompt: Prompt, able: Abilities) -> dict[str, Any]:
    """The fields of a chat, with the answer begun if there is one. Raises RecipeError."""
    messages = question(prompt)
    text = prompt.text
    if not text:
        return {"messages": messages}
    refuse_steps(able)
    messages.append({"role": "assistant", "content": text})
    return {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}


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


def affinity(prompt: Prompt) -> Sequence[int]:
    """The prefixes of a call, longest first, as the pool knows them."""
    keys = []
    node = prompt.parent
    while node is not None:
        keys.append(node.key)
        if prompt.turn is not None or len(keys) == 8:
            break
        if node.parent is None:
            break
        node = node.parent
    return keys
