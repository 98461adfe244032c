"""What the generator for servers refuses before it asks them anything."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from reasoning.backends.openai import openai
from reasoning.errors import RecipeError
from reasoning.http.replica import checked_url
from reasoning.launching import servers as launch
from reasoning.runs.recipe import Recipe, parse

MALFORMED = [
    "http://host:999999/v1",
    "http://host:abc/v1",
    "http://host:0/v1",
    "http://[::1/v1",
    "http://é..x/v1",
    "http://a b/v1",
    "http://host/v1\r\nx: y",
    "http:///v1",
    "ftp://host/v1",
    "host:8000",
    "",
]


def served(**options: Any) -> Recipe:
    generator = {"name": "openai", "model": "toy", "base_url": "http://localhost:8000/v1"}
    return parse(
        {
            "task": "jsonl",
            "generator": generator | options,
            "searcher": "self_consistency",
            "params": {"n": 2},
        }
    )


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_address_is_one_error_of_the_recipe(url: str) -> None:
    with pytest.raises(RecipeError, match=r"^openai: base_url is .*write http://HOST:PORT/v1$"):
        openai(base_url=url)
    if url:
        with pytest.raises(RecipeError, match=r"^openai: base_url is"):
            launch.servers(served(base_url=url))


@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@h/v1", "http://hunter2@[::1", "http://h/v1?k=hunter2", "http://:@h/v1"],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(
        RecipeError, match=r"^judge: base_url holds a password or a query"
    ) as caught:
        checked_url(url, "judge")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://h", "https://[::1]:8000/v1", "http://bücher.example/v1"])
def test_a_sound_address_is_kept_but_for_its_last_slash(url: str) -> None:
    assert checked_url(url, "openai") == checked_url(url + "/", "openai") == url


@pytest.mark.parametrize("size", [-1, 0, "abc", 1.5, True])
def test_a_parallel_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(RecipeError, match=r"generator: tensor_parallel_size is .* above 0"):
        launch.servers(served(tensor_parallel_size=size))


@pytest.mark.parametrize(
    ("field", "cure"),
    [
        ("max_tokens", "set sampling.max_tokens"),
        ("max_completion_tokens", "set sampling.max_tokens"),
        ("n_predict", "set sampling.max_tokens"),
        ("temperature", "set sampling.temperature"),
        ("top_p", "set sampling.top_p"),
        ("top_k", "set sampling.top_k"),
        ("min_p", "set sampling.min_p"),
        ("repeat_penalty", "set sampling.repetition_penalty"),
        ("guided_regex", "set sampling.regex"),
        ("stop", "set sampling.stop"),
        ("logprobs", "set sampling.top_logprobs"),
        ("top_logprobs", "set sampling.top_logprobs"),
        ("n", "in the strategy's params"),
        ("best_of", "in the strategy's params"),
        ("prompt", "come from the task"),
        ("messages", "come from the task"),
        ("seed", "set the recipe's seed"),
        ("model", "set generator.model"),
        ("priority", "set generator.priority"),
        ("stream", "leave it out"),
        ("stream_options", "leave it out"),
        ("prompt_logprobs", "leave it out"),
        ("echo", "leave it out"),
        ("return_token_ids", "leave it out"),
    ],
)
def test_extra_fields_do_not_replace_what_the_search_counts_on(field: str, cure: str) -> None:
    with pytest.raises(RecipeError, match=rf"^openai: extra\.{field} would .*{cure}"):
        openai(base_url="http://h/v1", extra={"ignore_eos": True, field: 7})


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 2), float("nan"), {1, 2}, [b"x"]])
def test_extra_fields_that_json_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(RecipeError, match=r"^openai: extra\.since cannot be sent as JSON"):
        openai(base_url="http://h/v1", extra={"since": value})
    with pytest.raises(RecipeError, match=r"extra\.chat_template_kwargs cannot be sent as JSON"):
        openai(base_url="http://h/v1", chat_template_kwargs={"since": value})


@pytest.mark.parametrize("end", ["/chat/completions", "/completions", "/models/"])
def test_a_url_of_an_endpoint_is_told_what_is_too_much(end: str) -> None:
    with pytest.raises(RecipeError, match=r"is added here; write http://localhost:8000/v1$"):
        checked_url(f"http://localhost:8000/v1{end}", "openai")
