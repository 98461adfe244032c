"""The servers that a recipe needs: what is printed, and what is started."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from reasoning.backends.nano import WEIGHTS
from reasoning.cli.app import app
from reasoning.errors import RecipeError
from reasoning.launching.clients import changes
from reasoning.launching.program import flags
from reasoning.launching.servers import Server, servers
from reasoning.runs.editing import with_sets
from reasoning.runs.recipe import Recipe, parse

PRM = str(WEIGHTS.parent / "prm")
TAG = 472  # of <extra_0> in the embedded tokenizer


def recipe(generator: Any, verifier: Any = None) -> Recipe:
    return parse(
        {
            "task": "jsonl",
            "generator": generator,
            "verifier": verifier,
            "searcher": "self_consistency",
            "params": {"n": 2},
        }
    )


def test_what_runs_in_process_gets_servers_that_search_well() -> None:
    asked = recipe(
        {"name": "vllm", "model": "org/Model-7B", "max_model_len": 8192, "thinking_tokens": 100},
        {"name": "vllm_prm", "model": PRM, "dtype": "float32"},
    )
    generator, reward = servers(asked)
    assert (generator.role, generator.url) == ("generator", "http://127.0.0.1:8000")
    assert generator.options == {
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",
        "generation_config": "vllm",
        "enable_prompt_tokens_details": True,
        "max_model_len": 8192,
    }
    assert (reward.role, reward.url) == ("verifier", "http://127.0.0.1:8001")
    assert reward.options == {
        "runner": "pooling",
        "pooler_config": {"step_tag_id": TAG},
        "dtype": "float32",
    }


def test_the_line_is_the_shells() -> None:
    server = Server(
        "verifier", PRM, "127.0.0.1", 8001, {"pooler_config": {"step_tag_id": 3}}, (1, 2), 0.45
    )
    line = server.line(["vllm", "serve"])
    assert line.startswith("CUDA_VISIBLE_DEVICES=1,2 vllm serve ")
    words = shlex.split(line)
    assert words[3:8] == [PRM, "--host", "127.0.0.1", "--port", "8001"]
    assert words[-4:] == [
        "--pooler-config", '{"step_tag_id": 3}', "--gpu-memory-utilization", "0.45",
    ]  # fmt: skip
    module = server.line(["python", "-m", "vllm.entrypoints.openai.api_server"])
    assert f"api_server --model {PRM} --host" in module


def test_flags_are_vllms() -> None:
    options = {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_model_len": 10,
        "speculative_config": {"method": "ngram"},
        "lora_modules": ["a=b", "c=d"],
        "quantization": None,
    }
    assert flags(options) == [
        "--enforce-eager",
        "--no-enable-chunked-prefill",
        "--max-model-len", "10",
        "--speculative-config", '{"method": "ngram"}',
        "--lora-modules", "a=b", "c=d",
    ]  # fmt: skip


def test_every_local_url_is_a_replica() -> None:
    urls = ["http://localhost:9001/v1", "http://127.0.0.1:9002/v1", "https://api.example.com/v1"]
    asked = recipe(
        {"name": "openai", "model": "m", "base_url": urls},
        {"name": "reward_model", "model": "r", "base_url": "http://localhost:8000"},
    )
    found = servers(asked, more={"max_model_len": 512})
    assert [(s.model, s.port) for s in found] == [("m", 9001), ("m", 9002), ("r", 8000)]
    assert found[0].options["max_model_len"] == 512
    assert "max_model_len" not in found[2].options
    assert changes(asked, found) == []  # it says where they are already


def judged(judge: dict[str, Any], **generator: Any) -> Recipe:
    """A recipe whose generator is judged by another."""
    asked = {"name": "openai", "model": "m", "base_url": "http://localhost:8000/v1"}
    return recipe(asked | generator, {"name": "judge", "generator": asked | judge})


def test_parts_at_one_place_share_a_server() -> None:
    (server,) = servers(judged({"base_url": "http://127.0.0.1:8000/v1"}))
    assert server.role == "generator, verifier.generator"
    assert (server.url, server.share) == ("http://127.0.0.1:8000", 0.9)
    assert changes(judged({}), [server]) == []


def test_one_place_serves_one_model() -> None:
    with pytest.raises(RecipeError, match=r"verifier\.generator .*8000.*m and r.*port"):
        servers(judged({"model": "r"}))
    scored = recipe(
        {"name": "openai", "model": "m", "base_url": "http://localhost:8000/v1"},
        {"name": "reward_model", "model": "m", "base_url": "http://localhost:8000"},
    )
    with pytest.raises(RecipeError, match="want other options there; give one of them another"):
        servers(scored)


def test_engine_options_are_the_generators() -> None:
    more = {"max_model_len": 64}
    asked = judged({"base_url": "http://localhost:8001/v1"})
    assert ["max_model_len" in s.options for s in servers(asked, more=more)] == [True, False]
    (shared,) = servers(judged({}), more=more)
    (inside,) = servers(
        recipe({"name": "journal", "generator": {"name": "vllm", "model": "m"}}), more=more
    )
    assert shared.options["max_model_len"] == inside.options["max_model_len"] == 64


@pytest.mark.parametrize(
    ("host", "listens", "url"),
    [
        ("0.0.0.0", "127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "127.0.0.1", "http://127.0.0.1:8000"),
        ("[::1]", "::1", "http://[::1]:8000"),
    ],
)
def test_servers_listen_to_this_machine_only(host: str, listens: str, url: str) -> None:
    base_url = f"http://{host}:8000/v1"
    (server,) = servers(recipe({"name": "openai", "model": "m", "base_url": base_url}))
    words = server.arguments(["vllm", "serve"])
    assert words[3:7] == ["--host", listens, "--port", "8000"]
    assert server.url == url


def test_ports_that_the_recipe_names_are_left_free() -> None:
    asked = recipe(
        {"name": "vllm", "model": "m"},
        {"name": "reward_model", "model": "r", "base_url": "http://localhost:8000"},
    )
    assert [s.port for s in servers(asked)] == [8001, 8000]


def test_the_changes_make_the_recipe_use_the_servers() -> None:
    asked = recipe(
        {
            "name": "vllm",
            "model": "m",
            "dtype": "float32",
            "thinking_tokens": 64,
            "chat_template_kwargs": {"enable_thinking": False},
        },
        {"name": "vllm_prm", "model": PRM, "step_break": "\n", "dtype": "float32"},
    )
    sets = changes(asked, servers(asked))
    data = with_sets(asked.model_dump(), [word for word in sets if word != "--set"])
    assert data["generator"] == {
        "name": "openai",
        "model": "m",
        "base_url": "http://127.0.0.1:8000/v1",
        "priority": True,
        "thinking_tokens": 64,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert data["verifier"] == {
        "name": "vllm_prm",
        "model": PRM,
        "step_break": "\n",
        "base_url": "http://127.0.0.1:8001",
    }


def test_an_adapter_is_served_by_its_name() -> None:
    asked = recipe({"name": "vllm", "model": "m", "lora": "/adapters/a"})
    (server,) = servers(asked)
    assert server.options["lora_modules"] == ["adapter=/adapters/a"]
    assert '"model": "adapter"' in changes(asked, [server])[1]


def test_plugins_within_plugins_are_found() -> None:
    inner = {"name": "vllm", "model": "m"}
    asked = recipe(
        {"name": "journal", "generator": inner},
        {"name": "other", "verifiers": [{"name": "reward_model", "model": "r"}]},
    )
    found = servers(asked)
    assert [s.role for s in found] == ["generator.generator", "verifier.verifiers.0"]
    data = with_sets(asked.model_dump(), [w for w in changes(asked, found) if w != "--set"])
    assert data["generator"]["generator"]["name"] == "openai"
    assert data["verifier"]["verifiers"][0]["base_url"] == "http://127.0.0.1:8001"


@pytest.mark.parametrize(
    ("sizes", "gpus", "expected"),
    [
        ((7e9, 7e9), 1, [((), 0.45), ((), 0.45)]),
        ((7e9, 1e9), 1, [((), 0.75), ((), 0.15)]),  # a small one gets a fifth of the large one's
        ((7e9, 7e9), 2, [((0,), 0.9), ((1,), 0.9)]),
        ((7e9, 7e9), 3, [((0,), 0.9), ((1,), 0.9)]),
        ((None, 7e9), 1, [((), 0.45), ((), 0.45)]),  # of a size that nobody knows
    ],
)
def test_servers_share_the_gpus(sizes: Any, gpus: int, expected: Any) -> None:
    generator, reward = ({"model": "m", **({"parameters": size} if size else {})} for size in sizes)
    asked = recipe({"name": "vllm", **generator}, {"name": "reward_model", **reward})
    found = [(s.gpus, round(s.share or 0, 2)) for s in servers(asked, gpus=gpus)]
    assert found == expected


def test_parallel_servers_take_several_gpus() -> None:
    asked = recipe(
        {"name": "vllm", "model": "a-70B", "tensor_parallel_size": 4},
        {"name": "reward_model", "model": "b-7B"},
    )
    assert [s.gpus for s in servers(asked, gpus=5)] == [(0, 1, 2, 3), (4,)]
    shared = servers(asked, gpus=4)
    assert [s.gpus for s in shared] == [(0, 1, 2, 3), (0,)]
    assert [round(s.share or 0, 2) for s in shared] == [0.75, 0.15]
    with pytest.raises(RecipeError, match=r"needs 4 GPUs .* --gpus"):
        servers(asked, gpus=2)


def test_memory_that_the_recipe_gives_stays() -> None:
    asked = recipe({"name": "vllm", "model": "m", "gpu_memory_utilization": 0.3})
    (server,) = servers(asked)
    assert server.line(["vllm", "serve"]).endswith("--gpu-memory-utilization 0.3")


def test_on_the_cpu_seeds_do_not_kill_the_engine() -> None:
    asked = recipe({"name": "vllm", "model": "m"}, {"name": "reward_model", "model": "r"})
    generator, reward = servers(asked, cpu=True)
    assert generator.options["enable_chunked_prefill"] is False
    assert generator.options["block_size"] == reward.options["block_size"] == 32
    assert (generator.share, generator.gpus) == (None, ())


@pytest.mark.parametrize(
    ("generator", "verifier", "options", "words"),
    [
        ("nano", None, {}, "nothing in this recipe is served"),
        ({"name": "openai", "base_url": "https://api.example.com/v1"}, None, {}, "nothing"),
        ({"name": "openai", "base_url": "http://localhost:1/v1"}, None, {}, "names no model"),
        ({"name": "vllm", "model": "m"}, None, {"gpus": 0}, "gpus is 0"),
        ("nano", {"name": "vllm_prm", "model": PRM, "family": "qwem"}, {}, "qwem"),
    ],
)
def test_mistakes(generator: Any, verifier: Any, options: dict[str, int], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        servers(recipe(generator, verifier), **options)


def test_the_command_prints_what_a_shell_can_run(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    data = {
        "task": "jsonl",
        "generator": {"name": "vllm", "model": "m"},
        "strategies": [{"searcher": "self_consistency", "n": 2}],
    }
    file.write_text(yaml.safe_dump(data))
    said = CliRunner().invoke(
        app, ["launch", str(file), "--gpu", "--engine", "max_model_len=64"], catch_exceptions=False
    )
    comment, command, then = said.stdout.splitlines()
    assert comment == "# generator: http://127.0.0.1:8000"
    assert shlex.split(command)[-4:] == [
        "--max-model-len", "64", "--gpu-memory-utilization", "0.9",
    ]  # fmt: skip
    words = shlex.split(then)
    assert words[:5] == ["#", "then:", "reasoning", "run", str(file)]
    assert json.loads(words[-1].removeprefix("generator="))["name"] == "openai"
