"""The generator behind `openai`: from a prompt to a request, from an answer to a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from reasoning.backends.healing import healable
from reasoning.backends.openai import at_once, backing, fields, native, request, scoring
from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.asking import in_words_of, path_of
from reasoning.backends.openai.at_once import AtOnce
from reasoning.backends.openai.calling import Call, headers
from reasoning.backends.openai.known import Known
from reasoning.backends.openai.loops import Here
from reasoning.backends.openai.request import BUDGET, Abilities
from reasoning.backends.openai.sampled import sample as sample_of
from reasoning.backends.openai.tokens import Tokenizer
from reasoning.errors import GenerationError, RecipeError
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.seeds import fold
from reasoning.tree import FloatArray, Sample


class OpenAI(Known):
    """The generator behind `openai`. Serves any number of event loops, each with its own pool."""

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

    async def _biases(self, params: Sampling, able: Abilities) -> dict[int | str, float]:
        """By token ids, as servers want them."""
        if not able.tokenizes:
            raise RecipeError(
                "sampling.logit_bias names tokens by their text, and the server at "
                f"{self.urls[0]} does not tell their ids (/tokenize); name them by their ids"
            )
        return await self._tokenizer(able).biases(params.logit_bias)

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
