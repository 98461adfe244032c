"""What a client asks for: a body of /v1/chat/completions, read into one search.

Every field is honoured, refused, or named in the answer as ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from reasoning.answers import Answer
from reasoning.answers.plain import Plain
from reasoning.clock import Clock
from reasoning.errors import RecipeError, unknown
from reasoning.generate import Sampling
from reasoning.http.reading import dumps
from reasoning.problem import Message, Problem
from reasoning.serve import fields, tools
from reasoning.serve.direct import Direct, is_direct
from reasoning.serve.messages import conversation
from reasoning.serve.offers import Offer, Offers, sooner, tightened
from reasoning.serve.refusal import RequestError, public
from reasoning.settings import Limits

_OURS = ("strategy", "params", "limits", "progress")

_READ = {
    *fields.SAMPLED,
    *("model", "messages", "max_tokens", "max_completion_tokens", "stop", "n", "seed", "stream"),
    *("stream_options", "response_format", "logit_bias", "reasoning"),
    *("logprobs", "top_logprobs", *tools.FIELDS),
}

_SAMPLING = re.compile(r"\bsampling\.(\w+)")

_OFF: tuple[Any, ...] = (None, False, [], {}, "")
_OWNERS = "whoever runs this server sets it, in the recipe's generator"
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
    "guided_grammar": ((), "use response_format"),
    "grammar": ((), "use response_format"),
    "structured_outputs": ((), "use response_format"),
    "previous_response_id": ((), "nothing is kept here; send the whole conversation"),
    "continue_final_message": ((), "an answer that has begun cannot be gone on with"),
    "chat_template_kwargs": ((), _OWNERS),
    "bad_words": ((), "use logit_bias"),
    "stop_token_ids": ((), "use stop"),
    "ignore_eos": ((), "use min_tokens"),
}
"""What would change the answer and cannot be done, with the values that ask for nothing."""
_ASKING = ("web_search_options", "guided_json", "structured_outputs")
"""Those of them that ask for something when they are empty objects."""


_FORMS = 256
"""Forms that are remembered."""
_FORM = 8192
"""Characters of a form that is remembered, at most."""


@dataclass(frozen=True)
class Stopped(Plain):
    """Plain answers, where a text that has come to one of the strings is finished, too."""

    stop: tuple[str, ...] = ()

    def find(self, text: str, finished: bool) -> Answer | None:
        ends = [at for s in self.stop if (at := text.find(s)) >= 0]
        return super().find(text[: min(ends)] if ends else text, finished or bool(ends))


@dataclass(frozen=True)
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
    direct: Direct | None = None
    """How to come by the answer without a search, where it is one plain draw."""

    def about(self, **found: Any) -> Asked:
        """The same request of another conversation: as `dataclasses.replace`, in a sixth of the
        time."""
        asked = object.__new__(Asked)
        asked.__dict__.update(self.__dict__, **found)
        return asked

    @property
    def changes(self) -> dict[str, Any]:
        """What a session is to do other than by itself; the seed apart."""
        return {"stages": self.offer.chain, "sampling": self.sampling, "limits": self.limits}

    def check(self) -> None:
        """Raises RequestError for what its strategy or its models cannot do."""
        try:
            self.offer.session.check(self.problem, seed=self.seed, **self.changes)
        except RecipeError as error:
            told = _SAMPLING.sub(lambda found: fields.asked_as(found[1]), public(str(error)))
            about = _SAMPLING.match(str(error))
            param = fields.asked_as(about[1]) if about else None
            raise RequestError(told, param=param, code="unsupported_value") from None


@dataclass(frozen=True, slots=True)
class House:
    """What holds for every request: `most_n` choices, `seconds` for each search at the most.

    `fresh_seed` is asked where a request has none. `clock`: for deadlines.
    """

    offers: Offers
    most_n: int
    seconds: float | None
    fresh_seed: Callable[[], int]
    clock: Clock
    _forms: dict[str, Asked] = field(default_factory=dict, repr=False)

    def read(self, body: Mapping[str, Any], deadline: float | None) -> Asked:
        """The request that `body` states. Raises RequestError.

        `deadline`, in seconds, is that of a header. Requests of one form, which differ in their
        messages and seeds alone, are checked once.
        """
        form = {k: v for k, v in body.items() if k != "messages" and k != "seed"}
        key = repr((deadline, form))  # as JSON, in a third of the time
        known = self._forms.get(key)
        asked = known or self._form(body, deadline)
        messages, ignored = conversation(body.get("messages"))
        tools.allow(asked.offer, asked.sampling.tools, messages)
        found = asked.about(
            problem=_problem(messages, asked.sampling.stop),
            seed=self._seed(body),
            ignored=(*ignored, *asked.ignored),
        )
        if known is None:
            found.check()
            if len(key) <= _FORM:
                if len(self._forms) >= _FORMS:
                    self._forms.clear()
                self._forms[key] = asked
        return found

    def _form(self, body: Mapping[str, Any], deadline: float | None) -> Asked:
        """What `body` states besides its messages and its seed."""
        ours = fields.mapping(body, "reasoning")
        for key in ours:
            if key not in _OURS:
                raise RequestError(
                    unknown("field of reasoning", key, _OURS), param=f"reasoning.{key}"
                )
        offer = self._offer(body, ours)
        _refuse(body)
        notes: list[str] = []
        sampling = fields.sampling(body, offer, notes)
        stream, progress = fields.flag(body, "stream"), fields.flag(ours, "progress", "reasoning.")
        if progress and not stream:
            notes.append("reasoning.progress is told in streams alone")
        wanted = fields.mapping(ours, "limits", "reasoning.")
        limits = sooner(tightened(sooner(offer.session.limits, self.seconds), wanted), deadline)
        direct = not progress and is_direct(offer.chain, offer.session, limits)
        return Asked(
            offer=offer,
            problem=_NOTHING,
            sampling=sampling,
            limits=limits,
            n=fields.whole(body, "n", 1, 1, self.most_n),
            seed=0,
            stop=fields.stops(body.get("stop")),
            logprobs=fields.logprobs(body),
            stream=stream,
            hurried=deadline is not None or "seconds" in wanted,
            usage=fields.flag(
                fields.mapping(body, "stream_options"), "include_usage", "stream_options."
            ),
            progress=progress and stream,
            notes=tuple(notes),
            ignored=tuple(sorted(k for k, v in body.items() if _idle(k, v))),
            direct=Direct(offer.chain, offer.session, sampling, limits, self.clock)
            if direct
            else None,
        )

    def _offer(self, body: Mapping[str, Any], ours: Mapping[str, Any]) -> Offer:
        name = ours.get("strategy") or body.get("model")
        if not isinstance(name, str) or not name:
            raise RequestError(
                "model names the strategy; GET /v1/models lists them", param="model", code="missing"
            )
        offer = self.offers.find(name)
        return offer.with_params(fields.mapping(ours, "params", "reasoning."))

    def _seed(self, body: Mapping[str, Any]) -> int:
        if body.get("seed") is None:
            return self.fresh_seed()
        return fields.whole(body, "seed", 0, -(2**63), 2**63 - 1)


def _refuse(body: Mapping[str, Any]) -> None:
    for name, (neutral, why) in _REFUSED.items():
        value = body.get(name)
        off = (None,) if name in _ASKING else _OFF
        if value not in (*off, *neutral):
            raise RequestError(
                f"{name} is not supported: {why}", param=name, code="unsupported_value"
            )


def _idle(name: str, value: Any) -> bool:
    """Whether a field does nothing here, and asks for something."""
    return value is not None and name not in _READ and name not in _REFUSED


_NOTHING, _PLAIN = Problem("asked", ""), Plain()


def _problem(messages: Sequence[Message], stop: tuple[str, ...] = ()) -> Problem:
    """The same conversation is the same problem, so that a seed gives the same answer again."""
    name = blake2b(dumps([m.to_json() for m in messages]), digest_size=8).hexdigest()
    answers = Stopped(stop=stop) if stop else _PLAIN
    return Problem(f"asked-{name}", messages[-1].content, messages=tuple(messages), answers=answers)
