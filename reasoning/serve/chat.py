"""/v1/chat/completions in one piece."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from reasoning.serve.asking import Asked
from reasoning.serve.wording import Said, message, summary, usage


def whole(asked: Asked, found: Sequence[Said], name: str) -> dict[str, Any]:
    """The answer of `name`, with all its choices."""
    return {
        "id": name,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.offer.name,
        "choices": [
            {
                "index": i,
                "message": message(said),
                "finish_reason": said.ended,
                "logprobs": None,
                "search": summary(asked, said.result),
            }
            for i, said in enumerate(found)
        ],
        "usage": usage([said.result for said in found], sum(said.tokens for said in found)),
    }
