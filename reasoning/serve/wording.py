"""What came of searches, in the words of OpenAI's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any, Literal, TypeAlias

from reasoning.events import Heard
from reasoning.http.reading import dumps
from reasoning.result import Result
from reasoning.serve.asking import Asked
from reasoning.serve.refusal import lost
from reasoning.serve.telling import Telling
from reasoning.tree import LOST, Node, Path

Ended: TypeAlias = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Said:
    """One choice of an answer: `text` for the client, `thought` that came before it."""

    text: str
    thought: str
    ended: Ended
    calls: Sequence[Mapping[str, Any]]
    """Of tools, in OpenAI's form."""
    result: Result
    node: Node | None
    """The winner."""

    @property
    def tokens(self) -> int:
        """Of the text and the calls, without the thought: as many fewer as the engine has told,
        else as many as the characters of both come to."""
        node = self.node or (_last(self.result) if self.text or self.thought else None)
        samples = [] if node is None else [node.sample for node in node.attempt()]
        tokens = sum([sample.generated_tokens for sample in samples])
        told = sum([sample.info.get("thought_tokens", 0) for sample in samples if sample.info])
        if told or not self.thought:
            return max(0, tokens - int(told))
        size = len(self.text) + sum(len(dumps(call["function"])) for call in self.calls)
        return round(tokens * size / (size + len(self.thought)))


def said(result: Result, asked: Asked) -> Said:
    """What a client is told of a search. Raises RequestError where every call has failed."""
    node, curtailed = winner(result), result.stop_reason != "finished"
    if node is None:
        if result.usage.failed_calls and not result.candidates and not curtailed:
            raise lost(result.failures)
        return Said("", "", "length" if curtailed else "stop", (), result, None)
    thought, text, stopped = Telling.whole(asked, node.text)
    calls = [_call(call) for call in (node.sample.info or {}).get("tool_calls") or ()]
    if calls and node.finished:
        ended: Ended = "tool_calls"
    elif stopped or node.finished:
        ended = "stop"
    else:
        ended = "length" if curtailed or node.sample.finish == "length" else "stop"
    return Said(text, thought, ended, calls, result, node)


class Hearing:
    """What the latest call of a search has said; one that is made again begins anew."""

    def __init__(self) -> None:
        self.path: Path = ()
        self._pieces: list[str] = []
        self._size = 0

    def take(self, event: Heard) -> None:
        if event.path != self.path:
            self._pieces = []
        elif event.at != self._size:
            self._pieces = [self.text[: event.at]]
        self._pieces.append(event.text)
        self.path, self._size = event.path, event.at + len(event.text)

    @property
    def text(self) -> str:
        return "".join(self._pieces)


def so_far(said: Said, asked: Asked, heard: Hearing) -> Said:
    """The same, with what was heard of its only text where a deadline has ended that."""
    if said.node is not None or said.result.stop_reason != "seconds":
        return said
    last, telling = _last(said.result), Telling.of(asked)
    more = len(heard.path) > last.depth or last.sample.finish in LOST
    thought, text = telling.all(last.text + (heard.text if more else ""))
    ended = "stop" if telling.stopped else said.ended
    return replace(said, thought=thought, text=text, ended=ended)


def _last(result: Result) -> Node:
    """The last part of a text that is drawn alone."""
    *_, last = result.tree.root, *result.tree
    return last


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """With an identity, which the answer of the tool will name."""
    return {**call, "id": call.get("id") or f"call_{token_hex(12)}"}


def winner(result: Result) -> Node | None:
    """Whose text is given back: the one chosen, or where none has an answer (all were cut off,
    say) the first. None where there is none, or all were turned down."""
    if result.chosen is None and not any(c.answer for c in result.candidates):
        return (
            min(result.candidates, key=lambda c: (c.rank, c.path)).node
            if result.candidates
            else None
        )
    return result.node


def usage(found: Sequence[Said]) -> dict[str, Any]:
    """What was really spent.

    Everything that was generated besides the texts given back counts as reasoning, thoughts and
    waste included; `search` has it all.
    """
    first, *others = [said.result.usage for said in found]
    total, tokens = sum(others, first), sum(said.tokens for said in found)
    generated = total.generated_tokens
    return {
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": total.prompt_tokens + generated,
        "prompt_tokens_details": {"cached_tokens": total.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": max(0, generated - tokens)},
        "search": total.to_json(),
    }


def summary(asked: Asked, result: Result) -> dict[str, Any]:
    """What a client cannot see in the text: who chose it, of what, and why it ended."""
    found: dict[str, Any] = {
        "strategy": asked.offer.name,
        "answer": result.answer,
        "confidence": result.confidence,
        "stop_reason": result.stop_reason,
        "candidates": len(result.candidates),
        "seed": result.tree.seed,
    }
    notes = [*asked.notes, *_notes(result)]
    if asked.logprobs is not None and not _told(winner(result)):
        notes.append("the model told no log-probabilities of this text")
    if notes:
        found["notes"] = notes
    if asked.ignored:
        found["ignored"] = list(asked.ignored)
    return found


def _notes(result: Result) -> list[str]:
    notes = []
    if result.stop_reason != "finished":
        notes.append(f"limits.{result.stop_reason} ended the search; this is the best so far")
    if result.chosen is None:
        notes.append(f"the search came to no answer: {_why(result)}")
    if failed := result.usage.failed_calls:
        notes.append(f"{failed} calls failed")
    return notes


def _told(node: Node | None) -> bool:
    """Whether the tokens of the winner are known with their log-probabilities."""
    samples = [] if node is None else [node.sample for node in node.attempt()]
    return all(s.top_logprobs and s.top_logprobs.said is not None for s in samples)


def _why(result: Result) -> str:
    if not result.candidates:
        return "it has no candidate"
    if any(c.answer for c in result.candidates):
        return "it turned all candidates down"
    return "none of its candidates has one, and this is the first"


def message(said: Said) -> dict[str, Any]:
    """The assistant's message."""
    found: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None}
    if said.thought:
        found["reasoning_content"] = said.thought
    if said.calls:
        found["content"] = said.text or None
        found["tool_calls"] = list(said.calls)
    return found
