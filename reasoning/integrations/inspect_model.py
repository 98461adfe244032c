"""inspect_ai's model provider `reasoning`: one call of theirs is one search of ours.

Written against inspect_ai 0.3.285.
"""

from __future__ import annotations

import json
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.util import sample_limits

from reasoning.errors import GenerationError, RecipeError, cause
from reasoning.integrations.strategies import Aside, chosen, cut, problem, session
from reasoning.problem import Message
from reasoning.result import Result
from reasoning.seeds import fold
from reasoning.session import Session
from reasoning.settings import Limits
from reasoning.usage import Usage

SAMPLED = ("temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty")
"""Fields of their configuration that are ours by the same names."""
_REFUSED = ("best_of", "logit_bias", "logprobs", "response_schema", "prompt_logprobs")
_BY_TOKEN = {"default": {"input": 1e6, "output": 1e6}}
"""A price under which money is tokens, those of prompts too: what their token limit counts."""


class ReasoningAPI(ModelAPI):  # type: ignore[misc]  # their package is not looked into
    """A strategy as a model.

    The name is RECIPE/STRATEGY, or a searcher's where `generator` is among `settings`; these are
    what `strategies.chosen` takes, `answers` is the kind of answers by which equal ones are
    counted. The strategy is looked up when it is first asked.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (their signature)
        *,
        answers: str = "plain",
        **settings: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.answers = answers
        self.settings = _named(model_name, settings)
        self.aside = Aside(self._open)
        self.asked: Counter[str] = Counter()
        self.caps = False

    def _open(self) -> Session:
        strategy = chosen(**self.settings)
        self.caps = not strategy.recipe.prices
        return session(strategy, **({"prices": _BY_TOKEN} if self.caps else {}))

    async def generate(
        self, input: Sequence[Any], tools: Sequence[Any], tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """The winner of a search; of several, side by side, where `num_choices` are asked for.

        What was asked before is asked with another seed: epochs differ, also under one seed.
        """
        if tools and tool_choice != "none":
            raise RecipeError("a strategy calls no tools: leave them out, or use another model")
        for name in _REFUSED:
            if getattr(config, name, None):
                raise RecipeError(f"{name} is nothing that a strategy can be asked for")
        asked = _messages(input)
        key = json.dumps([message.to_json() for message in asked])
        first, count = self.asked[key], config.num_choices or 1
        self.asked[key] += count
        until = tuple(config.stop_seqs or ())

        async def work(opened: Session) -> list[Result]:
            changes = self._changes(opened, config, until, count)
            base = opened.seed if config.seed is None else config.seed
            seeds = [fold(base, "asked", k) if k else base for k in range(first, first + count)]
            question = problem("asked", asked, self.answers, until)
            try:
                async with TaskGroup() as group:
                    tasks = [
                        group.create_task(opened.solve(question, seed=seed, **changes))
                        for seed in seeds
                    ]
            except BaseExceptionGroup as errors:
                raise cause(errors) from errors
            return [task.result() for task in tasks]

        results = await self.aside.wait(work)
        if all(r.node is None and r.usage.failed_calls for r in results):
            raise GenerationError(f"every call failed: {results[0].failures[-1]}")
        return self._output(results, until)

    def _changes(
        self, opened: Session, config: GenerateConfig, until: tuple[str, ...], count: int
    ) -> dict[str, Any]:
        """How it is to be drawn, and no further than their token limit leaves room for."""
        given = {n: v for n in SAMPLED if (v := getattr(config, n, None)) is not None}
        own = opened.sampling
        changes: dict[str, Any] = {
            "sampling": own.with_changes({**given, "stop": (*own.stop, *until)})
        }
        left = _left()
        if left is not None and self.caps:
            limits = opened.limits
            # Theirs is crossed by the token after the last one.
            changes["limits"] = Limits(
                limits.tokens, limits.verifier_calls, limits.seconds, limits.calls, left // count
            )
        return changes

    def _output(self, results: Sequence[Result], until: Sequence[str]) -> ModelOutput:
        thinking = self.aside.session.generator.thinking
        usage = sum((r.usage for r in results), Usage(money=0.0))
        choices = []
        for result in results:
            thought, text = "", cut(result.text or "", until)
            if thinking is not None and thinking.end in text:
                thought, _, text = text.rpartition(thinking.end)
            parts: list[Content] = [ContentReasoning(reasoning=thought)] if thought else []
            ended = result.node is not None and (result.node.finished or text != result.text)
            choices.append(
                ChatCompletionChoice(
                    message=ChatMessageAssistant(
                        content=[*parts, ContentText(text=text)] if parts else text,
                        model=self.model_name,
                        source="generate",
                    ),
                    stop_reason="stop" if ended else "max_tokens",
                )
            )
        return ModelOutput(
            model=self.model_name,
            choices=choices,
            usage=counted(usage),
            metadata={
                "strategy": self.model_name,
                "answers": [r.answer for r in results],
                "stop_reasons": [r.stop_reason for r in results],
                "candidates": [len(r.candidates) for r in results],
                "verifier_tokens": usage.verifier_tokens,
            },
        )

    def max_connections(self) -> int:
        """Searches at once, each of which makes many calls."""
        return 32

    def connection_key(self) -> str:
        """Each model has engines of its own."""
        return f"reasoning/{self.model_name}"

    def close(self) -> None:
        """Let go of the engines; they are started again when something is asked."""
        self.aside.close()


def _named(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `strategies.chosen` takes, from a model's name."""
    if "generator" in settings:
        named = {} if {"searcher", "stages"} & settings.keys() else {"searcher": model}
    else:
        recipe, _, strategy = model.partition("/")
        named = {"recipe": recipe, **({"strategy": strategy} if strategy else {})}
    return {**named, **settings}


def counted(usage: Usage) -> ModelUsage:
    """All that was paid for, waste included; their limits read the total."""
    return ModelUsage(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        input_tokens_cache_read=usage.cached_tokens,
        output_tokens=usage.generated_tokens,
        total_tokens=usage.prompt_tokens + usage.generated_tokens,
    )


def _left() -> int | None:
    """Tokens until their limit for the sample, None without one."""
    try:
        limit = sample_limits().token
    except RuntimeError:  # nobody runs a sample
        return None
    return None if limit.limit is None else max(0, int(limit.limit - limit.usage))


def _messages(given: Sequence[Any]) -> list[Message]:
    """Raises RecipeError for what is no text, and for a conversation that does not ask."""
    found = []
    for message in given:
        if message.role == "tool" or getattr(message, "tool_calls", None):
            raise RecipeError("a strategy reads no calls of tools: use another model")
        parts = [] if isinstance(message.content, str) else message.content
        if strange := [p.type for p in parts if p.type not in ("text", "reasoning")]:
            raise RecipeError(f"a strategy reads text, and there is {strange[0]} in the question")
        found.append(Message(message.role, message.text))
    if not found or found[-1].role != "user":
        raise RecipeError("a conversation to be answered ends with the user's message")
    return found
