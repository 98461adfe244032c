"""The servers that the other tests here talk to."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any


def post(url: str, **body: Any) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def test_the_generator_serves_token_ids(serve: Callable[..., Any]) -> None:
    """As a command by itself, which the others stand for."""
    reply = post(
        f"{serve(afresh=True).url}/v1/completions",
        model="nano",
        prompt=[470, 400, 471],
        max_tokens=4,
        temperature=0.0,
        ignore_eos=True,
        return_token_ids=True,
    )
    assert len(reply["choices"][0]["token_ids"]) == 4


def test_the_reward_model_judges_at_its_step_tag(vllm_prm_server: str) -> None:
    ids = [470, 100, 101, 472, 102, 103, 472]
    rows = post(f"{vllm_prm_server}/pooling", model="nano", input=ids)["data"][0]["data"]
    assert len(rows) == 2
    assert all(0 < p < 1 for row in rows for p in row)
