"""The fields of a body, one at a time: what each says, or a RequestError that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasoning.errors import RecipeError
from reasoning.generate import Sampling
from reasoning.serve import tools
from reasoning.serve.offers import Offer
from reasoning.serve.refusal import RequestError

SAMPLED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "min_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
"""Fields of `Sampling` under the names that OpenAI, or vLLM, gives them."""

_MOST_LIKELY = 20
"""OpenAI's own bound on `top_logprobs`."""


def sampling(body: Mapping[str, Any], offer: Offer, notes: list[str]) -> Sampling:
    """How it is to be drawn: the server's way with what the request changes."""
    own = found = offer.session.sampling
    changes: dict[str, Any] = {k: body[k] for k in SAMPLED if body.get(k) is not None}
    if stop := stops(body.get("stop")):
        changes["stop"] = (*own.stop, *stop)
    if bias := mapping(body, "logit_bias"):
        changes["logit_bias"] = {_token(k): v for k, v in bias.items()}
    if body.get("response_format") is not None:
        changes["json_schema"] = _schema(mapping(body, "response_format"), offer)
    if offered := tools.offered(body):
        changes["tools"] = offered
    if (likely := logprobs(body)) is not None:
        changes["top_logprobs"] = max(1, likely, own.top_logprobs)
    if None not in (body.get("max_tokens"), body.get("max_completion_tokens")):
        raise RequestError(
            "max_tokens and max_completion_tokens are two names of one limit; send one of them",
            param="max_completion_tokens",
        )
    for field in ("max_tokens", "max_completion_tokens"):
        if body.get(field) is not None:
            most = whole(body, field, 1, 1, 2**31)
            if most > own.max_tokens:
                notes.append(f"{field} is {most}; here an answer has {own.max_tokens} at most")
            changes["max_tokens"] = min(most, own.max_tokens)
    for name, value in changes.items():
        field = asked_as(name)
        if isinstance(value, (bool, str)):
            raise RequestError(f"{field} is {value!r}; it is a number", param=field)
        try:
            found = found.with_changes({name: value})
        except RecipeError as error:
            raise RequestError(str(error).removeprefix("sampling: "), param=field) from None
    return found


def asked_as(field: str) -> str:
    """What a field of `Sampling` is called in a body."""
    return "response_format" if field == "json_schema" else field


def logprobs(body: Mapping[str, Any]) -> int | None:
    """How many likeliest tokens are to be told of each; None if no log-probabilities are."""
    most = whole(body, "top_logprobs", 0, 0, _MOST_LIKELY)
    if flag(body, "logprobs"):
        return most
    if most:
        raise RequestError("top_logprobs is told where logprobs is true", param="top_logprobs")
    return None


def _schema(form: Mapping[str, Any], offer: Offer) -> Mapping[str, Any] | None:
    """The JSON schema that an answer is bound to, None for text."""
    kind = form.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        schema: Any = {"type": "object"}
    elif kind == "json_schema":
        schema = mapping(form, "json_schema", "response_format.").get("schema")
    else:
        raise RequestError(
            f"response_format.type is {kind!r}; it is text, json_object or json_schema",
            param="response_format",
        )
    if not isinstance(schema, Mapping) or not schema:
        raise RequestError("response_format.json_schema has no schema", param="response_format")
    if offer.steps:
        raise RequestError(
            f"{offer.name} searches step by step, and a schema binds whole answers; choose a "
            "strategy that draws those, such as self_consistency",
            param="response_format",
            code="unsupported_value",
        )
    return schema


def _token(key: Any) -> int | str:
    return int(key) if str(key).lstrip("-").isdecimal() else str(key)


def stops(stop: Any) -> tuple[str, ...]:
    given = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(given, list) or not all(isinstance(s, str) and s for s in given):
        raise RequestError("stop is a text, or a list of texts that are not empty", param="stop")
    if len(given) > 16:
        raise RequestError(f"stop has {len(given)} texts; 16 are the most", param="stop")
    return tuple(given)


def mapping(body: Mapping[str, Any], name: str, inside: str = "") -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestError(
            f"{inside}{name} is an object, not {_kind(value)}", param=f"{inside}{name}"
        )
    return value


def flag(body: Mapping[str, Any], name: str, inside: str = "") -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(
            f"{inside}{name} is true or false, not {_kind(value)}", param=f"{inside}{name}"
        )
    return bool(value)


def whole(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(f"{name} is a whole number, not {_kind(value)}", param=name)
    if not least <= value <= most:
        raise RequestError(f"{name} is {value}; it is from {least} to {most}", param=name)
    return value


def _kind(value: Any) -> str:
    return {str: "a text", list: "a list", bool: "true or false"}.get(type(value), "a number")
