"""SGLang's own door, /generate, in the words of /completions: token ids in and out.

Used where /completions gives no token ids. Written after SGLang's source and documentation (its
`io_struct.py` and `tokenizer_manager.py` of 2025 and 2026); it has not been run against it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reasoning.http.reading import count, shown

PATH = "/generate"

_PARAMS = {
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
    "seed": "sampling_seed",
    **{
        name: name
        for name in (
            "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty",
            "repetition_penalty", "stop", "stop_token_ids", "no_stop_trim", "regex", "logit_bias",
            "ignore_eos", "skip_special_tokens",
        )
    },
}  # fmt: skip
"""Fields of /completions, and what they are called among its sampling parameters."""
_NOT_THERE = frozenset(
    (
        "model", "prompt", "logprobs", "prompt_logprobs", "return_token_ids", "stream_options",
        "return_tokens_as_token_ids", "include_stop_str_in_output", "echo", "repeat_penalty",
        "response_format", "structured_outputs", "guided_choice", "guided_regex", "guided_json",
        "chat_template_kwargs",
    )
)  # fmt: skip
"""Fields that it does not know, or knows in another form."""


def request(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request that asks for the same."""
    params = {_PARAMS[name]: value for name, value in body.items() if name in _PARAMS}
    if params.get("top_k") == 0:
        params["top_k"] = -1
    form = (body.get("response_format") or {}).get("json_schema")
    if form:
        params["json_schema"] = json.dumps(form["schema"])
    prompt = body["prompt"]
    asked = {"text" if isinstance(prompt, str) else "input_ids": prompt, "sampling_params": params}
    if "logprobs" in body or "prompt_logprobs" in body:
        asked |= {"return_logprob": True, "top_logprobs_num": body.get("logprobs") or 0}
    if "prompt_logprobs" in body:
        asked["logprob_start_len"] = 0
    rest = {n: v for n, v in body.items() if n not in _PARAMS and n not in _NOT_THERE}
    return {**asked, **rest}


class Said:
    """What has come of an answer: its events repeat all of it, or tell what is new."""

    def __init__(self) -> None:
        self._text = ""
        self._size = 0
        self._sums = False

    def event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event as /completions would have it. Raises TypeError for what cannot be read."""
        meta = event["meta_info"]
        if not isinstance(meta, Mapping):
            raise TypeError(f"meta_info is {shown(meta)}")
        ids = list(event.get("output_ids") or ())
        size = count(meta.get("completion_tokens"))
        size = len(ids) if size is None else size
        # A first event that tells all and one that tells what is new are the same.
        begin = self._size if len(ids) == size else 0
        self._sums |= begin > 0
        why = meta.get("finish_reason") or {}
        choice = {
            "text": self._new(str(event.get("text") or "")),
            "token_ids": ids[begin:],
            "finish_reason": why.get("type") if isinstance(why, Mapping) else why,
            "matched_stop": why.get("matched") if isinstance(why, Mapping) else None,
        }
        if (given := meta.get("output_token_logprobs")) is not None:
            rows = list(given)[self._size if len(given) == size else 0 :]
            tops = list(meta.get("output_top_logprobs") or ())
            tops = tops[self._size if len(tops) == size else 0 :]
            choice["logprobs"] = {
                "tokens": [f"token_id:{row[1]}" for row in rows],
                "token_logprobs": [row[0] for row in rows],
                "top_logprobs": [
                    {f"token_id:{top[1]}": top[0] for top in row or ()} for row in tops
                ],
            }
        if (read := meta.get("input_token_logprobs")) is not None:
            choice["prompt_logprobs"] = [
                None if row[0] is None else {str(row[1]): {"logprob": row[0]}} for row in read
            ]
        self._size = max(self._size, size)
        cached = {"cached_tokens": meta.get("cached_tokens")}
        usage = {"prompt_tokens": meta.get("prompt_tokens"), "completion_tokens": size}
        return {"choices": [choice], "usage": {**usage, "prompt_tokens_details": cached}}

    def _new(self, text: str) -> str:
        """The text that is new in an event."""
        before = self._text
        if before and (self._sums or len(text) > len(before)) and text.startswith(before):
            self._text = text
            return text[len(before) :]
        if self._sums and before.startswith(text):
            return ""  # it holds back what may become a stop string
        self._text += text
        return text


def whole(found: Any) -> Any:
    """An answer in one piece as /completions would have it."""
    return Said().event(found) if isinstance(found, Mapping) and "meta_info" in found else found
