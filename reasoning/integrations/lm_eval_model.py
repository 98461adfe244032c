"""lm-eval's model `reasoning`: every task of theirs, answered by a strategy of ours.

Written against lm-eval 0.4.13. Their registry has no hook for outside models: `reasoning.lm_eval`
is their command line with this one registered.
"""

from __future__ import annotations

import json
import logging
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from reasoning.errors import EngineError, RecipeError, UserError, cause, unknown
from reasoning.generate import Sampling
from reasoning.integrations.strategies import Aside, chosen, cut, problem, session
from reasoning.problem import Message
from reasoning.result import Result
from reasoning.search import Search
from reasoning.seeds import fold
from reasoning.session import Session
from reasoning.usage import Usage

log = logging.getLogger(__name__)

_SAMPLED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_READ = ("until", "max_gen_toks", "max_new_tokens", "max_tokens", "do_sample", *_SAMPLED)


class _Chat(str):
    """A conversation as JSON, where their code wants a text."""


@register_model("reasoning")
class ReasoningLM(LM):  # type: ignore[misc]  # their package is not looked into
    """A strategy as a model: `settings` are those of `strategies.chosen`.

    `answers` is the kind of answers by which a strategy counts equal ones, `concurrency` how many
    searches run at once, `think_end_token` the mark behind which the answer begins that they score.
    Repeats of a request differ in their seeds. A search that fails answers "" and is counted.
    """

    def __init__(
        self,
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: Any = None,
        *,
        answers: str = "plain",
        concurrency: int = 32,
        think_end_token: str | None = None,
        **settings: Any,
    ) -> None:
        del batch_size, max_batch_size, device  # whoever batches is the engine
        super().__init__()
        self.strategy = chosen(**settings)
        self.aside = Aside(lambda: session(self.strategy))
        self.answers = answers
        self.concurrency = concurrency
        self.think_end_token = think_end_token
        self.usage = Usage()
        self.failed = 0
        self._warned = False  # that answers are not greedy: of thousands of requests once

    # ------------------------------------------------------------------------- what they ask

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The text of each request's winner, up to the first of its `until` strings."""
        del disable_tqdm
        asked = [self._asked(request, k) for request, k in _repeats(requests)]
        texts = self.aside.run(lambda s: self._side_by_side(s, asked))
        for request, text in zip(requests, texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return texts

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """How likely the model itself, without a strategy, says each continuation, in nats.

        The context is the user's message, the continuation the assistant's answer. Whether it is
        the greedy one is seen by drawing that.
        """
        del disable_tqdm
        self._must_read("loglikelihood")
        asked = [({"text": r.args[1], "question": True}, _messages(r.args[0])) for r in requests]
        return self.aside.run(lambda s: self._read(s, asked))

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """How likely the model says each text as a document of its own, in nats."""
        del disable_tqdm
        self._must_read("loglikelihood_rolling")
        nothing = [Message("user", "")]
        asked = [({"text": r.args[0], "question": False}, nothing) for r in requests]
        return [found for found, _ in self.aside.run(lambda s: self._read(s, asked))]

    @property
    def tokenizer_name(self) -> str:
        """What their caches tell our chats apart by."""
        return f"reasoning-{self.strategy.name}"

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as it is: the engine applies its own template."""
        if not add_generation_prompt:
            raise NotImplementedError(
                "reasoning answers the user's last message: a task that begins the assistant's "
                "answer (gen_prefix) cannot be asked as a chat; leave out --apply_chat_template"
            )
        return _Chat(json.dumps(chat_history))

    def get_model_info(self) -> dict[str, Any]:
        """What their results file says of it: the strategy, and all that was paid for."""
        return {
            "reasoning_strategy": self.strategy.name,
            "reasoning_usage": self.usage.to_json(),
            "reasoning_failed_searches": self.failed,
        }

    def close(self) -> None:
        """Let go of the engines."""
        self.aside.close()

    # ---------------------------------------------------------------------------- generating

    def _asked(self, request: Instance, repeat: int) -> tuple[Any, tuple[str, ...], Any]:
        context, given = request.args
        settings = dict(given)  # repeats share one
        until = settings.get("until") or ()
        until = (until,) if isinstance(until, str) else tuple(filter(None, until))
        name = f"{request.task_name}-{request.doc_id}-{request.idx}"
        seed = self.strategy.recipe.seed
        changes = {
            "sampling": self._sampling(settings, until),
            "seed": fold(seed, "repeat", repeat) if repeat else seed,
        }
        return problem(name, _messages(context), self.answers, until), until, changes

    def _sampling(self, settings: Mapping[str, Any], until: tuple[str, ...]) -> Sampling:
        """The session's way to draw with what a task asks for.

        Greedy is how a task asks for one sample of a plain model: a strategy of several, or one
        whose temperature is stated, keeps its own.
        """
        for name in settings:
            if name not in _READ:
                raise RecipeError(unknown("generation_kwargs", name, _READ))
        own = self.aside.session.sampling
        changes = {name: settings[name] for name in _SAMPLED if settings.get(name) is not None}
        if settings.get("do_sample") is False or changes.get("temperature") == 0:
            changes["temperature"] = 0.0
            single = self.strategy.run.says("SINGLE")
            if not single or "temperature" in self.strategy.recipe.sampling:
                changes["temperature"] = own.temperature
                if not self._warned:
                    self._warned = True
                    log.warning(
                        "the task asks for greedy answers; %s samples at temperature %g",
                        self.strategy.name,
                        own.temperature,
                    )
        most = [
            settings[n]
            for n in ("max_gen_toks", "max_new_tokens", "max_tokens")
            if settings.get(n) is not None
        ]
        if most:
            changes["max_tokens"] = int(most[0])
        return own.with_changes({**changes, "stop": (*own.stop, *until)})

    async def _side_by_side(self, opened: Session, asked: Sequence[Any]) -> list[str]:
        async def one(i: int) -> str:
            question, until, changes = asked[i]
            result = await self._searched(opened, question, **changes)
            return "" if result is None else self._said(result, until)

        return await _pooled(len(asked), one, self.concurrency)

    async def _searched(self, opened: Session, question: Any, **changes: Any) -> Result | None:
        try:
            result = await opened.solve(question, **changes)
        except (UserError, EngineError):
            raise
        except Exception as error:
            log.warning("%s failed: %s", question.id, error)
            self.failed += 1
            return None
        self.usage += result.usage
        if result.text is None and result.usage.failed_calls:
            log.warning("%s failed: %s", question.id, result.failures[-1])
            self.failed += 1
        return result

    def _said(self, result: Result, until: Sequence[str]) -> str:
        text = result.text or ""
        if self.think_end_token:
            text = text.rpartition(self.think_end_token)[2]
        return cut(text, until)

    # ------------------------------------------------------------------------------- reading

    def _must_read(self, what: str) -> None:
        if not self.aside.session.generator.reads:
            raise NotImplementedError(
                f"{what} asks how likely given texts are, and generator "
                f"{type(self.aside.session.generator).__name__} cannot tell; use generator nano, "
                "vllm or openai, or a task of output_type generate_until"
            )

    async def _read(self, opened: Session, asked: Sequence[Any]) -> list[tuple[float, bool]]:
        async def one(i: int) -> tuple[float, bool]:
            settings, messages = asked[i]
            found: list[tuple[float, bool]] = []

            async def reading(search: Search) -> None:
                """Read the text, then see whether greedy sampling says the same."""
                node = search.write(search.root, settings["text"])
                logprobs = await search.likelihood(node, question=settings["question"])
                if logprobs is None:
                    return
                greedy = None
                if settings["question"]:
                    greedy = await search.draw(
                        search.root, until="end", temperature=0.0, max_tokens=max(1, len(logprobs))
                    )
                same = greedy is not None and greedy.text == settings["text"]
                found.append((float(logprobs.sum(dtype=float)), same))

            result = await opened.solve(
                problem(f"text-{i}", messages), searcher=reading, aggregator="first"
            )
            self.usage += result.usage
            if not found:
                raise EngineError(f"a likelihood is not known: {result.failures[-1:]}")
            return found[0]

        return await _pooled(len(asked), one, self.concurrency)


def _messages(context: str) -> list[Message]:
    if isinstance(context, _Chat):
        return [Message.from_json(message) for message in json.loads(context)]
    if context.startswith('[{"role": '):  # one of these with something behind it
        raise RecipeError(
            "the task begins the assistant's answer (gen_prefix), which no strategy goes on from; "
            "leave out --apply_chat_template"
        )
    return [Message("user", context)]


def _repeats(requests: Sequence[Instance]) -> Iterator[tuple[Instance, int]]:
    """Each request with how often it was there before: repeats are one object, several times."""
    seen: Counter[tuple[Any, ...]] = Counter()
    for request in requests:
        key = (request.task_name, request.doc_id, request.idx)
        yield request, seen[key]
        seen[key] += 1


async def _pooled(n: int, one: Any, at_once: int) -> list[Any]:
    """`one(i)` for all i, `at_once` at a time, in their order."""
    found: dict[int, Any] = {}
    waiting = iter(range(n))

    async def work() -> None:
        for i in waiting:
            found[i] = await one(i)

    try:
        async with TaskGroup() as group:
            for _ in range(min(n, at_once)):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise cause(errors) from errors
    return [found[i] for i in range(n)]
