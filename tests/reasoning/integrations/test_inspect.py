"""inspect_ai runs our strategies, keeps its limits, and reads our logs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "inspect_ai", reason="inspect_ai is not installed: pip install 'reasoning[inspect]'"
)

from inspect_ai import Epochs, Task, eval, score
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

from reasoning.backends.formats import recognised
from reasoning.errors import RecipeError
from reasoning.integrations.export import export
from reasoning.integrations.inspect_registry import reasoning
from reasoning.integrations.rows import StoredRun

ByHand = Callable[..., Path]
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
NANO = {"generator": "nano", "n": 3}


def run(tmp_path: Path, model: Any, solver: Any = None, **options: Any) -> Any:
    task = Task(
        dataset=[
            Sample(id=i, input=f"What is {i} * 7 + 5?", target=str(7 * i + 5)) for i in (2, 3)
        ],
        solver=solver or generate(),
        scorer=includes(),
        epochs=Epochs(2),
    )
    (log,) = eval(task, model=model, log_dir=str(tmp_path / "logs"), display="none", **options)
    return log


def ours(name: str = "self_consistency", **settings: Any) -> Any:
    return get_model(f"reasoning/{name}", memoize=False, **{**NANO, **settings})


def test_a_model_of_ours(tmp_path: Path) -> None:
    model = ours(answers="number")
    log = run(tmp_path, model)
    model.api.close()
    assert log.status == "success", log.error
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    (usage,) = log.stats.model_usage.values()
    own = [s.output.usage for s in log.samples]
    assert usage.total_tokens == sum(u.total_tokens for u in own)
    assert all(
        u.total_tokens == u.input_tokens + u.input_tokens_cache_read + u.output_tokens for u in own
    )
    assert log.samples[0].output.metadata["candidates"] == [3]


def test_epochs_and_choices_differ_under_one_seed(tmp_path: Path) -> None:
    model = ours("sample", n=None, **{"sampling.temperature": 1.5})
    del model.api.settings["n"]
    log = run(tmp_path, model, generate(seed=7, num_choices=3))
    model.api.close()
    for i in (2, 3):
        texts = [c.message.text for s in log.samples if s.id == i for c in s.output.choices]
        assert len(texts) == 6
        assert len(set(texts)) > 2


def test_a_search_stays_below_their_token_limit(tmp_path: Path) -> None:
    model = ours(n=8)
    log = run(tmp_path, model, token_limit=250)
    model.api.close()
    assert log.status == "success", log.error
    for sample in log.samples:
        assert sample.limit is None
        assert sample.output.completion  # not thrown away
        assert 0 < sum(u.total_tokens for u in sample.model_usage.values()) <= 250


def mock(texts: list[str], tokens: int = 100) -> Any:
    outputs = []
    for text in texts:
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=10, output_tokens=tokens, total_tokens=tokens + 10)
        outputs.append(output)
    return get_model("mockllm/model", custom_outputs=outputs, memoize=False)


def test_a_solver_over_their_model(tmp_path: Path) -> None:
    said = ["It is 19.", "It is 26.", "It is 19."]
    log = run(tmp_path, mock(said * 4), reasoning("self_consistency", n=3), max_samples=1)
    assert log.status == "success", log.error
    assert {s.output.completion for s in log.samples} == {"It is 19."}
    (usage,) = log.stats.model_usage.values()
    assert usage.total_tokens == 4 * 3 * 110
    infos = [e for e in log.samples[0].events if e.event == "info" and e.source == "reasoning"]
    assert [len(i.data["tree"]) for i in infos] == [3]
    assert log.samples[0].messages[-1].text == "It is 19."


def test_at_their_limit_the_best_so_far_is_scored(tmp_path: Path) -> None:
    model = mock(["It is 19."] * 80)
    solver = reasoning("self_consistency", n=16, **{"sampling.max_tokens": 100})
    log = run(tmp_path, model, solver, token_limit=350, max_connections=1)
    assert log.status == "success", log.error
    for sample in log.samples:
        assert sample.limit.type == "token"
        assert sample.output.completion == "It is 19."
        assert sample.scores["includes"].value == ("C" if sample.id == 2 else "I")
        (usage,) = sample.model_usage.values()
        assert usage.total_tokens < 16 * 110


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="begin every answer anew"):
        reasoning("beam_search", width=2, expansions=2, verifier="nano_prm")
    with pytest.raises(RecipeError, match="did you mean 'self_consistency'"):
        reasoning("self_consistancy")
    log = run(tmp_path, ours("nobody"))
    assert log.status == "error"
    assert "unknown searcher 'nobody'" in log.error.message


# ------------------------------------------------------------------------------------- logs


def test_our_logs_are_read_by_their_library_and_by_ours(small: Path, tmp_path: Path) -> None:
    files = export(StoredRun.open(small), "inspect", tmp_path / "out")
    summary = json.loads((small / "summary.json").read_text())
    for file, numbers in zip(files, summary["strategies"], strict=True):
        log = read_eval_log(str(file))
        assert (log.status, log.eval.solver) == ("success", numbers["name"])
        found = {s.name: s.metrics["accuracy"].value for s in log.results.scores}
        assert found["strategy"] == pytest.approx(numbers["accuracy"])
        assert log.stats.model_usage["none/none"].output_tokens == numbers["generated_tokens"]
        assert len(read_eval_log_sample_summaries(str(file))) == len(log.samples)
        trees = [s.metadata["tree"] for s in log.samples if s.epoch == 1]
        assert len(trees) == 2
        assert all(node["text"] is not None for tree in trees for node in tree)
    first = StoredRun.open(small, [summary["strategies"][0]["name"]])
    stored = {
        (s.problem, tuple(c["path"])): c["correct"]
        for s in first.results()
        for c in s.line["candidates"]
    }
    rows = [*recognised(files[0]).rows(lambda kind, where: pytest.fail(f"{kind} {where}"))]
    assert [s["correct"] for row in rows for s in row["samples"]] == [
        correct for _, correct in sorted(stored.items(), key=lambda i: (i[0][1], i[0][0]))
    ]


def test_they_score_our_logs_again(small: Path, tmp_path: Path) -> None:
    """Which loads the model that a log names, with its arguments."""
    files = export(StoredRun.open(small), "inspect", tmp_path / "out")
    for file in files:
        scored = score(read_eval_log(str(file)), includes(), action="append")
        found = {s.name: s.metrics["accuracy"].value for s in scored.results.scores}
        assert list(found) == ["sample", "strategy", "includes"]
        assert scored.eval.metadata["generator"] == "nano"


def test_their_viewer_opens_them(small: Path, tmp_path: Path) -> None:
    files = export(StoredRun.open(small), "inspect", tmp_path / "out")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = str(files[0].parent)
    command = [sys.executable, "-m", "inspect_ai", "view", "start", "--log-dir", folder]
    quiet = subprocess.DEVNULL
    viewer = subprocess.Popen([*command, "--port", str(port)], stdout=quiet, stderr=quiet)

    def seen(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=30) as reply:
            return json.loads(reply.read())

    try:
        for _ in range(300):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.1)
        listed = {Path(file["name"]).name: file["name"] for file in seen("logs")["files"]}
        assert set(listed) == {file.name for file in files}
        for name in listed.values():
            log = seen(f"logs/{urllib.parse.quote(name, safe='')}")
            assert log["status"] == "success"
            assert log["samples"]
    finally:
        viewer.terminate()
        viewer.wait(30)


def test_any_id_and_a_problem_without_samples(by_hand: ByHand, tmp_path: Path) -> None:
    folder = by_hand({"a/b c": ["x"], "é": [], "7": ["y", "z\ud800"]})
    (file,) = export(StoredRun.open(folder), "inspect", tmp_path)
    log = read_eval_log(str(file))
    assert {(s.id, s.epoch, s.output.completion) for s in log.samples} == {
        ("a/b c", 1, "x"),
        ("7", 1, "y"),
        ("7", 2, "z\ufffd"),
        ("é", 1, ""),
    }
    assert log.status == "cancelled"  # it has no summary
    assert all(s.scores is None for s in log.samples)
    assert log.results.scores == []
