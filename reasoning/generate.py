"""The seam to a language model: one call, one sample. Batching is the backend's business."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from reasoning.clock import Clock, RealClock
from reasoning.errors import RecipeError, unknown
from reasoning.plugin import Plugin
from reasoning.problem import Message, Problem
from reasoning.thinking import Thinking
from reasoning.tree import FloatArray, Node, Path, Sample, Turn

T = TypeVar("T")

Meter: TypeAlias = Callable[[int], None]
"""Called with the number of tokens as they are spent: newly generated ones, or for a scorer those
it reads and writes. A cancelled call's must have been metered by the time its cancellation is
over."""

Piece: TypeAlias = str | tuple[int, ...]
"""A part of a path: text that has to be tokenised, or tokens exactly as the model produced them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a call continues: a conversation, then the answer begun, which `parent` ends.

    The result will be filed in `slot` below `parent`. `messages` go through the chat template
    once; what the assistant has said so far is `text`, or `pieces` for backends that hand over
    tokens.

    With `turn` the call does not go on with `parent`'s text but answers that turn. `begun` is what
    this very call has produced already: it is resumed. `suffix` stands behind the path for this
    call alone (a probe). `model` is the name of who is asked: tokens of others reach it as text.

    `hear` is told the text of the answer, piece by piece, by backends that have it before the end.
    `undisturbed`: seconds for which nobody will leave the call, or has to know how far it is: an
    answer that is sure to come within them may come in one piece, which is much less work to read.
    `logprobs`: whether those of its tokens are of use to anybody; where not, they need not be told.

    `urgency` is for engines that schedule by priority: the higher runs first. None leaves it to
    the backend, which then puts deeper paths first.
    """

    problem: Problem
    parent: Node
    slot: int
    turn: Turn | None = None
    begun: Sample | None = None
    suffix: str = ""
    model: str = ""
    urgency: float | None = None
    hear: Callable[[str], None] | None = None
    undisturbed: float = 0.0
    logprobs: bool = True

    @property
    def path(self) -> Path:
        """Where the sample will stand in the tree."""
        return (*self.parent.path, self.slot)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation up to the answer that is begun; ends with a message of the user."""
        return conversation(self.problem, self.parent, self.turn)

    @property
    def pieces(self) -> list[Piece]:
        """The answer so far, in order: tokens where this model produced them, text elsewhere.

        Neighbouring texts are joined, so that they are tokenised as one; tokens stay as they are.
        """
        found: list[str | list[int]] = []
        for sample in self._samples():
            ids = sample.token_ids if sample.model == self.model else None
            if ids is None:
                _add(found, sample.text)
            elif found and isinstance(last := found[-1], list):
                last += ids
            else:
                _heal(found, (sample.info or {}).get("heals", ""))
                found.append(list(ids))
        _add(found, self.suffix)
        return [piece if isinstance(piece, str) else tuple(piece) for piece in found]

    @property
    def text(self) -> str:
        """The assistant's text so far."""
        before = self.parent.text if self.turn is None else ""
        return before + ("" if self.begun is None else self.begun.text) + self.suffix

    @property
    def token_ids(self) -> tuple[int, ...] | None:
        """The assistant's tokens so far, exactly as produced; None if any are unknown."""
        pieces = self.pieces
        if any(isinstance(piece, str) for piece in pieces):
            return None
        return tuple(token for piece in pieces for token in piece if isinstance(token, int))

    @property
    def written(self) -> int:
        """Tokens that have been generated for the answer so far."""
        begun = 0 if self.begun is None else self.begun.generated_tokens
        if self.turn is not None:
            return begun
        return begun + sum([node.sample.generated_tokens for node in self.parent.attempt()])

    def _samples(self) -> Iterator[Sample]:
        if self.turn is None:
            yield from (node.sample for node in self.parent.attempt())
        if self.begun is not None:
            yield self.begun


def _heal(pieces: list[str | list[int]], begun: str) -> None:
    """Take off the end of the text, which the token that follows says itself."""
    if begun and pieces and isinstance(last := pieces[-1], str) and last.endswith(begun):
        pieces[-1:] = [last.removesuffix(begun)] if last != begun else []


def _add(pieces: list[str | list[int]], text: str) -> None:
    if pieces and isinstance(last := pieces[-1], str):
        pieces[-1] = last + text
    elif text:
        pieces.append(text)


def conversation(problem: Problem, node: Node, turn: Turn | None = None) -> tuple[Message, ...]:
    """The messages that `node`'s text answers; with `turn`, those that a child would answer."""
    turns: list[tuple[Turn, Node]] = []  # with the node whose text stands before each
    if turn is not None:
        turns.append((turn, node))
    while not (turns and turns[-1][0].afresh):
        head = node.head
        if head is None or head.turn is None or head.parent is None:
            break
        node = head.parent
        turns.append((head.turn, node))
    messages: tuple[Message, ...] = problem.messages
    for asked, before in reversed(turns):
        if asked.afresh:
            own = any(message.role == "system" for message in asked.messages)
            messages = (*(() if own else problem.opening), *asked.messages)
        else:
            said = Message("assistant", before.text)
            messages = (*messages, said, *asked.messages)
    return messages


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one call draws. Every field has a neutral value, and is sent at that value, too: a
    server's own default never decides.

    `stop` strings end it and stay in the text; `top_k` 0 and `min_p` 0 mean off. `min_tokens` come
    before anything may end the answer. The penalties are vLLM's: 0, 0 and 1 are none.
    `logit_bias` is added to the logits of tokens, before the temperature divides them; a token is
    named by its id, or by its text where that is one token.
    `top_logprobs` keeps that many likeliest tokens of each position, `confidence_k` only minus the
    mean of their log-probabilities, for every token.
    `choice` (one of these texts), `regex` and `json_schema` bind what may be said; one at most.
    `tools` offers tools to a chat by OpenAI's own fields (`tools`, `tool_choice`,
    `parallel_tool_calls`), sent as they stand; `Sample.info["tool_calls"]` has what is called.
    """

    max_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    confidence_k: Annotated[int, Field(ge=0)] = 0
    top_logprobs: Annotated[int, Field(ge=0)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    min_tokens: Annotated[int, Field(ge=0)] = 0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    logit_bias: Mapping[int | str, Annotated[float, Field(allow_inf_nan=False)]] = field(
        default_factory=dict
    )
    choice: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    regex: str | None = None
    json_schema: Mapping[str, Any] | None = None
    tools: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bound = [name for name in ("choice", "regex", "json_schema") if getattr(self, name)]
        if len(bound) > 1:
            raise RecipeError(f"sampling: {' and '.join(bound)} exclude each other; keep one")

    def with_changes(self, changes: Mapping[str, Any]) -> Sampling:
        """With these fields changed. Raises RecipeError for one that does not exist or fit."""
        for name in changes:
            if name not in self.__dataclass_fields__:
                raise RecipeError(unknown("field of sampling", name, self.__dataclass_fields__))
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return fitted(Sampling, {**values, **changes}, "sampling")

    def changed(self) -> list[str]:
        """The fields that are not at their neutral value; `max_tokens` has none."""
        # Most differ in these two alone, and they are asked several times a call.
        asked = _OFTEN if _rarer(self) == _USUAL else _NEUTRAL
        return [name for name, neutral in asked.items() if getattr(self, name) != neutral]


def fitted(kind: type[T], values: Mapping[str, Any], owner: str) -> T:
    """The dataclass of these values, at which it does not look itself.

    Raises RecipeError for one that does not fit, which is said to be `owner`'s.
    """
    try:
        found: T = _adapter(kind).validate_python(values)  # type: ignore[arg-type]
        return found
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        raise RecipeError(
            f"{owner}: {name}={values[name]!r} does not fit: {wrong['msg']}"
        ) from None


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


_NEUTRAL = {
    f.name: {} if f.default is MISSING else f.default
    for f in fields(Sampling)
    if f.name != "max_tokens"
}
_OFTEN = {name: _NEUTRAL[name] for name in ("temperature", "stop")}
_RARER = [name for name in _NEUTRAL if name not in _OFTEN]
_USUAL = tuple(_NEUTRAL[name] for name in _RARER)
_rarer = attrgetter(*_RARER)

EVERYONES = frozenset({"temperature", "top_p", "top_k", "stop", "confidence_k"})
"""The fields of `Sampling`, besides `max_tokens`, that every generator honours."""


class Generator(Plugin):
    """Anything that continues a prompt.

    honours: the fields of `Sampling` that this one can do; others are refused before a call.
    sampling: its own defaults, None for temperature 1 and 1,024 tokens a solution.
    replays: it gives what was drawn earlier, in virtual time.
    resumes: a call that a limit cut short can be taken up again where it stopped.
    reads: it can tell how likely given text is (`score_text`).
    thinking: a budget for the thinking before its answers, which `Search.draw` keeps.
    """

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES

    @property
    def sampling(self) -> Sampling | None:
        return None

    @property
    def replays(self) -> bool:
        return False

    @property
    def resumes(self) -> bool:
        return True

    @property
    def reads(self) -> bool:
        return False

    @property
    def thinking(self) -> Thinking | None:
        return None

    def expect(self, sampling: Sampling, *, steps: bool) -> None:
        """What will be asked for, told before `astart`: what has to be found out for that is found
        out there. `steps`: answers that are begun will be continued."""

    @abstractmethod
    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        """Raises TransientError when another try may help, GenerationError when it will not, and
        EngineError when no call ever will. Re-raises CancelledError after metering what it
        produced."""

    def clock(self, problem: Problem) -> Clock:
        """The clock that searches of `problem` run on."""
        del problem
        return RealClock()

    def join(self, problem: Problem, clock: Clock) -> None:
        """Keep the time of `problem` by `clock`, that of the model a search asks by default.

        For those whose time is virtual; real time is the same for all.
        """

    async def remembered(
        self, problem: Problem, key: object, make: Callable[[], Awaitable[Any]]
    ) -> Any:
        """What `make()` returns; one that records gives what it has recorded under `key`."""
        del problem, key
        return await make()

    def refuse(self, params: Sampling) -> None:
        """Raise RecipeError if a field of `params` cannot be honoured. Costs nothing."""
        for name in params.changed():
            if name not in self.honours:
                raise RecipeError(
                    f"sampling.{name} is {getattr(params, name)!r}, which generator "
                    f"{type(self).__name__.lower()} cannot do; leave it out"
                )

    async def can(self, field: str) -> bool:
        """Whether it can do what this field of `Sampling` asks for; found out now if need be.

        Raises what `generate` raises.
        """
        return field in self.honours

    def refuse_steps(self) -> None:
        """Raise RecipeError if it cannot go on from a step, as far as that is known by now."""

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """The log-probabilities [tokens] of the tokens of `sample` after `prompt`, in nats.

        Without `question` the messages are left out, as if the document began with the path's own
        text; what stands for its beginning is the backend's business. `meter` is told the number
        of tokens read, all of the input. Raises what `generate` raises, RecipeError where it
        cannot (`reads` is false).
        """
        del prompt, sample, question, meter
        raise RecipeError(
            f"{type(self).__name__} cannot tell how likely given text is; use generator nano, "
            "vllm or openai"
        )
