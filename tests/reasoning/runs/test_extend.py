"""A run that is asked for more pays for what is new, and comes to what a new run would."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reasoning.backends.scripted import Scripted
from reasoning.cli.app import app
from reasoning.errors import EngineError, RecipeError, StoreError
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree
from reasoning.verify import Scores, Verifier

SC4 = [{"searcher": "self_consistency", "n": 4}]
SC8 = [{"searcher": "self_consistency", "n": 8}]
SC4_SC8 = [{"searcher": "self_consistency", "n": [4, 8]}]


class Lengths(Verifier):
    """Scores that cost three tokens each, and are counted."""

    name = "lengths"
    asked = 0

    async def score(self, problem: Any, node: Any, *, meter: Any) -> Scores:
        Lengths.asked += 1
        meter(3)
        return (1 / (1 + len(node.text) % 7),)


def slots(prompt: Any, seed: int) -> str:
    """Another text for every slot, with a few answers."""
    return f"{prompt.path} {seed % 97} \\boxed{{{seed % 3}}}"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every call that is really made."""
    made: list[str] = []

    class Counting(Scripted):
        async def generate(self, prompt: Any, params: Any, **kwargs: Any) -> Any:
            made.append(f"{prompt.problem.id}/{prompt.path}")
            return await super().generate(prompt, params, **kwargs)

    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Counting(slots))
    monkeypatch.setattr("verifiers.logprob.logprob", Lengths)
    Lengths.asked = 0
    return made


def recipe(tmp_path: Path, strategies: Any, *, problems: int = 3, **change: Any) -> Any:
    file = tmp_path / f"{problems}.jsonl"
    rows = [{"id": f"q{i}", "question": "x" * i, "answer": str(i)} for i in range(1, problems + 1)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "name": "t",
        "task": {"name": "jsonl", "path": str(file)},
        "generator": "scripted",
        "strategies": strategies,
        **change,
    }
    return parse(data)


def go(recipe: Any, out: Path, **options: Any) -> dict[str, Any]:
    return asyncio.run(runner.run(recipe, out, **options))


def told(folder: Path) -> dict[tuple[str, str], Any]:
    """What a folder says, but for the times that were measured."""
    found = {}
    store = Store(folder)
    for result in store.results():
        key = result["strategy"], result["problem"]
        result["usage"].pop("seconds", None)
        tree = RolloutTree.load(store.tree_path(*key)).to_jsonl()
        found[key] = (result, tree)
    return found


BEST = [{"searcher": "best_of_n", "n": 4}]
WEIGHED = [{"searcher": "best_of_n", "n": 4, "aggregator": "weighted_majority"}]
BEST6 = [{"searcher": "best_of_n", "n": 6}]


@pytest.mark.parametrize(
    ("before", "after", "new_calls", "new_scores", "setting"),
    [
        (SC4, SC8, 4, 0, {}),
        (SC4, SC4_SC8, 4, 0, {}),
        (SC4_SC8, [*SC4_SC8, *BEST], 0, 4, {"verifier": "logprob"}),
        (SC8, SC4, 0, 0, {}),
        (BEST, WEIGHED, 0, 0, {"verifier": "logprob"}),
        (BEST, BEST6, 2, 2, {"verifier": "logprob"}),
        (SC4, [{"searcher": "first_finish", "n": 4}], 1, 0, {}),
    ],
    ids=["n", "n beside", "a searcher more", "less", "aggregator", "scores", "another searcher"],
)
def test_nothing_is_paid_for_twice_and_all_is_as_in_a_new_run(
    tmp_path: Path, calls: list[str], before: Any, after: Any, new_calls: int, new_scores: int,
    setting: dict[str, Any],
) -> None:  # fmt: skip
    go(recipe(tmp_path, before, **setting), tmp_path / "run")
    calls.clear()
    Lengths.asked = 0
    extended = go(recipe(tmp_path, after, **setting), tmp_path / "run", extend=True)
    assert len(calls) == 3 * new_calls
    assert Lengths.asked == 3 * new_scores
    new = go(recipe(tmp_path, after, **setting), tmp_path / "new")
    wanted = told(tmp_path / "new")
    assert told(tmp_path / "run") == wanted
    for summary in (extended, new):
        for strategy in summary["strategies"]:
            strategy.pop("seconds", None)
    assert extended["strategies"] == new["strategies"]


def test_a_run_grows_by_problems_again_and_again(tmp_path: Path, calls: list[str]) -> None:
    for problems, new in ((3, 12), (5, 8), (6, 4)):
        calls.clear()
        go(recipe(tmp_path, SC4, problems=problems), tmp_path / "run", extend=True)
        assert len(calls) == new
    calls.clear()
    go(recipe(tmp_path, SC8, problems=6), tmp_path / "run", extend=True)
    go(recipe(tmp_path, SC4_SC8, problems=6), tmp_path / "run", extend=True)
    assert len(calls) == 24
    go(recipe(tmp_path, SC4_SC8, problems=6), tmp_path / "new")
    assert told(tmp_path / "run") == told(tmp_path / "new")
    assert len(list((tmp_path / "run" / "earlier").iterdir())) == 4


def test_what_was_there_before_is_a_run_s_folder(tmp_path: Path, calls: list[str]) -> None:
    go(recipe(tmp_path, BEST, verifier="logprob"), tmp_path / "run")
    before, summary = told(tmp_path / "run"), Store(tmp_path / "run").read_json("summary.json")
    go(recipe(tmp_path, WEIGHED, verifier="logprob"), tmp_path / "run", extend=True)
    assert told(tmp_path / "run" / "earlier" / "1") == before
    assert Store(tmp_path / "run" / "earlier" / "1").read_json("summary.json") == summary
    manifest = Store(tmp_path / "run").read_json("manifest.json")
    assert manifest is not None
    (extension,) = manifest["extended"]
    assert extension["changed"] == ["strategies"]
    assert extension["earlier"] == "earlier/1"


def test_a_strategy_that_comes_back_is_not_paid_for_again(tmp_path: Path, calls: list[str]) -> None:
    """Its results are in none of the reports of a recipe without it, but they are not lost."""
    three = [{"searcher": "self_consistency", "n": [2, 4, 8]}]
    go(recipe(tmp_path, three), tmp_path / "run")
    before = told(tmp_path / "run")
    go(recipe(tmp_path, SC4_SC8), tmp_path / "run", extend=True)
    assert {name for name, _ in told(tmp_path / "run")} == {
        f"self_consistency-n={n}" for n in (4, 8)
    }
    calls.clear()
    go(recipe(tmp_path, three), tmp_path / "run", extend=True)
    assert calls == []
    assert told(tmp_path / "run") == before


def test_an_extension_that_is_interrupted_goes_on(tmp_path: Path, calls: list[str]) -> None:
    go(recipe(tmp_path, SC4), tmp_path / "run")
    calls.clear()

    def stop(progress: runner.Progress) -> None:
        if progress.new_done == 1:
            raise EngineError("gone")

    more = recipe(tmp_path, SC8, concurrency=1)
    with pytest.raises(EngineError, match="gone"):
        go(more, tmp_path / "run", extend=True, watch=stop)
    go(more, tmp_path / "run")  # by now it is the folder's run
    assert len(calls) == 12
    go(recipe(tmp_path, SC8), tmp_path / "new")
    got = told(tmp_path / "run")
    assert {k: v for k, v in got.items() if "n=8" in k[0]} == told(tmp_path / "new")


def test_a_tree_that_is_gone_is_paid_for_again(tmp_path: Path, calls: list[str]) -> None:
    go(recipe(tmp_path, SC4), tmp_path / "run")
    store, calls[:] = Store(tmp_path / "run"), []
    store.tree_path("self_consistency-n=4", "q2").unlink()
    store.tree_path("self_consistency-n=4", "q3").write_text("{")
    go(recipe(tmp_path, SC8), tmp_path / "run", extend=True)
    assert len(calls) == 4 + 8 + 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "another seed, and its calls are of no use"),
        ({"generator": {"name": "scripted", "delay": 0.1}}, "another generator, and"),
        ({"verifier": "logprob"}, "another verifier, and"),
        ({"sweep": {"seed": [1, 2]}}, "a run that sweeps seed cannot be extended"),
    ],
)
def test_what_is_another_run_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    go(recipe(tmp_path, SC4), tmp_path / "run")
    before = told(tmp_path / "run")
    with pytest.raises((StoreError, RecipeError), match=message):
        go(recipe(tmp_path, SC4, **change), tmp_path / "run", extend=True)
    assert told(tmp_path / "run") == before
    assert not (tmp_path / "run" / "earlier").exists()


def test_shared_samples_and_a_limit_in_seconds_do_not_go_together(tmp_path: Path) -> None:
    go(recipe(tmp_path, SC4_SC8), tmp_path / "run")
    for alone in (recipe(tmp_path, SC4_SC8, limits={"seconds": 9}), recipe(tmp_path, SC4)):
        with pytest.raises(StoreError, match="one alone does not and a limit in seconds forbids"):
            go(alone, tmp_path / "run", extend=True)


def test_other_questions_are_refused(tmp_path: Path) -> None:
    go(recipe(tmp_path, SC4), tmp_path / "run")
    other = recipe(tmp_path, SC4, problems=4)
    file = tmp_path / "4.jsonl"
    file.write_text(file.read_text().replace('"xx"', '"yy"'))
    with pytest.raises(StoreError, match="problem 'q2' asks something else now"):
        go(other, tmp_path / "run", extend=True)


def test_a_folder_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    go(recipe(tmp_path, SC4), tmp_path / "run")
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["strategies"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="of an earlier version"):
        go(recipe(tmp_path, SC8), tmp_path / "run", extend=True)


def test_what_is_left_of_a_call_is_short(tmp_path: Path) -> None:
    """Bytes a call, however long its answer: 1x, 2x, 4x."""
    sizes = []
    for tokens in (100, 200, 400):
        script = Scripted(lambda *_, words=tokens: "w " * words + "\\boxed{1}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reasoning.backends.scripted.scripted", lambda made=script: made)
            go(recipe(tmp_path, SC8), tmp_path / str(tokens))
        (file, *_) = (tmp_path / str(tokens) / "calls").glob("model-0/q1.calls")
        sizes.append(file.stat().st_size / 8)
    assert max(sizes) < 150
    assert max(sizes) - min(sizes) < 8


def test_the_command(tmp_path: Path) -> None:
    for strategies, file in ((SC4, "a.yaml"), (SC8, "b.yaml")):
        data = recipe(tmp_path, strategies).model_dump(exclude_none=True)
        (tmp_path / file).write_text(json.dumps(data))
    out = ["--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, ["run", str(tmp_path / "a.yaml"), *out]).exit_code == 0
    refused = CliRunner().invoke(app, ["run", str(tmp_path / "b.yaml"), *out])
    assert "--extend it: what it has paid for is not paid again" in str(refused.exception)
    done = CliRunner().invoke(app, ["run", str(tmp_path / "b.yaml"), *out, "--extend"])
    assert done.exit_code == 0, done.output
    again = CliRunner().invoke(app, ["run", str(tmp_path / "b.yaml"), *out])
    assert again.exit_code == 0, again.output
    assert os.listdir(tmp_path / "run" / "earlier") == ["1"]
