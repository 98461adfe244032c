"""inspect_ai's solver `reasoning`: a strategy of ours over the model that they evaluate.

Every sample goes through `get_model().generate`, so that their limits, costs, cache and transcript
see it. Written against inspect_ai 0.3.285.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import LimitExceededError, span

from reasoning.errors import GenerationError, RecipeError
from reasoning.events import Done, Drawn, Emitted
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.integrations.inspect_export import tree_as_json
from reasoning.integrations.strategies import chosen, problem, session
from reasoning.problem import Message
from reasoning.result import Result
from reasoning.sample import Sample
from reasoning.seeds import fold
from reasoning.session import asked as question_of

_MOST = 2048
"""Tokens of a sample where neither their configuration nor ours says."""
_CUT = ("max_tokens", "model_length")


class Theirs(Generator):
    """The model that inspect_ai evaluates, one call a sample.

    `limit` is theirs that was met: no call is made after it, and the search ends with what it has.
    """

    honours = frozenset(
        {"temperature", "top_p", "top_k", "stop", "frequency_penalty", "presence_penalty"}
    )
    resumes = False

    def __init__(self, model: Model, epoch: int) -> None:
        self.model = model
        self.epoch = epoch
        self.limit: LimitExceededError | None = None

    @property
    def sampling(self) -> Sampling:
        config = self.model.config
        temperature = 1.0 if config.temperature is None else config.temperature
        return Sampling(max_tokens=config.max_tokens or _MOST, temperature=temperature)

    def refuse_steps(self) -> None:
        raise RecipeError(
            "inspect_ai's models begin every answer anew: a search of steps needs an engine of its "
            "own (--model reasoning/...); with the solver use one of whole solutions"
        )

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        if self.limit is not None:
            raise GenerationError(f"a limit of inspect_ai was met: {self.limit}")
        if prompt.text:
            self.refuse_steps()
        try:
            said = await self.model.generate(
                [_theirs(message) for message in prompt.messages],
                config=_config(params, fold(seed, "epoch", self.epoch)),
            )
        except LimitExceededError as error:
            self.limit = error
            raise GenerationError(f"a limit of inspect_ai was met: {error}") from error
        if said.error or not said.choices:
            raise GenerationError(f"{self.model}: {said.error or 'it gave no choices'}")
        usage = said.usage
        cached = 0 if usage is None else usage.input_tokens_cache_read or 0
        written = 0 if usage is None else usage.input_tokens_cache_write or 0
        text = said.choices[0].message.text
        tokens = len(text) // 4 + 1 if usage is None else usage.output_tokens
        meter(tokens)
        return Sample(
            text,
            finish="length" if said.stop_reason in _CUT else "end",
            prompt_tokens=0 if usage is None else usage.input_tokens + cached + written,
            cached_tokens=cached,
            generated_tokens=tokens,
            info={"estimated_tokens": True} if usage is None else None,
        )


def _config(params: Sampling, seed: int) -> GenerateConfig:
    """Fields at their neutral value are left out: some providers refuse them."""
    changed = {name: getattr(params, name) for name in params.changed()}
    stop = list(changed.pop("stop", ())) or None
    return GenerateConfig(
        **{"temperature": params.temperature, **changed},
        max_tokens=params.max_tokens,
        stop_seqs=stop,
        seed=seed % 2**31,
    )


def _theirs(message: Message) -> ChatMessage:
    kinds: dict[str, Any] = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
    }
    return kinds[message.role](content=message.content)


@dataclass(slots=True)
class _Best:
    """What a sample answers so far: the first text put forward, for whoever is cut off in time."""

    state: TaskState
    texts: dict[tuple[int, ...], str] = field(default_factory=dict)
    put: bool = False

    def hear(self, event: Any) -> None:
        if isinstance(event, Drawn):
            self.texts[event.path] = event.text
        elif isinstance(event, Emitted) and not self.put:
            self.put = True
            path = event.path
            whole = "".join(self.texts.get(path[:n], "") for n in range(1, len(path) + 1))
            self.answer(whole)

    def answer(self, text: str) -> None:
        self.state.output = ModelOutput.from_content(str(self.state.model), text)


@solver  # type: ignore[untyped-decorator, unused-ignore]
def reasoning(
    strategy: str = "self_consistency",
    recipe: str | None = None,
    answers: str = "plain",
    **settings: Any,
) -> Solver:
    """Answer with a strategy over the evaluated model.

    `strategy` is a searcher, whose parameters and other settings of a recipe stand in `settings`
    (`n`, `verifier`, `limits`), or one of a `recipe`, whose generator is not used. `answers` is the
    kind of answers by which equal ones are counted.
    """
    if recipe is None:
        found = chosen(**{"generator": "scripted", "searcher": strategy, **settings})
    else:
        found = chosen(recipe, strategy, **settings)
    if found.recipe.models:
        raise RecipeError("inspect_ai evaluates one model: use a strategy of one")
    if found.run.says("STEPS"):
        Theirs.refuse_steps(None)  # type: ignore[arg-type]

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        del generate
        said = [Message(_role(m), m.text) for m in state.messages]
        theirs, best = Theirs(get_model(), state.epoch), _Best(state)
        question = problem(f"{state.sample_id}", said, answers)
        async with span("reasoning"), session(found, generator=theirs, prices={}) as opened:
            async with aclosing(opened.stream(question_of(question))) as events:
                async for event in events:
                    best.hear(event)
            assert isinstance(event, Done), "a stream ends with Done"
            _tell(event.result)
        if event.result.text is not None:
            best.answer(event.result.text)
        state.messages.append(ChatMessageAssistant(content=state.output.completion))
        if theirs.limit is not None:
            raise theirs.limit
        if event.result.node is None and event.result.usage.failed_calls:
            raise GenerationError(f"every call failed: {event.result.failures[-1]}")
        return state

    return solve


def _role(message: Any) -> Any:
    if message.role == "tool":
        raise RecipeError("a strategy reads no calls of tools: put this solver before them")
    return message.role


def _tell(result: Result) -> None:
    """The search in their transcript."""
    told = {
        "answer": result.answer,
        "stop_reason": result.stop_reason,
        "usage": result.usage.to_json(),
        "failures": result.failures,
        "tree": tree_as_json(result.tree),
    }
    transcript().info(told, source="reasoning")
