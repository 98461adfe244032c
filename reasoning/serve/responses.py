"""The words of /v1/responses: text and calls of tools; nothing is kept between requests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from reasoning.serve.asking import Asked
from reasoning.serve.messages import text as text_of
from reasoning.serve.refusal import RequestError
from reasoning.serve.streams import Blocks, block
from reasoning.serve.wording import Said, summary, usage

_REFUSED = {
    "previous_response_id": "no response is kept here; send the whole conversation as input",
    "conversation": "no conversation is kept here; send it as input",
    "background": "no response is kept here; use stream",
    "prompt": "no prompt is kept here; send it as input",
    "messages": "the conversation is input here",
    "n": "a response is one answer; /chat/completions has n",
    "logprobs": "no log-probabilities are told here; /chat/completions has them",
    "top_logprobs": "no log-probabilities are told here; /chat/completions has them",
}
_SKIPPED = ("effort", "summary", "generate_summary")
"""Fields of OpenAI's own `reasoning`."""


_WORDS = {
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
"""Fields of /chat/completions, and what they are called here."""
_MESSAGE = re.compile(r"messages\[\d+\]")


class _OwnError(RequestError):
    """Names a field as the client has sent it."""


@contextmanager
def own_words() -> Iterator[None]:
    """Errors name the field that the client has sent."""
    try:
        yield
    except _OwnError:
        raise
    except RequestError as error:
        field = error.param or ""
        if own := _WORDS.get(field):
            error.message, error.param = error.message.replace(field, own), own
        elif _MESSAGE.match(field):  # whose number is another among the items of the input
            error.message = _MESSAGE.sub("a message of input", error.message)
            error.param = "input"
        raise


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as one of /chat/completions. Raises RequestError."""
    found = dict(body)
    for name, why in _REFUSED.items():
        if found.pop(name, None):
            raise _OwnError(f"{name} is not supported: {why}", param=name, code="unsupported_value")
    if "max_output_tokens" in found:
        found["max_completion_tokens"] = found.pop("max_output_tokens")
    if found.get("truncation") == "disabled":
        del found["truncation"]
    own = found.get("reasoning")
    if isinstance(own, Mapping):
        if own.get("effort"):
            found["reasoning_effort"] = own["effort"]
        found["reasoning"] = {k: v for k, v in own.items() if k not in _SKIPPED}
        if own.get("summary"):
            found["reasoning.summary"] = own["summary"]  # told as ignored
    text = found.pop("text", None)
    if not isinstance(text, Mapping | None):
        raise RequestError("text is a mapping, with a format", param="text")
    if text is not None:
        found["response_format"] = _format(text.get("format"))
        found["verbosity"] = text.get("verbosity")
    if isinstance(tools := found.get("tools"), list):
        found["tools"] = [_nested(tool) for tool in tools]
    found["tool_choice"] = _nested(found.pop("tool_choice", None))
    messages, skipped = _messages(found.pop("input", None))
    if instructions := found.pop("instructions", None):
        messages.insert(0, {"role": "system", "content": instructions})
    return {**found, **dict.fromkeys(skipped, True), "messages": messages}


def _format(form: Any) -> Any:
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {"schema": form.get("schema")}}
    return form


def _nested(tool: Any) -> Any:
    """A function as chats have it: what is said of it stands a level deeper."""
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        return tool
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def _messages(given: Any) -> tuple[list[Any], list[str]]:
    """The messages of an input, and the items of it that are passed over."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}], []
    if not isinstance(given, list) or not given:
        raise RequestError("input is a text, or a list of messages, one or more", param="input")
    found, skipped = [], []
    for i, item in enumerate(given):
        kind = item.get("type", "message") if isinstance(item, Mapping) else None
        if kind == "reasoning":
            skipped.append(f"input[{i}]")
        elif kind == "message":
            said = text_of(item.get("content"), f"input[{i}].content")
            found.append({"role": item.get("role"), "content": said})
        elif kind == "function_call":
            if not found or found[-1]["role"] != "assistant":
                found.append({"role": "assistant", "content": ""})
            function = {"name": item.get("name"), "arguments": item.get("arguments", "")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            found[-1].setdefault("tool_calls", []).append(call)
        elif kind == "function_call_output":
            said = text_of(item.get("output"), f"input[{i}].output")
            found.append({"role": "tool", "content": said, "tool_call_id": item.get("call_id")})
        else:
            raise RequestError(
                f"input[{i}] is of type {kind!r}; it is a message, or a call of a function or its "
                "output here",
                param=f"input[{i}]",
                code="unsupported_value",
            )
    return found, skipped


def whole(asked: Asked, said: Said, name: str) -> dict[str, Any]:
    """The response called `name`."""
    cut = said.ended == "length"
    spent = usage([said])
    return {
        **_head(asked, name),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": _output(said, name, said.thought, said.text),
        "usage": {
            "input_tokens": spent["prompt_tokens"],
            "input_tokens_details": spent["prompt_tokens_details"],
            "output_tokens": spent["completion_tokens"],
            "output_tokens_details": spent["completion_tokens_details"],
            "total_tokens": spent["total_tokens"],
            "search": spent["search"],
        },
        "search": summary(asked, said.result),
    }


def _head(asked: Asked, name: str) -> dict[str, Any]:
    """What is known of a response before it has begun."""
    offered = asked.sampling.tools
    choice = offered.get("tool_choice", "auto" if offered else "none")
    return {
        "id": name,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": asked.sampling.max_tokens,
        "metadata": {},
        "model": asked.offer.name,
        "output": [],
        "parallel_tool_calls": offered.get("parallel_tool_calls", bool(offered)),
        "previous_response_id": None,
        "store": False,
        "temperature": asked.sampling.temperature,
        "tool_choice": _flat(choice),
        "tools": [_flat(tool) for tool in offered.get("tools", ())],
        "top_p": asked.sampling.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _flat(tool: Any) -> Any:
    """The inverse of `_nested`."""
    return tool if isinstance(tool, str) else {"type": "function", **tool["function"]}


def _output(said: Said, name: str, thought: str, text: str) -> list[dict[str, Any]]:
    """The items of a response: what was told as a thought and as the text, then the calls."""
    items = [_reasoning(name, thought)] if thought else []
    if text or not said.calls:
        items.append(_message(name, text, said.ended))
    return items + [_call(name, i, call) for i, call in enumerate(said.calls)]


def _call(name: str, i: int, call: Mapping[str, Any]) -> dict[str, Any]:
    known = call.get("function") or {}
    return {
        "type": "function_call",
        "id": f"fc_{i}_{name}",
        "call_id": call["id"],
        "name": known.get("name", ""),
        "arguments": known.get("arguments", ""),
        "status": "completed",
    }


def _reasoning(name: str, thought: str) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": thought}] if thought else []
    return {
        "type": "reasoning",
        "id": f"rs_{name}",
        "summary": [],
        "content": content,
        "status": "completed",
    }


def _message(name: str, text: str, ended: str = "stop") -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{name}",
        "status": "incomplete" if ended == "length" else "completed",
        "role": "assistant",
        "content": [_text(text)],
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class ResponseStream:
    """A `Scribe`: a thought, if there is one, then a message, each begun and ended as an item.

    What is thought when the message has begun is not told.
    """

    def __init__(self, asked: Asked, name: str) -> None:
        self._asked = asked
        self._name = name
        self._number = 0
        self._index = 0
        self._thought = ""
        self._said = ""
        self._open: str | None = None  # the item that is begun

    def opening(self) -> Blocks:
        head = _head(self._asked, self._name)
        return [self._event(f"response.{k}", response=head) for k in ("created", "in_progress")]

    def more(self, i: int, thought: str, text: str) -> Blocks:
        del i
        found: list[bytes] = []
        if thought and self._open != "message":
            found += self._begin("reasoning")
            self._thought += thought
            found.append(self._piece("reasoning_text.delta", delta=thought))
        if text:
            found += self._begin("message")
            self._said += text
            found.append(self._piece("output_text.delta", delta=text, logprobs=[]))
        return found

    def closing(self, i: int, said: Said) -> Blocks:
        del i
        if said.text or not said.calls:
            return [*self._begin("message"), *self._end(said.ended)]
        return self._end()

    def ending(self, found: Sequence[Said]) -> Blocks:
        (said,) = found
        response = whole(self._asked, said, self._name)
        response["output"] = _output(said, self._name, self._thought, self._said)
        blocks: list[bytes] = []
        for i, item in enumerate(response["output"]):
            if item["type"] == "function_call":
                blocks += self._calls(i, item)
        blocks.append(self._event(f"response.{response['status']}", response=response))
        return blocks

    def _calls(self, i: int, item: Mapping[str, Any]) -> list[bytes]:
        """The events of a call, the item with index `i`."""
        begun = {**item, "arguments": "", "status": "in_progress"}
        where: dict[str, Any] = {"item_id": item["id"], "output_index": i}
        said, piece = item["arguments"], "response.function_call_arguments"
        return [
            self._event("response.output_item.added", output_index=i, item=begun),
            self._event(f"{piece}.delta", **where, delta=said),
            self._event(f"{piece}.done", **where, name=item["name"], arguments=said),
            self._event("response.output_item.done", output_index=i, item=item),
        ]

    def _begin(self, kind: str) -> list[bytes]:
        """Begin an item, unless it is begun; the one before it ends."""
        if self._open == kind:
            return []
        found = self._end()
        self._open = kind
        item = (_message if kind == "message" else _reasoning)(self._name, "")
        item |= {"content": [], "status": "in_progress"}
        part = _text("") if kind == "message" else {"type": "reasoning_text", "text": ""}
        found.append(self._event("response.output_item.added", output_index=self._index, item=item))
        found.append(self._piece("content_part.added", part=part))
        return found

    def _end(self, ended: str = "stop") -> list[bytes]:
        """End the item that is begun."""
        if self._open is None:
            return []
        if self._open == "message":
            item = _message(self._name, self._said, ended)
            done = self._piece("output_text.done", text=self._said, logprobs=[])
        else:
            item = _reasoning(self._name, self._thought)
            done = self._piece("reasoning_text.done", text=self._thought)
        part = self._piece("content_part.done", part=item["content"][0])
        last = self._event("response.output_item.done", output_index=self._index, item=item)
        self._open, self._index = None, self._index + 1
        return [done, part, last]

    def _piece(self, kind: str, **more: Any) -> bytes:
        """An event about the only part of the item that is begun."""
        item = ("msg_" if self._open == "message" else "rs_") + self._name
        return self._event(
            f"response.{kind}",
            item_id=item,
            output_index=self._index,
            content_index=0,
            **more,
        )

    def _event(self, kind: str, **more: Any) -> bytes:
        self._number += 1
        return block({"type": kind, "sequence_number": self._number - 1, **more}, kind)
