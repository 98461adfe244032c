"""The servers behind `openai`, and what is known of them: found out once, where it is needed."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reasoning.backends.openai import backing, fields, reports, request
from reasoning.backends.openai.answer import THINK
from reasoning.backends.openai.asking import Questions
from reasoning.backends.openai.loops import Loops
from reasoning.backends.openai.pace import Pace
from reasoning.backends.openai.probe import Api, find_out, served
from reasoning.backends.openai.probe_more import with_answer
from reasoning.backends.openai.request import NEEDS, Abilities, Need
from reasoning.backends.openai.tokens import Question
from reasoning.clock import Clock, RealClock
from reasoning.errors import EngineError, RecipeError, TransientError
from reasoning.generate import Generator, Prompt, Sampling
from reasoning.http.admission import Limits
from reasoning.http.keys import told
from reasoning.http.pool import Pool
from reasoning.http.reading import readable
from reasoning.http.sources import sources
from reasoning.search import Retry
from reasoning.seeds import fold
from reasoning.thinking import Thinking

log = logging.getLogger(__name__)

SESSION = "X-Session-ID"
"""The header by which routers keep the calls of a tree together, unless told otherwise."""


class Known(Generator):
    """What the generator behind `openai` knows of its servers, for any number of event loops."""

    def __init__(
        self,
        urls: Sequence[str],
        model: str | None = None,
        *,
        api: Api = "auto",
        key_env: str = "OPENAI_API_KEY",
        template: str | None = None,
        priority: bool = False,
        extra: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
        limits: Limits | None = None,
        marks: tuple[str, str] = THINK,
        session_header: str = SESSION,
        heal: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.urls = [source.name for source in sources(urls, "openai")]
        if template is not None and "{prompt}" not in template:
            raise RecipeError("openai: template has no {prompt}, where the question belongs")
        if session_header and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", session_header):
            raise RecipeError(
                f"openai: session_header is {session_header!r}, which is no name of a header; "
                f"write one such as {SESSION}, or leave it empty for none"
            )
        self.model = model
        self._api: Api = api
        self._marks = marks
        self._session_header = session_header.encode()
        self._template = template
        self._priority = priority
        self._extra = request.checked_extra(extra or {})
        self._thinking = thinking
        self._heals = heal
        self._clock: Clock = clock or RealClock()
        self.limits = limits or Limits()
        self._able: Abilities | None = None
        self._expected: frozenset[Need] | None = None
        self._build = ""
        self._broken = False
        self._pace = Pace()
        self._questions: dict[Question, list[int]] = {}
        self._loops = Loops(self.urls, key_env, lambda: self.limits, self._clock)

    @property
    def version(self) -> str:
        """For the manifest."""
        return f"{self.model or 'the first model'} at {', '.join(self.urls)}"

    @property
    def reads(self) -> bool:
        """As far as is known."""
        able = self._able
        if able is None or _open(able, "likelihood"):
            return able is None or (able.mode != "chat" and able.logprobs)
        return able.scores

    @property
    def thinking(self) -> Thinking | None:
        if self._budget:
            return replace(self._thinking, tokens=None) if self._thinking else None
        return self._thinking

    @property
    def _budget(self) -> int | None:
        """Tokens after which the server itself ends a thought; None where that is done here."""
        able = self._able
        # An open thought in a chat is the server's to render: there it is cut here, if it can be.
        there = able is not None and able.budgets and (able.mode == "tokens" or not able.continues)
        return self._thinking.tokens if self._thinking and there else None

    @property
    def resumes(self) -> bool:
        return self._able is None or _open(self._able, "steps") or self._able.continues

    @property
    def notes(self) -> Sequence[str]:
        """What has been met by now that a reader of the numbers has to know."""
        return reports.notes(self._able, self.urls[0], broken=self._broken)

    @property
    def facts(self) -> Mapping[str, str]:
        """What the server is and what it can do, as far as it was asked, for the manifest."""
        if self._able is None:
            return {}
        return reports.facts(self._able, self.urls, str(self.model), self._build)

    @property
    def served(self) -> Mapping[str, int]:
        return self._loops.served

    @property
    def program(self) -> str | None:
        return (self._able and self._able.engine) or None

    def expect(self, sampling: Sampling, *, steps: bool) -> None:
        """See `reasoning.generate.Generator`."""
        wanted = fields.needs(sampling)
        wanted |= {"steps"} if steps else set()
        self._expected = wanted if self._expected is None else self._expected | wanted

    @property
    def pool(self) -> Pool:
        """The connections of the running event loop."""
        return self._loops.here().pool

    async def astart(self) -> None:
        """Find out now what the server can do. Raises EngineError if it does not say."""
        retry = Retry()
        wanted = frozenset(NEEDS if self._expected is None else self._expected)
        if self._thinking and self._thinking.tokens:
            wanted |= {"steps", "budget"}
        if self._heals:
            wanted |= {"fields"}
        for attempt in range(retry.attempts):
            try:
                await self.abilities(wanted)
                return
            except TransientError as error:
                if attempt + 1 == retry.attempts:
                    raise EngineError(f"no start with {self.urls[0]}: {error}") from error
                u = fold(0, "start", self.urls[0], attempt) / 2**63
                await self._clock.sleep(retry.delay(attempt, error.retry_after, u))

    async def _knowing(self, needs: frozenset[Need], prompt: Prompt) -> Abilities:
        """What the server can do, as far as this call needs to know."""
        able = self._able
        if able is None or not needs <= able.found:
            able = await self.abilities(needs)
        if able.mode == "chat" and "steps" not in able.found and prompt.text:
            able = await self.abilities(needs | {"steps"})
        return able

    async def abilities(self, needs: Collection[Need] = NEEDS) -> Abilities:
        """What the server can do, everything unless told what of it is needed.

        Each thing is asked once. Raises what a call raises.
        """
        here = self._loops.here()
        async with here.asking:
            if self.model is None:
                models = await served(here.pool)
                if not models:
                    raise RecipeError(
                        f"the server at {self.urls[0]} does not list its models; set model"
                    )
                self.model = told(str(models[0].get("id")))
            await here.pool.expect(self.model)
            if here.ask is None:
                here.ask = Questions(here.pool, self.model, self._extra, self._marks)
            with readable():
                if self._able is None:
                    templated = self._template is not None
                    self._able = await find_out(here.ask, api=self._api, templated=templated)
                    if self._able.engine.startswith("vllm"):
                        await here.pool.find_ranks()
                for need in NEEDS:
                    unasked = need == "budget" and not (self._thinking and self._thinking.tokens)
                    if need in needs and need not in self._able.found and not unasked:
                        before = self.notes
                        self._able = await with_answer(need, here.ask, self._able)
                        for note in self.notes:
                            if note not in before:
                                log.warning("%s", note)
            if self._heals:
                backing.refuse(self._able, f"the server at {self.urls[0]}")
            if (
                self._thinking
                and self._thinking.tokens
                and "steps" in self._able.found
                and not (self._able.continues or self._able.budgets)
            ):
                raise RecipeError(
                    "generator.thinking_tokens is set, and this server starts every chat "
                    "answer afresh, so it cannot go on from a thinking that was cut; leave "
                    "thinking_tokens out, or use a server that continues answers (vLLM, SGLang)"
                )
        return self._able

    def refuse(self, params: Sampling) -> None:
        """Raise RecipeError for a field that the server is known not to know."""
        if self._able is not None:
            fields.refuse(self._able, params, self.urls[0])

    @property
    def honours(self) -> frozenset[str]:
        """As far as is known."""
        everything = frozenset(Sampling.__dataclass_fields__) - {"max_tokens"}
        if self._able is None or _open(self._able, "fields"):
            return everything
        told = {"confidence_k", "top_logprobs"} if self._able.logprobs else set()
        if self._able.tools or _open(self._able, "tools"):
            told.add("tools")
        return (self._able.knows | {"temperature", "stop", *told}) & everything

    async def can(self, field: str) -> bool:
        """See `reasoning.generate.Generator`."""
        await self.abilities({"tools" if field == "tools" else "fields"})
        return field in self.honours

    def refuse_steps(self) -> None:
        """Raises RecipeError if the server is known not to go on from a step."""
        if self._able is not None:
            request.refuse_steps(self._able)

    async def describe(self) -> Mapping[str, str]:
        """What the server can do, in words, for people. Raises what a call raises."""
        pool = self._loops.here().pool
        await pool.hurry()
        able = await self.abilities()
        known = reports.facts(able, self.urls, str(self.model), self._build)
        return {**known, "replicas": pool.fleet.standing} if pool.several else known

    async def aclose(self) -> None:
        await self._loops.close()


def _open(able: Abilities, need: Need) -> bool:
    """Nobody has asked about it yet."""
    return need not in able.found
