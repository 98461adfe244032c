"""What a client asks for: a body of /v1/chat/completions, read into one search.

Every field is honoured, refused, or named in the answer as ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from reasoning.answers import Answer
from reasoning.answers.plain import Plain
from reasoning.errors import RecipeError, unknown
from reasoning.generate import Sampling
from reasoning.problem import Message, Problem
from reasoning.serve import tools
from reasoning.serve.messages import conversation
from reasoning.serve.offers import Offer, Offers, sooner, tightened
from reasoning.serve.refusal import RequestError, public
from reasoning.settings import Limits

_OURS = ("strategy", "params", "limits", "progress")

_SAMPLED = (
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

_READ = {
    *_SAMPLED,
    *("model", "messages", "max_tokens", "max_completion_tokens", "stop", "n", "seed", "stream"),
    *("stream_options", "response_format", "logit_bias", "reasoning"),
    *("logprobs", "top_logprobs", *tools.FIELDS),
}

_OFF: tuple[Any, ...] = (None, False, [], {}, "")
_REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "functions": ((), "use tools"),
    "function_call": (("none", "auto"), "use tool_choice"),
    "modalities": ((["text"],), "answers are text"),
    "audio": ((), "answers are text"),
    "prediction": ((), "a search cannot use it"),
    "web_search_options": ((), "nothing is looked up here"),
    "reasoning_effort": ((), "say what may be spent, reasoning: {limits: {tokens: ...}}"),
    "verbosity": ((), "say so in a message"),
    "best_of": ((1,), "name a strategy that does it, such as best_of_n"),
    "guided_json": ((), "use response_format"),
    "guided_regex": ((), "use response_format"),
    "guided_choice": ((), "use response_format"),
    "structured_outputs": ((), "use response_format"),
}
"""What would change the answer and cannot be done, with the values that ask for nothing."""


_MOST_LIKELY = 20
"""OpenAI's own bound on `top_logprobs`."""


@dataclass(frozen=True)
class Stopped(Plain):
    """Plain answers, where a text that has come to one of the strings is finished, too."""

    stop: tuple[str, ...] = ()

    def find(self, text: str, finished: bool) -> Answer | None:
        ends = [at for s in self.stop if (at := text.find(s)) >= 0]
        return super().find(text[: min(ends)] if ends else text, finished or bool(ends))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: `n` searches of `problem` by the strategy `offer`.

    `stop` is cut off the answer. `logprobs`: of so many tokens beside each of the answer's own,
    None for no log-probabilities. `hurried`: it has a deadline of its own. `usage` and `progress`:
    what a stream tells besides the text. `notes` say what was done other than asked, `ignored`
    names fields that did nothing.
    """

    offer: Offer
    problem: Problem
    sampling: Sampling
    limits: Limits
    n: int
    seed: int
    stop: tuple[str, ...]
    logprobs: int | None
    stream: bool
    usage: bool
    hurried: bool
    progress: bool
    notes: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def changes(self) -> dict[str, Any]:
        """What a session is to do other than by itself; the seed apart."""
        return {"stages": self.offer.chain, "sampling": self.sampling, "limits": self.limits}

    def checked(self) -> Asked:
        """The same. Raises RequestError for what its strategy or its models cannot do."""
        try:
            self.offer.session.check(self.problem, seed=self.seed, **self.changes)
        except RecipeError as error:
            raise RequestError(public(str(error)), code="unsupported_value") from None
        return self


@dataclass(frozen=True, slots=True)
class House:
    """What holds for every request: `most_n` choices, `seconds` for each search at the most.

    `fresh_seed` is asked where a request has none.
    """

    offers: Offers
    most_n: int
    seconds: float | None
    fresh_seed: Callable[[], int]

    def read(self, body: Mapping[str, Any], deadline: float | None) -> Asked:
        """The request that `body` states. Raises RequestError.

        `deadline`, in seconds, is that of a header.
        """
        ours = _mapping(body, "reasoning")
        for key in ours:
            if key not in _OURS:
                raise RequestError(
                    unknown("field of reasoning", key, _OURS), param=f"reasoning.{key}"
                )
        offer = self._offer(body, ours)
        _refuse(body)
        notes: list[str] = []
        sampling = _sampling(body, offer, notes)
        messages, ignored = conversation(body.get("messages"))
        tools.allow(offer, sampling.tools, messages)
        stream, progress = _flag(body, "stream"), _flag(ours, "progress", "reasoning.")
        if progress and not stream:
            notes.append("reasoning.progress is told in streams alone")
        wanted = _mapping(ours, "limits", "reasoning.")
        limits = tightened(sooner(offer.session.limits, self.seconds), wanted)
        asked = Asked(
            offer=offer,
            problem=_problem(messages, sampling.stop),
            sampling=sampling,
            limits=sooner(limits, deadline),
            n=_whole(body, "n", 1, 1, self.most_n),
            seed=self._seed(body),
            stop=_stops(body.get("stop")),
            logprobs=_logprobs(body),
            stream=stream,
            hurried=deadline is not None or "seconds" in wanted,
            usage=_flag(_mapping(body, "stream_options"), "include_usage", "stream_options."),
            progress=progress and stream,
            notes=tuple(notes),
            ignored=(*ignored, *sorted(k for k, v in body.items() if _idle(k, v))),
        )
        return asked.checked()

    def _offer(self, body: Mapping[str, Any], ours: Mapping[str, Any]) -> Offer:
        name = ours.get("strategy") or body.get("model")
        if not isinstance(name, str) or not name:
            raise RequestError(
                "model names the strategy; GET /v1/models lists them", param="model", code="missing"
            )
        offer = self.offers.find(name)
        return offer.with_params(_mapping(ours, "params", "reasoning."))

    def _seed(self, body: Mapping[str, Any]) -> int:
        if body.get("seed") is None:
            return self.fresh_seed()
        return _whole(body, "seed", 0, -(2**63), 2**63 - 1)


def _refuse(body: Mapping[str, Any]) -> None:
    for name, (neutral, why) in _REFUSED.items():
        value = body.get(name)
        if value not in (*_OFF, *neutral):
            raise RequestError(
                f"{name} is not supported: {why}", param=name, code="unsupported_value"
            )


def _idle(name: str, value: Any) -> bool:
    """Whether a field does nothing here, and asks for something."""
    return value is not None and name not in _READ and name not in _REFUSED


def _problem(messages: Sequence[Message], stop: tuple[str, ...] = ()) -> Problem:
    """The same conversation is the same problem, so that a seed gives the same answer again."""
    said = json.dumps([m.to_json() for m in messages])
    name = blake2b(said.encode(), digest_size=8).hexdigest()
    answers = Stopped(stop=stop)
    return Problem(f"asked-{name}", messages[-1].content, messages=tuple(messages), answers=answers)


def _sampling(body: Mapping[str, Any], offer: Offer, notes: list[str]) -> Sampling:
    """How it is to be drawn: the server's way with what the request changes."""
    own = found = offer.session.sampling
    changes: dict[str, Any] = {k: body[k] for k in _SAMPLED if body.get(k) is not None}
    if stop := _stops(body.get("stop")):
        changes["stop"] = (*own.stop, *stop)
    if bias := _mapping(body, "logit_bias"):
        changes["logit_bias"] = {_token(k): v for k, v in bias.items()}
    if body.get("response_format") is not None:
        changes["json_schema"] = _schema(_mapping(body, "response_format"), offer)
    if offered := tools.offered(body):
        changes["tools"] = offered
    if (likely := _logprobs(body)) is not None:
        changes["top_logprobs"] = max(1, likely, own.top_logprobs)
    for field in ("max_tokens", "max_completion_tokens"):
        if body.get(field) is not None:
            most = _whole(body, field, 1, 1, 2**31)
            if most > own.max_tokens:
                notes.append(f"{field} is {most}; here an answer has {own.max_tokens} at most")
            changes["max_tokens"] = min(most, own.max_tokens)
    for name, value in changes.items():
        field = "response_format" if name == "json_schema" else name
        if isinstance(value, (bool, str)):
            raise RequestError(f"{field} is {value!r}; it is a number", param=field)
        try:
            found = found.with_changes({name: value})
        except RecipeError as error:
            raise RequestError(str(error).removeprefix("sampling: "), param=field) from None
    return found


def _logprobs(body: Mapping[str, Any]) -> int | None:
    """How many likeliest tokens are to be told of each; None if no log-probabilities are."""
    most = _whole(body, "top_logprobs", 0, 0, _MOST_LIKELY)
    if _flag(body, "logprobs"):
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
        schema = _mapping(form, "json_schema", "response_format.").get("schema")
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


def _stops(stop: Any) -> tuple[str, ...]:
    given = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(given, list) or not all(isinstance(s, str) and s for s in given):
        raise RequestError("stop is a text, or a list of texts that are not empty", param="stop")
    if len(given) > 16:
        raise RequestError(f"stop has {len(given)} texts; 16 are the most", param="stop")
    return tuple(given)


def _mapping(body: Mapping[str, Any], name: str, inside: str = "") -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestError(
            f"{inside}{name} is an object, not {_kind(value)}", param=f"{inside}{name}"
        )
    return value


def _flag(body: Mapping[str, Any], name: str, inside: str = "") -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(
            f"{inside}{name} is true or false, not {_kind(value)}", param=f"{inside}{name}"
        )
    return bool(value)


def _whole(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
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
