"""lm-eval's tasks through a strategy: what it hands over, and what it gets back."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'reasoning[lm-eval]'")

from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from reasoning.errors import RecipeError
from reasoning.generate import Generator
from reasoning.integrations.lm_eval_model import ReasoningLM
from reasoning.integrations.strategies import Aside
from reasoning.lm_eval import main
from reasoning.session import Session

QUESTION = "What is 12 * 7 + 5?"
TASK = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
repeats: 4
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["###"], do_sample: false, max_gen_toks: 120}
filter_list:
  - name: boxed
    filter:
      - {function: regex, regex_pattern: "boxed.([0-9]+)"}
      - {function: majority_vote}
      - {function: take_first}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def asked(text: str, settings: Any, doc: int = 0) -> Instance:
    return Instance("generate_until", {}, (text, settings), 0, ("t", doc, 1))


class Mute(Generator):
    async def generate(self, prompt: Any, params: Any, **_: Any) -> Any:
        raise AssertionError("nobody asks")


@pytest.fixture
def model() -> Any:
    found = ReasoningLM(generator="nano", searcher="sample", **{"sampling.temperature": 1.5})
    yield found
    found.close()


def test_repeats_differ_and_share_what_they_are_given(model: ReasoningLM) -> None:
    settings = {"until": ["###"], "max_gen_toks": 40}
    one = asked(QUESTION, settings)
    texts = model.generate_until([one] * 6 + [asked(QUESTION, settings, 1)])
    assert len(texts) == 7
    assert len(set(texts)) > 2
    assert settings == {"until": ["###"], "max_gen_toks": 40}
    assert model.generate_until([one] * 6) == texts[:6]  # the same again
    assert model.usage.calls == 13


@pytest.mark.parametrize("until", [None, "The", ["The"], [], [""]])
def test_until_in_all_its_forms(model: ReasoningLM, until: Any) -> None:
    (text,) = model.generate_until([asked(QUESTION, {"until": until, "temperature": 0.2})])
    assert text
    assert ("The" in text) == (until not in ("The", ["The"]))


def test_that_answers_are_not_greedy_is_said_once(
    model: ReasoningLM, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"do_sample": False, "max_gen_toks": 8}
    model.generate_until([asked(QUESTION, settings, i) for i in range(3)])
    assert [r.message for r in caplog.records if "greedy" in r.message] == [
        "the task asks for greedy answers; sample samples at temperature 1.5"
    ]


def test_conversations_go_as_messages(model: ReasoningLM) -> None:
    chat = model.apply_chat_template([{"role": "user", "content": QUESTION}])
    (plain,) = model.generate_until([asked(QUESTION, {})])
    assert model.generate_until([asked(chat, {})]) == [plain]
    with pytest.raises(RecipeError, match="gen_prefix"):
        model.generate_until([asked(f"{chat}The answer is", {})])
    with pytest.raises(RecipeError, match="did you mean 'temperature'"):
        model.generate_until([asked(QUESTION, {"temperatur": 1})])


def test_likelihoods(model: ReasoningLM) -> None:
    greedy = ReasoningLM(generator="nano", searcher="sample")
    (said,) = greedy.generate_until([asked(QUESTION, {"do_sample": False})])
    greedy.close()

    def likely(*texts: str) -> list[tuple[float, bool]]:
        requests = [
            Instance("loglikelihood", {}, (QUESTION, text), i, ("t", 0, 1))
            for i, text in enumerate(texts)
        ]
        return model.loglikelihood(requests)

    (right, same), (wrong, other) = likely(said, "Zoe has 3 apples.")
    assert same
    assert not other
    assert wrong < right < 0
    rolling = [Instance("loglikelihood_rolling", {}, (said,), 0, ("t", 0, 1))]
    (alone,) = model.loglikelihood_rolling(rolling)
    assert alone < right
    mute = ReasoningLM(generator="scripted", searcher="sample")
    mute.aside = Aside(lambda: Session(generator=Mute(), searcher="sample"))
    with pytest.raises(NotImplementedError, match="output_type generate_until"):
        mute.loglikelihood([])
    mute.close()


def test_a_whole_task_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": f"What is {n} * 7 + 5?", "answer": str(7 * n + 5)} for n in (2, 3, 4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(TASK.replace("FILE", str(tmp_path / "rows.jsonl")))
    index = TaskManager.__init__
    alone = functools.partialmethod(index, include_defaults=False)  # theirs take 10 s to list
    monkeypatch.setattr(TaskManager, "__init__", alone)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    settings = "generator=nano,searcher=best_of_n,n=4,verifier=nano_prm"
    command = ["lm-eval", "run", "--model", "reasoning", "--model_args", settings]
    command += ["--tasks", "sums", "--include_path", str(tmp_path)]
    command += ["--output_path", str(tmp_path / "out"), "--log_samples"]
    monkeypatch.setattr(sys, "argv", command)
    main()
    (file,) = tmp_path.glob("out/*/results_*.json")
    found = json.loads(file.read_text())
    assert found["results"]["sums"]["exact_match,boxed"] == 1.0
    assert found["config"]["reasoning_usage"]["calls"] == 3 * 4 * 4
    (log,) = tmp_path.glob("out/*/samples_sums_*.jsonl")
    line = json.loads(log.read_text().splitlines()[0])
    assert line["arguments"]["gen_args_0"]["arg_1"]["until"] == ["###"]
    assert not Aside.open
    monkeypatch.setattr(sys, "argv", [part.replace("n=4", "m=4") for part in command])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "unknown parameter of best_of_n 'm'" in capsys.readouterr().err
