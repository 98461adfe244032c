"""The server's tokenizer, asked over HTTP: as rarely as can be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from reasoning.backends.openai import request
from reasoning.backends.openai.answer import Answer
from reasoning.backends.token_ids import one_token, tokens_of
from reasoning.errors import TransientError
from reasoning.generate import Prompt
from reasoning.http.pool import Pool
from reasoning.http.reading import shown
from reasoning.problem import Message

Question: TypeAlias = tuple[Message, ...]
"""The messages up to the answer."""
_QUESTIONS = 10_000
"""Questions whose tokens are remembered."""
_DOCUMENT = "<|endoftext|>"
_BEFORE = "a"
"""What a token stands behind to tell its text: alone, some lose the blank they begin with."""
_CONTEXT = 8
"""Tokens that tell a decoder how the ones after them begin."""


class Tokenizer:
    """Puts questions through the chat template, once each, and texts into tokens.

    `chats`: the model has a chat template; a `template` of the user's goes before it. `kwargs` are
    for the model's own. `known` holds the tokens of questions.
    """

    def __init__(
        self,
        pool: Pool,
        model: str,
        *,
        chats: bool,
        template: str | None,
        kwargs: Mapping[str, Any] | None,
        known: dict[Question, list[int]],
    ) -> None:
        self._pool = pool
        self._model = model
        self._chats = chats
        self._template = template
        self._kwargs = kwargs
        self._questions = known
        self._waiting: dict[Question, asyncio.Future[None]] = {}
        self._begin: list[int] | None = None
        self._texts: dict[int, str] = {}
        self._ids: dict[str, list[int]] = {}

    async def question(self, prompt: Prompt) -> list[int]:
        """The question's tokens, through the chat template once."""
        key = prompt.messages
        waiting = self._waiting
        while (known := self._questions.get(key)) is None:
            if (pending := waiting.get(key)) is not None:
                await asyncio.wait([pending])
                continue
            done = waiting[key] = asyncio.get_running_loop().create_future()
            try:
                known = await self._templated(prompt)
                if len(self._questions) > _QUESTIONS:
                    self._questions.clear()
                self._questions[key] = known
            finally:
                del waiting[key]
                done.set_result(None)
        return known

    async def _templated(self, prompt: Prompt) -> list[int]:
        if self._template is not None or not self._chats:
            asked: dict[str, Any] = {"prompt": request.written(prompt, self._template)}
        else:
            asked = {"messages": request.question(prompt), "add_generation_prompt": True}
            if self._kwargs:
                asked["chat_template_kwargs"] = self._kwargs
        return _tokens(await self._post("/tokenize", asked))

    async def path(self, prompt: Prompt) -> list[int]:
        pieces = prompt.pieces
        known = {text: await self.encode(text) for text in pieces if isinstance(text, str)}
        return tokens_of(pieces, known.__getitem__, ())

    async def document(self) -> list[int]:
        """What stands before a text that has no prompt."""
        if self._begin is None:
            body = {"prompt": "", "add_special_tokens": True}
            begin = _tokens(await self._post("/tokenize", body))
            mark = await self.encode(_DOCUMENT)
            self._begin = begin or (mark if len(mark) == 1 else [])
        return self._begin

    async def encode(self, text: str) -> list[int]:
        body = {"prompt": text, "add_special_tokens": False}
        return _tokens(await self._post("/tokenize", body)) if text else []

    async def decode(self, ids: Sequence[int]) -> str:
        whole = await self._post("/detokenize", {"tokens": list(ids)})
        if not isinstance(whole, dict):
            return ""
        return str(whole.get("prompt", whole.get("text", "")))  # vLLM's name, SGLang's

    async def texts(self, ids: Sequence[int]) -> Mapping[int, str]:
        """The texts of single tokens, each asked for once: behind another one, as in a text."""
        new = [token for token in ids if token not in self._texts]
        if new:
            mark = await self._token(_BEFORE)
            before = await self.decode(mark)
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self.decode([*mark, token])) for token in new]
            for token, task in zip(new, asked, strict=True):
                self._texts[token] = task.result()[len(before) :]
        return self._texts

    async def biases(self, biases: Mapping[int | str, float]) -> dict[int | str, float]:
        """The same by token ids. Raises RecipeError for a text that is not one token."""
        found: dict[int | str, float] = {}
        for token, bias in biases.items():
            ids = [token] if isinstance(token, int) else await self._token(token)
            found[one_token(token, ids)] = bias
        return found

    async def _token(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = await self.encode(text)
        return self._ids[text]

    async def tail(self, answer: Answer) -> str:
        """The rest of the token that completes a stop string; the server cuts it off its text."""
        tail = answer.tail()
        if tail is not None:
            return tail
        last, shown = answer.last_piece()
        before = answer.ids[:last][-_CONTEXT:]
        whole = await self.decode([*before, *answer.ids[last:]])
        piece = whole[len(await self.decode(before)) :] if before else whole
        return piece[len(shown) :] if piece.startswith(shown) else ""

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._pool.post(path, {"model": self._model, **body})


def _tokens(whole: Any) -> list[int]:
    if not isinstance(whole, dict) or not isinstance(whole.get("tokens"), list):
        raise TransientError(f"the server's answer has no tokens: {shown(whole)}")
    return list(whole["tokens"])
