"""The generator behind `openai`: from a prompt to a request, from an answer to a sample."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from reasoning.backends.healing import healable
from reasoning.backends.openai import at_once, backing, fields, native, reports, request, scoring
from reasoning.backends.openai.answer import THINK, Answer
from reasoning.backends.openai.asking import Questions, in_words_of, path_of
from reasoning.backends.openai.at_once import AtOnce
from reasoning.backends.openai.calling import Call, headers
from reasoning.backends.openai.loops import Here, Loops
from reasoning.backends.openai.pace import Pace
from reasoning.backends.openai.probe import Api, find_out, served
from reasoning.backends.openai.probe_more import with_answer
from reasoning.backends.openai.request import BUDGET, NEEDS, Abilities, Need
from reasoning.backends.openai.sampled import sample as sample_of
from reasoning.backends.openai.tokens import Question, Tokenizer
from reasoning.clock import Clock, RealClock
from reasoning.errors import EngineError, GenerationError, RecipeError, TransientError
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.http.admission import Limits
from reasoning.http.keys import told
from reasoning.http.pool import Pool
from reasoning.http.reading import readable
from reasoning.http.sources import sources
from reasoning.search import Retry
from reasoning.seeds import fold
from reasoning.thinking import Thinking
from reasoning.tree import FloatArray, Sample

log = logging.getLogger(__name__)

SESSION = "X-Session-ID"
"""The header by which routers keep the calls of a tree together, unless told otherwise."""


class OpenAI(Generator):
    """The generator behind `openai`. Serves any number of event loops, each with its own pool."""

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

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        """See `reasoning.generate.Generator`. A broken stream of tokens is taken up where it broke.

        Raises RecipeError for what the server cannot do, EngineError once no server is left.
        """
        if (asked := self._asked_at_once(prompt, params)) is not None:
            sample = await self._at_once(asked, prompt, params, seed, meter)
            if sample is not None:
                return sample
        needs = fields.needs(params)
        text = healable(prompt, params) if self._heals else ""
        rest = backing.taken_back(text, params) if text else ""
        if rest:
            needs |= {"fields"}
        if tools := request.wants_tools(prompt, params):
            needs |= {"tools"}
        able = await self._knowing(needs, prompt)
        self.refuse(params)
        if rest:
            backing.refuse(able, f"the server at {self.urls[0]}")
        if tools:
            if not able.tools:
                raise RecipeError(fields.no_tools(self.urls[0]))
            able = request.in_a_chat(able)
        if params.logit_bias and any(isinstance(token, str) for token in params.logit_bias):
            params = replace(params, logit_bias=await self._biases(params, able))
        held = await self._holding(prompt, able)
        if rest:
            held = await self._taken_back(held, text, rest, able)
            params, prompt = backing.bound(params, rest), backing.hearing(prompt, rest)
        before = prompt.text if able.mode == "chat" else ""
        answer = Answer(
            request.opened(before, able, self._marks),
            self._marks,
            before if able.repeats else "",
        )
        here = self._loops.here()
        await self._ask(here, able, prompt, params, held, seed, answer, meter)
        sample = await sample_of(answer, held, params, able, self._tokenizer(able, here))
        return backing.healed(sample, rest) if rest else sample

    def _asked_at_once(self, prompt: Prompt, params: Sampling) -> Mapping[str, Any] | None:
        """What is asked for where the answer is a whole text and nothing else; see `at_once`."""
        able = self._able
        if able is None or self._heals or self._priority or self._thinking:
            return None
        if not (at_once.is_plain(prompt) and self._in_one_piece(prompt, params, able)):
            return None
        return at_once.way(able, params)

    async def _at_once(
        self, asked: Mapping[str, Any], prompt: Prompt, params: Sampling, seed: int, meter: Meter
    ) -> Sample | None:
        """What comes of that; None where it has to be asked for without what the server refuses."""
        self.refuse(params)
        here, able = self._loops.here(), self._able
        assert able is not None, "it is known what is asked for"
        held = {"messages": request.question(prompt)}
        body = {"model": self.model, **held, **asked, **self._extra}
        if "seed" in asked:
            body["seed"] = seed % 2**31
        several = here.pool.several
        call, begun = AtOnce(params.max_tokens, self._marks), self._clock.now()
        try:
            await call.ask(
                here.pool,
                body,
                affinity=request.affinity(prompt) if several else (),
                becomes=fold(prompt.parent.key, prompt.slot) if several else None,
                headers=headers(self._session_header, prompt),
            )
        except GenerationError as error:
            refused = call.reply.status in (400, 422)
            if refused and fields.neutral(able, params, str(error)) & body.keys():
                return None
            raise
        finally:
            self._settle(here, call.tokens, True, self._clock.now() - begun, params, meter)
        if call.found is not None:
            self._build = self._build or call.build
            return call.found
        assert call.answer is not None, "it was read"
        self._build = self._build or call.answer.fingerprint
        return await sample_of(call.answer, held, params, able, self._tokenizer(able, here))

    def _settle(
        self,
        here: Here,
        tokens: int | None,
        over: bool,
        took: float,
        params: Sampling,
        meter: Meter,
    ) -> None:
        """Meter what a call has generated, whether or not it has come to its end; where nobody has
        told, what it probably has."""
        if tokens is None:
            tokens = self._pace.given_up(took, params.max_tokens)
        elif over:
            self._pace.met(tokens, took)
        meter(min(tokens, params.max_tokens))
        self._broken |= here.pool.fleet.breaks

    async def _ask(
        self,
        here: Here,
        able: Abilities,
        prompt: Prompt,
        params: Sampling,
        held: Mapping[str, Any],
        seed: int,
        answer: Answer,
        meter: Meter,
    ) -> None:
        """Have `answer` filled; what it costs is metered, whatever comes of it."""
        entire = self._in_one_piece(prompt, params, able)
        probing = prompt.suffix or params.top_logprobs
        bound = {BUDGET: self._budget} if self._budget and not probing else {}
        call = Call(
            here.pool,
            able,
            prompt,
            body={"model": self.model, **self._extra, **bound},
            session=self._session_header,
            priority=self._priority,
            entire=entire,
            clock=self._clock,
        )
        begun = self._clock.now()
        try:
            await call.into(answer, held, params, seed)
        finally:
            tokens = answer.tokens if answer.over or not entire else None
            self._settle(here, tokens, answer.over, self._clock.now() - begun, params, meter)
            if call.dropped and self._able is not None:
                self._able = fields.without(self._able, call.dropped)
        self._build = self._build or answer.fingerprint

    def _in_one_piece(self, prompt: Prompt, params: Sampling, able: Abilities) -> bool:
        """Whether the answer need not be streamed: nobody looks at it before its end, and that
        will surely have come before somebody does, or the server counts as silent."""
        wanted = prompt.undisturbed > 0 and prompt.hear is None and able.streams
        there = not params.stop or fields.stops_there(able, params)
        seconds = min(prompt.undisturbed, self.limits.timeout)
        return wanted and there and self._pace.within(seconds, params.max_tokens)

    async def _knowing(self, needs: frozenset[Need], prompt: Prompt) -> Abilities:
        """What the server can do, as far as this call needs to know."""
        able = self._able
        if able is None or not needs <= able.found:
            able = await self.abilities(needs)
        if able.mode == "chat" and "steps" not in able.found and prompt.text:
            able = await self.abilities(needs | {"steps"})
        return able

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """See `reasoning.generate.Generator`.

        Without `question` a document begins with the model's beginning-of-text token, or else
        <|endoftext|>; if it has neither, with the path's own text, whose first token has logprob 0.
        Without token ids the server decides where tokens begin. Raises RecipeError if it does not
        tell the log-probabilities of given text.
        """
        able = await self._knowing(frozenset({"likelihood"}), prompt)
        if not able.scores:
            raise RecipeError(
                f"the server at {self.urls[0]} does not tell how likely given text is "
                "(prompt_logprobs, or echo with logprobs); use vLLM, or generator nano"
            )
        post = partial(self._post, path_of(able), prompt=prompt)
        if able.mode == "text":
            return await scoring.by_echo(
                post, self._template, prompt, sample, question, meter, least=able.least
            )
        tokens = self._tokenizer(able)
        return await scoring.by_tokens(post, tokens, prompt, sample, question, meter)

    async def encode(self, text: str) -> list[int]:
        """The token ids of `text`. Raises RecipeError if the server deals in text alone."""
        able = self._able or await self.abilities(())
        if able.mode != "tokens":
            raise RecipeError(f"the server at {self.urls[0]} does not tell token ids")
        return await self._tokenizer(able).encode(text)

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

    async def _biases(self, params: Sampling, able: Abilities) -> dict[int | str, float]:
        """By token ids, as servers want them."""
        if not able.tokenizes:
            raise RecipeError(
                "sampling.logit_bias names tokens by their text, and the server at "
                f"{self.urls[0]} does not tell their ids (/tokenize); name them by their ids"
            )
        return await self._tokenizer(able).biases(params.logit_bias)

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

    async def _holding(self, prompt: Prompt, able: Abilities) -> dict[str, Any]:
        """What holds the prompt in a request."""
        if able.mode == "chat":
            return request.chat(prompt, able)
        if able.mode == "text":
            return {"prompt": request.written(prompt, self._template) + prompt.text}
        tokens = self._tokenizer(able)
        return {"prompt": await tokens.question(prompt) + await tokens.path(prompt)}

    async def _taken_back(
        self, held: Mapping[str, Any], text: str, rest: str, able: Abilities
    ) -> dict[str, Any]:
        """What holds the prompt, without the end of its last text."""
        if able.mode == "text":
            return {**held, "prompt": held["prompt"].removesuffix(rest)}
        tokens = self._tokenizer(able)
        size = len(await tokens.encode(text))
        kept = await tokens.encode(text.removesuffix(rest))
        return {**held, "prompt": [*held["prompt"][: len(held["prompt"]) - size], *kept]}

    async def _post(self, path: str, body: Mapping[str, Any], prompt: Prompt | None = None) -> Any:
        pool = self._loops.here().pool
        near = request.affinity(prompt) if prompt is not None and pool.several else ()
        asked = in_words_of(path, {"model": self.model, **body})
        return native.whole(await pool.post(path, asked, affinity=near))

    def _tokenizer(self, able: Abilities, here: Here | None = None) -> Tokenizer:
        here = here or self._loops.here()
        if here.tokenizer is None:
            here.tokenizer = Tokenizer(
                here.pool,
                str(self.model),
                chats=able.template,
                template=self._template,
                kwargs=self._extra.get("chat_template_kwargs"),
                known=self._questions,
            )
        return here.tokenizer


def _open(able: Abilities, need: Need) -> bool:
    """Nobody has asked about it yet."""
    return need not in able.found
