"""The fields of `Sampling` in a request. Each is sent, also where it means nothing.

What is not sent is decided by the server: llama.cpp has top_k 40 and top_p 0.95, vLLM takes what a
checkpoint's generation_config.json says. So a server that knows a field is always told it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from reasoning.backends.openai import request
from reasoning.backends.openai.request import Abilities, Need, names
from reasoning.errors import RecipeError
from reasoning.generate import Sampling
from reasoning.once import Once

OFF: Final[Mapping[str, tuple[str, tuple[float, ...]]]] = {
    "top_p": ("top_p", (1.0,)),
    "top_k": ("top_k", (0, -1)),
    "min_p": ("min_p", (0.0,)),
    "min_tokens": ("min_tokens", (0,)),
    "presence_penalty": ("presence_penalty", (0.0,)),
    "frequency_penalty": ("frequency_penalty", (0.0,)),
    "repetition_penalty": ("repetition_penalty", (1.0,)),
    "repeat_penalty": ("repetition_penalty", (1.0,)),  # llama.cpp's name
}
"""By their names in requests: the field of `Sampling`, and how servers say that it is off, the most
usual way first."""

STANDARD = ("top_p", "presence_penalty", "frequency_penalty")
"""OpenAI's own: a server that takes them does what they say."""

_LOGPROBS = ("confidence_k", "top_logprobs")
_ALWAYS = ("temperature", "stop")
_NEUTRAL = Sampling(max_tokens=1)


def _needs(params: Sampling) -> frozenset[Need]:
    """What has to be known of a server before it is asked with these."""
    changed = set(params.changed()) - {*_ALWAYS, *_LOGPROBS, "tools"}
    found: set[Need] = {"fields"} if changed else set()
    if params.tools:
        found.add("tools")
    if params.temperature > 0:
        found.add("seeds")
    return frozenset(found)


needs = Once(_needs)


def neutral(able: Abilities, params: Sampling, refusal: str) -> frozenset[str]:
    """The fields that a refusal is about and that an answer can do without."""
    drops = [wire for wire in able.off if OFF[wire][0] not in params.changed()]
    drops += ["seed", "stream_options"] + ["temperature"] * (params.temperature == 1)
    return frozenset(wire for wire in drops if wire not in able.refused and names(refusal, wire))


def without(able: Abilities, dropped: frozenset[str]) -> Abilities:
    """The server as it is now known: it refuses these fields."""
    off = {wire: value for wire, value in able.off.items() if wire not in dropped}
    return replace(able, off=off, refused=able.refused | dropped)


def _refuse(able: Abilities, params: Sampling, server: str) -> None:
    """Raises RecipeError for a field that is not neutral and that the server does not know.

    Fields that nobody has asked it about pass: see `needs`.
    """
    for name in params.changed():
        if name == "temperature" and name in able.refused:
            raise RecipeError(
                f"sampling.temperature is {params.temperature!r}, and the server at {server} takes "
                "none; leave it at 1.0"
            )
        if name == "tools":
            if "tools" in able.found and not able.tools:
                raise RecipeError(no_tools(server))
            continue
        asked = "fields" in able.found or name in _LOGPROBS
        if name in _ALWAYS or name in able.knows or not asked:
            continue
        neutral = getattr(_NEUTRAL, name)
        cure = f"leave it at {neutral}" if isinstance(neutral, int | float) else "leave it out"
        if name in _LOGPROBS:
            if able.logprobs:
                continue
            raise RecipeError(
                f"sampling.{name} asks for log-probabilities, which the server at {server} does "
                f"not give; {cure}"
            )
        raise RecipeError(
            f"sampling.{name} is {getattr(params, name)!r}, which the server at {server} does not "
            f"know; {cure}, or use a server that does (vLLM)"
        )


refuse = Once(_refuse)


def no_tools(server: str) -> str:
    return (
        f"sampling.tools offers tools, and the server at {server} takes none "
        "(/chat/completions refuses them); vLLM wants --enable-auto-tool-choice and a "
        "--tool-call-parser"
    )


def body(
    able: Abilities,
    params: Sampling,
    *,
    seed: int,
    model: str,
    prompt: Mapping[str, Any],
    extra: Mapping[str, Any],
    logprobs: bool = True,
) -> dict[str, Any]:
    """The request for one sample. `prompt` are the fields that hold it.

    `logprobs`: of the sampled tokens, also where `params` does not ask for any.
    """
    asked: dict[str, Any] = {"model": model, **prompt, **_alike(able, params, logprobs)}
    if "seed" in asked:
        wide = able.mode == "tokens" and not able.native
        asked["seed"] = seed if wide else seed % 2**31
    asked.update(extra)
    return asked


def _all_alike(able: Abilities, params: Sampling, logprobs: bool) -> dict[str, Any]:
    """What is the same in all requests that sample alike; of a seed only that there is one."""
    likely = bool(params.confidence_k or params.top_logprobs)
    # Beside tools only where they are asked for: llama.cpp does not stream both.
    likely |= logprobs and not params.tools
    asked: dict[str, Any] = {
        able.limit: params.max_tokens,
        "temperature": params.temperature,
        **_drawing(able, params),
        **(request.logprobs(able, params) if likely else {}),
        **params.tools,
    }
    if params.temperature > 0:
        asked["seed"] = 0
    if params.stop and stops_there(able, params):
        asked["stop"] = list(params.stop)
        asked["include_stop_str_in_output"] = True
        asked["no_stop_trim"] = True  # the same by SGLang's name
    if able.mode == "tokens":
        asked["return_token_ids"] = True
    if able.streams:
        asked["stream"] = True
        asked["stream_options"] = {"include_usage": True}
    for name in able.refused:
        asked.pop(name, None)
    return asked


_alike = Once(_all_alike)


def stops_there(able: Abilities, params: Sampling) -> bool:
    """Whether the server is given the stop strings; else answers are cut here."""
    return able.stops and not (able.few_stops and len(params.stop) > 1)


def _drawing(able: Abilities, params: Sampling) -> dict[str, Any]:
    """The fields that say how to draw; `refuse` has let `params` pass."""
    asked: dict[str, Any] = {}
    for wire, off in able.off.items():
        name = OFF[wire][0]
        value = getattr(params, name)
        asked[wire] = off if value == getattr(_NEUTRAL, name) else value
    if params.logit_bias:
        asked["logit_bias"] = {str(token): bias for token, bias in params.logit_bias.items()}
    return asked | _bounds(able, params)


def _bounds(able: Abilities, params: Sampling) -> dict[str, Any]:
    """What binds the text to some form, by the server's name for that."""
    if not (params.choice or params.regex or params.json_schema):
        return {}
    kinds = {"choice": list(params.choice), "regex": params.regex, "json": params.json_schema}
    bound = {kind: value for kind, value in kinds.items() if value}
    ((kind, value),) = bound.items()
    if able.bounds == "structured_outputs":
        return {"structured_outputs": bound}
    if able.bounds == "guided":
        return {f"guided_{kind}": value}
    if kind == "json":
        return json_schema(params.json_schema or {})
    if params.choice:
        return {"regex": "(" + "|".join(map(literal, params.choice)) + ")"}
    return {"regex": params.regex}


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's own way to ask for JSON."""
    form = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def literal(text: str) -> str:
    """A regular expression that is `text` and nothing else."""
    return re.sub(r"[.^$*+?{}\[\]\\|()]", r"\\\g<0>", text)


def in_words(able: Abilities) -> str:
    """Which fields of `Sampling` the server knows, for people."""
    known = [name for name in Sampling.__dataclass_fields__ if name in able.knows]
    return ", ".join([*(["temperature"] if "temperature" not in able.refused else []), *known])


def not_in_words(able: Abilities) -> str:
    """Which ones it does not."""
    own = ("max_tokens", "temperature", "stop", *_LOGPROBS)
    names = [n for n in Sampling.__dataclass_fields__ if n not in able.knows and n not in own]
    return ", ".join(names) or "none"
