"""What a recipe asks for: all that can do harm is listed, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning.http.keys import loopback
from reasoning.runs.consent import needs, typed
from reasoning.runs.editing import changes
from reasoning.runs.recipe import load, parse

KEYS = {"OPENAI_API_KEY": "k1", "MINE": "k2"}
EVIL = "https://evil.example/v1"
HARMLESS: dict[str, Any] = {
    "name": "a: b",
    "description": "import os:system",
    "task": {"name": "nano", "n": 2},
    "generator": {"name": "openai", "base_url": "http://localhost:8000/v1", "model": "qwen:7b"},
    "verifier": {"name": "judge", "generator": "nano", "template": "Question: {question}"},
    "strategies": [{"searcher": "sample", "name": "one: sample"}],
}


def asked(**recipe: Any) -> list[str]:
    return [need.what for need in needs(parse({**HARMLESS, **recipe}), KEYS)]


def test_nothing_is_asked_for_what_does_no_harm() -> None:
    assert asked() == []
    for name in ("quickstart", "math500", "recorded_math500"):
        assert needs(load(name), {}) == []


def test_programs_of_prompts_are_texts_but_for_who_votes() -> None:
    steps: list[Any] = [
        {"call": "one: two", "as": "answers"},
        {"let": {"generator": "a:b", "check": ["c:d"], "by": "e:f"}},
        {"for_each": "answers", "most": 2, "do": [{"vote": "answers", "as": "x", "by": "m:f"}]},
        {"vote": "answers", "as": "x", "by": {"name": "n:g", "k": 2}},
        {"vote": "answers", "as": "x", "by": "majority"},
    ]
    strategies = [{"searcher": "program", "steps": steps}]
    assert asked(strategies=strategies) == ["import and call m:f", "import and call n:g"]


@pytest.mark.parametrize(
    "recipe",
    [
        {"task": "m:f"},
        {"task": {"name": "m:f", "limit": 3}},
        {"generator": "m:f"},
        {"generator": {"name": "journal", "generator": {"name": "m:f"}}},
        {"generator": {"name": "journal", "generator": "m:f"}},
        {"verifier": {"name": "ensemble", "members": ["logprob", "m:f"]}},
        {"verifier": {"name": "ensemble", "members": ["logprob", {"name": "m:f"}]}},
        {"verifier": {"name": "judge", "generator": {"name": "m:f"}}},
        {"verifier": {"name": "python", "check": "m:f"}},
        {"strategies": [{"searcher": "m:f"}]},
        {"strategies": [{"searcher": "sample", "aggregator": "m:f"}]},
        {"strategies": [{"searcher": "sample", "aggregator": {"name": "m:f"}}]},
        {"strategies": [{"searcher": "mixed", "models": {"small": "m:f", "big": "nano"}}]},
        {"sweep": {"verifier": ["logprob", "m:f"]}},
        {"sweep": {"verifier.name": ["logprob", "m:f"]}},
    ],
)
def test_foreign_names_wherever_they_stand(recipe: dict[str, Any]) -> None:
    assert asked(**recipe) == ["import and call m:f"]
    (need,) = needs(parse({**HARMLESS, **recipe}), {})
    assert need.code == "m:f"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, [("OPENAI_API_KEY", EVIL)]),
        ({"api_key_env": "MINE"}, [("MINE", EVIL)]),
        ({"api_key_env": "NOT_SET"}, []),
        (
            {"base_url": ["http://127.0.0.1:1/v1", EVIL, "http://10.0.0.1/v1"]},
            [("OPENAI_API_KEY", EVIL), ("OPENAI_API_KEY", "http://10.0.0.1/v1")],
        ),
    ],
)
def test_keys_for_other_hosts(more: dict[str, Any], told: list[tuple[str, str]]) -> None:
    spec = {"name": "openai", "base_url": EVIL, **more}
    expected = [f"send what the environment variable {v} holds to {url}" for v, url in told]
    assert asked(generator=spec) == expected
    assert asked(verifier={"name": "judge", "generator": spec}) == expected
    swept = {"generator": ["nano", spec]}
    assert asked(generator="nano", sweep=swept) == expected


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2", True),
        ("http://[::1]:8000", True),
        ("http://localhost.evil.example", False),
        ("http://localhost@evil.example", False),
        ("http://192.168.0.1:8000", False),
        ("http://[::1", False),
        ("localhost", False),
    ],
)
def test_what_is_this_machine(url: str, here: bool) -> None:
    assert loopback(url) is here


@pytest.mark.parametrize(
    ("option", "asks"),
    [
        ({"trust_remote_code": True}, True),
        ({"trust_remote_code": False}, False),
        ({"worker_cls": "evil.Worker"}, True),
        ({"kv_transfer_config": {"kv_connector_module_path": "evil"}}, True),
        ({"max_model_len": 4096, "dtype": "auto"}, False),
    ],
)
def test_engines_that_would_load_code(option: dict[str, Any], asks: bool) -> None:
    found = asked(generator={"name": "vllm", "model": "m", **option})
    assert [what.startswith("let an engine load code: ") for what in found] == [True] * asks


def test_files_that_a_recipe_would_write() -> None:
    spec = {"name": "journal", "path": "/home/me/.bashrc", "generator": "nano"}
    assert asked(generator=spec) == ["write to the file /home/me/.bashrc"]


def test_what_was_typed_is_allowed() -> None:
    sets = ["verifier=m:f", "generator.base_url=['http://a', http://b]", "generator.lora_cls=x"]
    words = typed(changes(sets))
    assert {"m:f", "http://a", "http://b", "generator", "lora_cls"} <= words
    assert "k" not in words
