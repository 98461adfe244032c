"""Recipes: what they accept, and what they say when they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning.errors import RecipeError
from reasoning.runs import names
from reasoning.runs.editing import changes
from reasoning.runs.recipe import load, located, parse, shipped, strategies

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
GOOD: dict[str, Any] = {
    "task": "jsonl",
    "generator": "scripted",
    "strategies": [{"searcher": "self_consistency", "n": 4}],
}


def test_a_list_gives_one_strategy_each() -> None:
    recipe = parse({**GOOD, "strategies": [{"searcher": "short_m_at_k", "k": [4, 8], "m": [1, 2]}]})
    assert [(s.params["k"], s.params["m"]) for s in strategies(recipe)] == [
        (4, 1), (4, 2), (8, 1), (8, 2),
    ]  # fmt: skip
    assert len({s.name for s in strategies(recipe)}) == 4


def test_a_list_of_aggregators_gives_one_strategy_each() -> None:
    several = ["majority", {"name": "complexity", "m": [2, 3]}]
    entry = {"searcher": "self_consistency", "n": [4, 8], "aggregator": several}
    found = strategies(parse({**GOOD, "strategies": [entry]}))
    assert sorted((s.params["n"], s.aggregator) for s in found) == [
        (4, "complexity"), (4, "complexity"), (4, "majority"),
        (8, "complexity"), (8, "complexity"), (8, "majority"),
    ]  # fmt: skip
    assert len({s.name for s in found}) == 6
    named = strategies(parse({**GOOD, "strategies": [{**entry, "name": "mine"}]}))
    assert len({s.name for s in named}) == 6
    assert all(s.name.startswith("mine") for s in named)


def test_parameters_may_stand_below_params() -> None:
    flat = parse(GOOD)
    nested = parse({**GOOD, "strategies": [{"searcher": "self_consistency", "params": {"n": 4}}]})
    assert strategies(flat)[0].params == strategies(nested)[0].params == {"n": 4, "hedge": False}


def test_one_searcher_is_short_for_a_list_of_one() -> None:
    data = {k: v for k, v in GOOD.items() if k != "strategies"}
    recipe = parse({**data, "searcher": "self_consistency", "params": {"n": 4}})
    assert [s.searcher for s in strategies(recipe)] == ["self_consistency"]


def test_the_searcher_names_its_aggregator() -> None:
    entry = {"searcher": "best_of_n", "n": 2}
    recipe = parse({**GOOD, "verifier": "logprob", "strategies": [entry]})
    assert strategies(recipe)[0].aggregator == "best"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tsak": "jsonl"}, ["tsak", "task"]),
        ({"task": None}, ["task"]),
        ({"strategies": []}, ["strategies"]),
        ({"strategies": [{"searcher": "self_consistancy", "n": 4}]}, ["self_consistency"]),
        ({"strategies": [{"searcher": "self_consistency", "m": 4}]}, ["'m'", "n"]),
        ({"strategies": [{"searcher": "self_consistency"}]}, ["needs n"]),
        ({"strategies": [{"searcher": "self_consistency", "n": 0}]}, ["n=0", "greater"]),
        ({"strategies": [{"searcher": "self_consistency", "n": "many"}]}, ["many"]),
        ({"strategies": [{"searcher": "self_consistency", "n": []}]}, ["empty list"]),
        ({"strategies": [{"searcher": "best_of_n", "n": 4}]}, ["no verifier", "verifier:"]),
        ({"strategies": [{"n": 4}]}, ["searcher"]),
        ({"strategies": "self_consistency"}, ["strategies"]),
        ({"strategies": [GOOD["strategies"][0], GOOD["strategies"][0]]}, ["two strategies"]),
        ({"sampling": {"temprature": 1}}, ["temprature", "temperature"]),
        ({"sampling": {"temperature": -1}}, ["temperature=-1"]),
        ({"sampling": {"max_tokens": 0}}, ["max_tokens=0"]),
        ({"sampling": {"temperature": float("inf")}}, ["temperature=inf"]),
        ({"sampling": {"stop": [""]}}, ["stop"]),
        ({"name": ""}, ["folder"]),
        ({"name": "../elsewhere"}, ["../elsewhere", "folder"]),
        ({"limits": {"tokens": -5}}, ["tokens=-5"]),
        ({"concurrency": 0}, ["concurrency=0"]),
        ({"seed": "x"}, ["seed='x'"]),
        ({"seed": True}, ["seed=True", "no number"]),
        ({"concurrency": True}, ["concurrency=True", "no number"]),
        (
            {"strategies": [{"searcher": "sample", "name": " "}]},
            ["name=' ' does not fit: it names nothing; leave it out"],
        ),
        (
            {"strategies": [{"searcher": "self_consistency", "n": 4, "aggregator": "median"}]},
            ["median", "majority"],
        ),
        ({"searcher": "sample"}, ["either searcher or strategies"]),
        ({"strategies": [{"searcher": "no.such.module:f", "n": 4}]}, ["no.such.module"]),
    ],
)
def test_mistakes_name_the_value_and_the_cure(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        strategies(parse({**GOOD, **change}))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "mapping"),
        ("- a\n- b\n", "mapping"),
        ("a: [1", "YAML"),
        ("task: nano\ntask: gsm8k\n", "twice"),
        ("task: !!python/object/apply:os.system ['true']\n", "YAML"),
        ("\x00", "YAML"),
        ("seed: !!int x\n", "YAML: a value does not fit its tag"),
        (f"seed: {'9' * 5000}\n", "YAML: a value does not fit its tag"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=word):
        load(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="quickstart"):
        load("quikstart")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(RecipeError, match="cannot be read"):
        load(tmp_path / "folder.yaml")


def test_set_changes_any_field() -> None:
    recipe = load(
        RECIPES / "quickstart.yaml",
        ["task.n=5", "seed=3", "strategies.1.n=[2, 3]", "generator.max_batch=8", "limits.tokens=9"],
    )
    assert recipe.task == {"name": "nano", "n": 5}
    assert recipe.generator == {"name": "nano", "max_batch": 8}
    assert (recipe.seed, recipe.limits) == (3, {"tokens": 9})
    assert recipe.strategies[1].model_extra == {"n": [2, 3]}


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ("seed", "key=value"),
        ("=3", "key=value"),
        ("strategies.99.n=3", "positions"),
        ("seed.x=3", "no keys below"),
        ("seed=[1", "YAML"),
        ("seed=!!int x", "YAML: a value does not fit its tag"),
    ],
)
def test_set_mistakes(item: str, word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        load(RECIPES / "quickstart.yaml", [item])


def test_a_sweep_fills_in_the_recipe() -> None:
    found = strategies(parse({**GOOD, "sweep": {"generator.delay": [1, 2], "seed": [3]}}))
    assert [s.recipe.generator for s in found] == [
        {"name": "scripted", "delay": 1},
        {"name": "scripted", "delay": 2},
    ]
    assert [s.recipe.seed for s in found] == [3, 3]
    assert [s.name for s in found] == [
        "self_consistency-n=4-delay=1-seed=3",
        "self_consistency-n=4-delay=2-seed=3",
    ]


@pytest.mark.parametrize(
    ("sweep", "word"),
    [
        ({"task.n": [1, 2]}, "sweep cannot change task.n"),
        ({"seed": []}, "empty list"),
        ({"sampling.temprature": [1]}, "temperature"),
        ({"sede": [1]}, "seed"),
    ],
)
def test_sweep_mistakes(sweep: dict[str, Any], word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        strategies(parse({**GOOD, "sweep": sweep}))


def test_yes_and_no_are_words(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "task: nano\ngenerator: nano\nsearcher: sample\nshare_samples: off\n"
        "verifier: {name: judge, generator: nano, both: true, yes: Right, no: Wrong}\n"
    )
    found = load(file)
    assert found.verifier == {
        "name": "judge", "generator": "nano", "both": True, "yes": "Right", "no": "Wrong"
    }  # fmt: skip
    assert found.share_samples is False


def bomb(levels: int, wide: int, *, merge: bool = False) -> str:
    """Anchors whose values double and double again; `merge` by `<<`."""
    lines = ["task: nano", "generator: scripted", "strategies: [{searcher: sample}]", "step:"]
    lines.append("  a0: &a0 {k: 1}" if merge else "  a0: &a0 [x]")
    for level in range(1, levels):
        before = ", ".join([f"*a{level - 1}"] * wide)
        value = f"{{<<: [{before}], k{level}: 1}}" if merge else f"[{before}]"
        lines.append(f"  a{level}: &a{level} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [bomb(40, 10), bomb(40, 10, merge=True), "a: &a [*a]", "task: {x: &x {y: *x}}"],
    ids=["lists", "merged", "itself", "within"],
)
def test_anchors_that_blow_up_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match="more than 100,000 values with its anchors written out"):
        load(file)
    with pytest.raises(RecipeError, match="more than 100,000 values"):
        changes([f"step={text}" if "\n" in text else "a=&a [*a]"])


def test_anchors_that_do_not_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(
        "x: &x {name: nano, n: 3}\n".replace("x: &x", "task: &x")
        + "generator: scripted\nstrategies: [{searcher: sample}]\nsweep: {limits: [{}, {}]}\n"
    )
    assert load(file).task == {"name": "nano", "n": 3}


@pytest.mark.parametrize(
    "more",
    [
        {"sweep": {f"limits.{k}": list(range(1, 101)) for k in ("tokens", "seconds", "seed")}},
        {"strategies": [{"searcher": "short_m_at_k", "k": [*range(1, 200)], "m": [*range(200)]}]},
    ],
)
def test_lists_that_multiply_are_refused(more: dict[str, Any]) -> None:
    data = {"task": "nano", "generator": "nano", "strategies": [{"searcher": "sample"}], **more}
    with pytest.raises(RecipeError, match=r"multiply to [0-9,]+ strategies; 10,000 is the most"):
        strategies(parse(data))


def test_a_list_that_a_parameter_takes_is_one_value_whatever_its_annotation_is_called() -> None:
    entries = [
        {"searcher": "pdr", "drafts": [4, 2, 1]},
        {"searcher": "pacore", "widths": [4, 1]},
        {"searcher": "rlot", "policy": []},
        {"searcher": "truncated_answer", "tokens": [1, 2]},
    ]
    found = [s.params for s in strategies(parse({**GOOD, "strategies": entries}))]
    assert [found[0]["drafts"], found[1]["widths"], found[2]["policy"]] == [[4, 2, 1], [4, 1], []]
    assert [p["tokens"] for p in found[3:]] == [1, 2]


def test_lists_that_are_one_value_do_not_multiply() -> None:
    texts = [f"Passage {i}." for i in range(300)]
    drag = {"searcher": "program", "program": "drag", "corpus": texts, "demonstrations": texts}
    steps = [{"call": "{question}", "emit": True}] * 200
    own = {"searcher": "program", "steps": steps, "retries": [0, 1]}
    several = ["majority", {"name": "complexity", "m": [2, 3]}]
    prompts = [f"{text} {{question}}" for text in texts]
    vote = {"searcher": "variants", "prompts": prompts, "n": [4, 8], "aggregator": several}
    found = strategies(parse({**GOOD, "strategies": [drag, own, vote]}))
    assert len(found) == 1 + 2 + 2 * (1 + 2)
    with pytest.raises(RecipeError, match="multiply to 18,018 strategies"):
        strategies(parse({**GOOD, "strategies": [{**vote, "n": [*range(1, 6007)]}]}))


def test_a_folder_of_a_recipe_s_name_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quickstart").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("quickstart").name == "quickstart"
    assert shipped(located("quickstart"))
    (tmp_path / "quickstart").rmdir()
    (tmp_path / "quickstart").write_text("{}")
    assert not shipped(located("quickstart"))
    with pytest.raises(RecipeError, match="unknown recipe"):
        located("../recipes/../pyproject")


def test_stages_are_chained() -> None:
    entry = {
        "stages": [{"self_consistency": {"n": [2, 4], "share": 0.5}}, "long_m_at_k", "majority"]
    }
    found = strategies(parse({**GOOD, "strategies": [entry]}))
    assert [s.name for s in found] == [
        f"self_consistency-n={n}-share=0.5 > long_m_at_k > majority" for n in (2, 4)
    ]
    assert [(s.searcher, s.aggregator) for s in found] == [
        ("self_consistency > long_m_at_k", "majority")
    ] * 2
    assert found[0].params == {"n": 2, "hedge": False, "share": 0.5, "m": 3}
    assert [stage.share for stage in found[0].run.stages] == [0.5, None, None]
    named = strategies(parse({**GOOD, "strategies": [{**entry, "name": "mine"}]}))
    assert [s.name for s in named] == ["mine-n=2", "mine-n=4"]
    data = {k: v for k, v in GOOD.items() if k != "strategies"}
    assert len(strategies(parse({**data, **entry}))) == 2
    mixed = {
        "searcher": "self_consistency",
        "n": 4,
        "aggregator": {"name": "cisc", "temperature": [1, 2]},
    }
    assert [s.name for s in strategies(parse({**GOOD, "strategies": [mixed]}))] == [
        "self_consistency-n=4-cisc-temperature=1",
        "self_consistency-n=4-cisc-temperature=2",
    ]


def test_further_models_verifiers_and_prices() -> None:
    recipe = parse(
        {
            **GOOD,
            "models": {"small": "scripted", "large": {"name": "scripted", "delay": 1}},
            "generator": "large",
            "verifiers": {"steps": "logprob"},
            "prices": {"default": {"input": 1, "output": 2}, "small": {"output": 1}},
            "limits": {"money": 0.5, "calls": 9},
            "run_limits": {"tokens": 1000},
        }
    )
    assert recipe.generators[""] == {"name": "scripted", "delay": 1}
    assert set(recipe.generators) == {"", "small", "large"}
    assert recipe.priced["small"].output == 1
    assert recipe.priced[""] == recipe.priced["large"]
    assert recipe.priced[""].output == 2
    assert not parse(GOOD).priced
    assert parse(GOOD).generators == {"": "scripted"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"strategies": [{"stages": []}]}, "the first stage is a searcher"),
        ({"strategies": [{"stages": ["sample"], "n": 3}]}, "'n' stands beside stages"),
        ({"strategies": [{"stages": ["sample"], "searcher": "sample"}]}, "a searcher or stages"),
        ({"strategies": [{"stages": ["sample", "frist"]}]}, "did you mean 'first'"),
        ({"strategies": [{"stages": [{"best_of_n": {"n": 2}}]}]}, "no verifier"),
        ({"stagse": ["sample"]}, "did you mean 'stages'"),
        ({"limits": {"calls": -1}}, "calls=-1"),
        ({"limits": {"money": 1}}, "what tokens cost"),
        ({"run_limits": {"money": 1}}, r"^run_limits\.money needs to know what tokens cost"),
        (
            {"limits": {"money": 1}, "models": {"b": "scripted"}, "prices": {"": {"output": 1}}},
            r"^limits\.money .* nobody says it of b;",
        ),
        ({"strategies": [{"searcher": "self_consistency", "n": 10**30}]}, "calls at once without"),
        ({"run_limits": {"tokns": 1}}, "tokens"),
        ({"prices": {"smal": {}}, "models": {"small": "scripted"}}, "did you mean 'small'"),
        ({"prices": {"default": {"input": -1}}}, "0 or more"),
        ({"models": {"": "scripted"}}, "a model cannot be called ''"),
        (
            {"strategies": [{"searcher": "variants", "prompts": ["What?"]}]},
            r"the prompt 'What\?' does not ask: it contains \{question\}",
        ),
        (
            {"strategies": [{"searcher": "rsa", "n": 3}]},
            "rsa: k=4 is more than n=3: .* 1 to n",
        ),
        (
            {"strategies": [{"searcher": "esc", "n": 4, "window": [2, 5]}]},
            "esc: window=5 is more than n=4: .*; set window from 2 to n",
        ),
        (
            {"strategies": [{"searcher": "cascade", "order": ["", ""], "thresholds": [-1, -2]}]},
            "cascade: 2 thresholds, and 2 models in order: each but the last has one",
        ),
        ({"models": {"default": "scripted"}}, "a model cannot be called 'default'"),
        ({"prices": {"default": {"inptu": 1}}}, "input"),
        ({"strategies": [{"stages": [{"sample": {1: 2}}]}]}, "unknown parameter of sample 1"),
        ({"strategies": [{"stages": [{"sample": {"params": "n"}}]}]}, "are a mapping, not 'n'"),
        ({"strategies": [{"searcher": "sample", "params": [1]}]}, r"are a mapping, not \[1\]"),
        (
            {"strategies": [{"searcher": "sample", "aggregator": {"name": True}}]},
            "aggregator True is neither a name nor a function",
        ),
        (
            {"strategies": [{"searcher": "model_switch", "order": ["", "smal"]}]},
            "model_switch: unknown model 'smal'",
        ),
        (
            {
                "models": {"small": "scripted"},
                "strategies": [{"searcher": "spec_reason", "small": "smal"}],
            },
            "did you mean 'small'",
        ),
    ],
)
def test_mistakes_of_stages_models_and_prices(change: dict[str, Any], word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        strategies(parse({**GOOD, **change}))


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("agregator", "did you mean 'aggregator'"),
        ("N", "did you mean 'n'"),
        ("temperature", r"which is of `sampling`.*sampling\.temperature: \[\.\.\.\]"),
        ("verifier", "stands beside `strategies`"),
    ],
)
def test_a_key_that_is_not_the_searchers_own_is_told_its_place(key: str, word: str) -> None:
    spec = {"searcher": "self_consistency", "n": 4, key: 1}
    with pytest.raises(RecipeError, match=word):
        strategies(parse({**GOOD, "strategies": [spec]}))


def test_the_sweep_that_a_misplaced_key_is_told_of_works() -> None:
    swept = {**GOOD, "sweep": {"sampling.temperature": [0.5, 1.0]}}
    one = [{"searcher": "self_consistency", "n": 4}]
    found = [s.name for s in strategies(parse({**swept, "strategies": one}))]
    assert found == ["self_consistency-n=4-temperature=0.5", "self_consistency-n=4-temperature=1.0"]


def test_a_strategy_that_is_only_a_name_is_shown_a_mapping() -> None:
    with pytest.raises(RecipeError, match=r"such as \{searcher: self_consistency, n: 8\}"):
        parse({**GOOD, "strategies": ["self_consistency"]})


def test_a_file_of_nearly_that_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("task: nano\n")
    for name in ("studdy.yaml", "study.yml"):
        with pytest.raises(RecipeError, match=r"did you mean .*study\.yaml\?"):
            load(tmp_path / name)


def test_a_prompt_in_braces_is_told_to_be_quoted() -> None:
    prompt = {"question": None}  # what YAML reads where nobody has quoted it
    task = {"name": "jsonl", "path": "x.jsonl", "prompt": prompt}
    with pytest.raises(RecipeError, match=r"quote them: '\{question\}'"):
        names.build("task", task)
