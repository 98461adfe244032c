"""What is started for a recipe, how often, and what the run is told of it."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest

from reasoning.errors import RecipeError
from reasoning.launching.engines import shared_out
from reasoning.launching.options import OnMachines, Options, described, read
from reasoning.launching.slurm import Slurm
from reasoning.launching.texts import readable, shell
from reasoning.runs.editing import read_yaml, with_sets
from tests.reasoning.launching.conftest import Launching


def test_each_model_is_an_engine_with_gpus_of_its_own(launching: Launching) -> None:
    generator, reward = launching(Options()).engines
    assert (generator.name, generator.gpus, generator.path) == ("generator", 2, "/v1")
    assert (reward.name, reward.gpus, reward.path) == ("verifier", 1, "")
    line = shlex.join(generator.command)
    assert line.startswith("vllm serve org/Model-7B --host 0.0.0.0 --port '{port}' --")
    assert line.endswith("--tensor-parallel-size 2 --gpu-memory-utilization 0.9")


SEVERAL = """
task: jsonl
models:
  small: {name: vllm, model: org/Small-1B}
  large: {name: vllm, model: org/Large-70B, tensor_parallel_size: 4}
generator: small
strategies: [{searcher: model_switch, order: [small, large], k: 2}]
"""


def test_models_of_a_name_are_engines_too(launching: Launching) -> None:
    launch = launching(OnMachines(), SEVERAL)
    at = shared_out(launch.engines, OnMachines(), 10)
    assert [(e.name, n) for e, n in at] == [("models_small", 2), ("models_large", 2)]
    words = launch.driver(lambda e: f"file:/x/{e.name}.txt", source="r.yaml", out="o")
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    data: Any = with_sets(launch.recipe.model_dump(), sets)
    assert data["generator"] == "small"
    assert data["models"]["large"]["base_url"] == "file:/x/models_large.txt"
    assert data["models"]["large"]["model"] == "org/Large-70B"


@pytest.mark.parametrize(
    ("names", "words"), [(("a-1", "a_1"), "would both be called models_a_1"), (("a.1", "b"), "dot")]
)
def test_names_that_cannot_be_told_apart(
    launching: Launching, names: tuple[str, str], words: str
) -> None:
    text = SEVERAL.replace("small", names[0]).replace("large", names[1])
    with pytest.raises(RecipeError, match=words):
        launching(OnMachines(), text)


def test_one_address_of_several_is_enough(launching: Launching) -> None:
    text = """
    task: jsonl
    generator:
      name: openai
      model: m
      base_url: ["http://localhost:8000/v1", "http://localhost:8001/v1"]
    verifier:
      name: judge
      generator: {name: openai, model: m, base_url: "http://localhost:8000/v1"}
    searcher: best_of_n
    params: {n: 2}
    """
    launch = launching(Options(), text)
    assert [e.role for e in launch.engines] == ["generator, verifier.generator"]


@pytest.mark.parametrize(
    ("gpus", "said", "expected"),
    [
        (8, [], [3, 1]),
        (3, [], [1, 1]),
        (8, ["verifiers=4"], [2, 4]),
        (8, ["servers=1"], [1, 1]),
    ],
)
def test_a_machine_is_shared_out(
    launching: Launching, gpus: int, said: list[str], expected: list[int]
) -> None:
    options = read("x", OnMachines, said)
    at = shared_out(launching(options).engines, options, gpus)
    assert [count for _, count in at] == expected


@pytest.mark.parametrize(
    ("gpus", "said"), [(2, []), (8, ["servers=4"]), (8, ["verifiers=7"]), (0, [])]
)
def test_a_machine_that_is_too_small(launching: Launching, gpus: int, said: list[str]) -> None:
    options = read("x", OnMachines, said)
    with pytest.raises(RecipeError, match=rf"has {gpus} GPUs.*verifier 1.*say gpus="):
        shared_out(launching(options).engines, options, gpus)


def test_the_run_is_told_where_the_servers_are(launching: Launching) -> None:
    launch = launching(Options(), sets=["seed=1"], trust=True, more=["--limit", "3"])
    words = launch.driver(lambda e: f"file:/x/{e.name}.txt", source="r.yaml", out="o")
    assert words[:7] == ["reasoning", "run", "r.yaml", "--out", "o", "--set", "seed=1"]
    assert words[-3:] == ["--trust", "--limit", "3"]
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    data: Any = with_sets(launch.recipe.model_dump(), sets)
    assert data["seed"] == 1
    assert data["generator"]["base_url"] == "file:/x/generator.txt"
    assert data["generator"]["name"] == "openai"
    assert data["verifier"]["base_url"] == "file:/x/verifier.txt"
    assert data["verifier"]["name"] == "reward_model"


def test_a_server_of_another_kind(launching: Launching) -> None:
    options = read("x", Options, ["server=serve --at '0:{port}' {model} {role}"])
    generator, _ = launching(options).engines
    assert generator.command == ("serve", "--at", "0:{port}", "org/Model-7B", "generator")


@pytest.mark.parametrize(
    ("before", "model"), [("serve", "org/Model-7B"), ("my.module", "--model org/Model-7B")]
)
def test_vllm_may_be_started_by_something_else(
    launching: Launching, before: str, model: str
) -> None:
    options = read("x", Options, [f"server=run --nv box {before} {{arguments}} --more"])
    generator, _ = launching(options).engines
    line = shlex.join(generator.command)
    assert line.startswith(f"run --nv box {before} {model} --host 0.0.0.0 --port '{{port}}'")
    assert line.endswith("--gpu-memory-utilization 0.9 --more")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("nodes", r"--slurm takes key=value"),
        ("noodes=8", r"unknown option of --slurm 'noodes'; did you mean 'nodes'"),
        ("nodes=0", r"nodes='0' does not fit: .* greater than or equal to 1; nodes is machines"),
        ("nodes=two", r"nodes='two' does not fit: .* integer"),
        ("time=soon", r"time='soon' does not fit: .*; time is how long a start may take"),
        ("port=80", r"port='80' does not fit"),
        ("mem_per_cpu=lots", r"mem_per_cpu='lots' does not fit"),
    ],
)
def test_options_that_are_none(said: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        read("slurm", Slurm, [said])


def test_an_option_given_twice() -> None:
    with pytest.raises(RecipeError, match="nodes is given twice"):
        read("slurm", Slurm, ["nodes=1", "nodes=2"])


def test_every_option_has_a_meaning() -> None:
    assert all(meaning not in ("", "None") for _, meaning in described(Slurm))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("server=serve", r"say on which port.*\{port\}"),
        ("server={arguments}", "say on which port"),
        ("server=serve '{port}", "mind its quotes"),
    ],
)
def test_a_server_that_cannot_be_told_its_port(launching: Launching, said: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        launching(read("x", Options, [said]))


def test_words_for_a_shell_are_the_words() -> None:
    words = ["{port}", "a b", "", "it's", 'x={"u": "{port}"}', "$HOME", "--at={port}", "{model}"]
    line = f"set -- 8 9; printf '%s\\n' {shell(words, port='$2')}"
    said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [w.replace("{port}", "9") for w in words]


def test_yaml_for_readers_is_yaml() -> None:
    twice = {"a": 1}
    data = {"one": twice, "two": twice, "text": "a\n  b: $x\n", "line": "a: b"}
    text = readable(data)
    assert read_yaml(text) == data
    assert "|" in text
    assert "&" not in text
