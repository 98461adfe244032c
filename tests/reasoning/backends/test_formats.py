"""Recordings of others: MathArena's, lm-eval's and inspect_ai's, and the folders of runs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from evals.replay.show import main
from evals.replay.sources import load
from reasoning.backends.formats import run_folder
from reasoning.backends.recorded import recorded
from reasoning.errors import RecipeError
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import RolloutTree, Sample

QUESTION = "How much is $1 + 1$?"


def lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def drawn(path: Path, question: str, n: int, **where: str) -> list[tuple[str, int, str]]:
    """Text, tokens and end of the first n samples of a problem that another task has named."""
    generator = recorded(path=str(path), where=where)
    problem = Problem("of-another-name", question)
    search = Search(problem, generator, sampling=generator.sampling, clock=generator.clock(problem))
    nodes = asyncio.run(search.draws(search.root, n, until="end"))
    return [(x.sample.text, x.sample.generated_tokens, x.sample.finish) for x in nodes]


# ----------------------------------------------------------------------------------- MathArena


def arena(number: int, model: str, said: str, parsed: str, **more: Any) -> dict[str, Any]:
    """A row with the fields that MathArena's sets have."""
    return {
        "problem_idx": "3",
        "problem": QUESTION,
        "model_name": model,
        "model_config": f"models/{model}",
        "idx_answer": number,
        "all_messages": json.dumps([{"role": "user", "content": QUESTION}]),
        "user_message": QUESTION,
        "answer": said,
        "input_tokens": 40,
        "output_tokens": 100 + number,
        "cost": 0.001,
        "source": "made up",
        "gold_answer": "2",
        "parsed_answer": parsed,
        "correct": parsed == "2",
        **more,
    }


ARENA = [
    arena(0, "a", r"so \boxed{2}", "2"),
    arena(1, "a", r"so \boxed{3}", "3"),
    arena(0, "b", r"<think>?</think> \boxed{2.0}", "2"),
]


@pytest.mark.parametrize("form", ["folder", "parquet", "jsonl"])
def test_outputs_of_math_arena(tmp_path: Path, form: str) -> None:
    file = tmp_path / "data" / "train-00000-of-00001.parquet"
    file.parent.mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(ARENA), file)
    source = {"folder": tmp_path, "parquet": file, "jsonl": tmp_path / "rows.jsonl"}[form]
    if form == "jsonl":
        lines(source, ARENA)
    assert drawn(source, QUESTION + "\n", 2, model="a") == [
        (r"so \boxed{2}", 100, "end"),
        (r"so \boxed{3}", 101, "end"),
    ]
    found = load(source)
    assert [(s.key, s.correct) for s in found.problems[0].samples] == [
        (0, True),
        (1, False),
        (0, True),
    ]
    assert "samples differ in model (a, b); --where model=VALUE" in found.notes[0]


def test_proofs_are_right_with_all_the_points(tmp_path: Path) -> None:
    rows = [arena(i, "a", f"proof {i}", "", correct=c) for i, c in enumerate([1.0, 0.5])]
    for row in rows:
        del row["gold_answer"], row["parsed_answer"]
    found = load(lines(tmp_path / "proofs.jsonl", rows))
    assert [s.correct for s in found.problems[0].samples] == [True, False]


def test_two_sets_at_once_are_refused(tmp_path: Path) -> None:
    rows = [*ARENA, arena(0, "a", "5", "5", problem="How much is 2 + 3?")]
    with pytest.raises(RecipeError, match="two questions under the name '3'"):
        load(lines(tmp_path / "rows.jsonl", rows))


def test_a_table_of_something_else(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(RecipeError, match=r"no column answer, model_name, problem_idx among a"):
        load(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecipeError, match="cannot be read as Parquet"):
        load(tmp_path)


# ------------------------------------------------------------------------------------- lm-eval


def document(number: int, texts: Sequence[object], filter_: str, **more: Any) -> dict[str, Any]:
    """A line as lm-eval 0.4.13 writes it."""
    prompt = {"arg_0": "Q: ...", "arg_1": {"until": ["\n"], "max_gen_toks": 64, "temperature": 0.7}}
    return {
        "doc_id": number,
        "doc": {"question": QUESTION, "answer": "#### 2"},
        "target": "One and one.\n#### 2",
        "arguments": {"gen_args_0": prompt},
        "resps": [list(texts)],
        "filtered_resps": ["2"],
        "filter": filter_,
        "metrics": ["exact_match"],
        "exact_match": 1.0,
        **more,
    }


def test_samples_of_lm_eval(tmp_path: Path) -> None:
    texts = ["The answer is 2.", "The answer is 3.", "The answer is 2."]
    rows = [document(0, texts, f) for f in ("strict", "flexible")]
    path = lines(tmp_path / "samples_toy_2026-11-28T22-05-37.080048.jsonl", rows)
    assert [text for text, _, _ in drawn(path, QUESTION, 3)] == texts
    for source in (path, tmp_path):
        found = load(source)
        assert [s.correct for s in found.problems[0].samples] == [True, False, True]
        assert all(s.guessed for s in found.problems[0].samples)
    rows[0]["arguments"] = [["Q: ...", {"temperature": 0.7}]]  # the form of earlier releases
    assert len(load(lines(path, rows), where={"temperature": "0.7"}).problems[0].samples) == 3


def test_without_one_right_answer_the_labels_of_lm_eval_count(tmp_path: Path) -> None:
    row = document(0, ["it is 2"], "none", target=["2", "two"])
    found = load(lines(tmp_path / "samples_toy_now.jsonl", [row]))
    assert [s.correct for s in found.problems[0].samples] == [True]
    assert "graded by recorded labels: 1 of 1 problems" in found.notes


def test_likelihoods_are_no_samples(tmp_path: Path) -> None:
    row = document(0, [["-1.5", "True"]], "none")
    with pytest.raises(RecipeError, match="likelihoods of given answers"):
        load(lines(tmp_path / "samples_toy_now.jsonl", [row]))


# ---------------------------------------------------------------------------------- inspect_ai


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two samples in two epochs, a failed call and a multiple choice among them."""
    pytest.importorskip(
        "inspect_ai", reason='pip install "reasoning[inspect]" (64 MB) to run the tests of its logs'
    )
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalPlan,
        EvalSample,
        EvalSpec,
        write_eval_log,
    )
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageUser,
        ContentReasoning,
        ContentText,
        GenerateConfig,
        ModelOutput,
        ModelUsage,
    )
    from inspect_ai.scorer import Score

    def said(*parts: Any, tokens: int, stop: Any = "stop") -> ModelOutput:
        output = ModelOutput.from_message(ChatMessageAssistant(content=list(parts)), stop)
        output.usage = ModelUsage(input_tokens=9, output_tokens=tokens, total_tokens=9 + tokens)
        return output

    thought = ContentReasoning(reasoning="one and one")
    samples = [
        EvalSample(
            id="p/é 1",
            epoch=1,
            input=[ChatMessageUser(content=QUESTION)],
            target="2",
            output=said(thought, ContentText(text=r"\boxed{2}"), tokens=30),
            scores={"match": Score(value="C")},
        ),
        EvalSample(
            id="p/é 1",
            epoch=2,
            input=[ChatMessageUser(content=QUESTION)],
            target="2",
            output=said(ContentText(text="It is 2, or"), tokens=8, stop="max_tokens"),
            scores={"match": Score(value="I")},
        ),
        EvalSample(
            id=7,
            epoch=1,
            input="Which?",
            choices=["one", "two"],
            target="B",
            output=said(ContentText(text="ANSWER: B"), tokens=5),
        ),
        EvalSample(
            id=7,
            epoch=2,
            input="Which?",
            choices=["one", "two"],
            target="B",
            output=said(ContentText(text="**one**"), tokens=5),
        ),
    ]
    spec = EvalSpec(
        created="2026-11-28T00:00:00+00:00",
        task="toy",
        dataset=EvalDataset(name="toy", samples=2),
        model="none/none",
        config=EvalConfig(epochs=2),
    )
    plan = EvalPlan(config=GenerateConfig(temperature=0.7, max_tokens=99))
    path = tmp_path / "logs" / "toy.eval"
    path.parent.mkdir()
    write_eval_log(EvalLog(eval=spec, plan=plan, samples=samples, status="success"), str(path))
    return path


@pytest.mark.filterwarnings("default")  # the library's own
def test_a_log_of_inspect(log: Path) -> None:
    assert drawn(log, QUESTION, 2) == [
        ("<think>\none and one\n</think>\n\\boxed{2}", 30, "end"),
        ("It is 2, or", 8, "length"),
    ]
    for source in (log, log.parent):
        found = {p.id: p for p in load(source, where={"temperature": "0.7"}).problems}
        assert [(s.key, s.correct) for s in found["p/é 1"].samples] == [(0, True), (-1, False)]
        assert [s.correct for s in found["7"].samples] == [True, False]


def test_inspect_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    (tmp_path / "toy.eval").write_bytes(b"PK")
    with pytest.raises(RecipeError, match=r'pip install "reasoning\[inspect\]"'):
        load(tmp_path / "toy.eval")


# ------------------------------------------------------------------- what is none of these, kinds


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.txt", "x", r"a file that ends in \.txt"),
        ("a.json", "{}", "no log of inspect_ai"),
        ("a.jsonl", '{"prompt": 1, "response": 2}', "the fields 'prompt', 'response'"),
        ("a.jsonl", "[1]\n{torn", "without any line that is a JSON object"),
    ],
)
def test_other_forms_are_named(tmp_path: Path, name: str, content: str, found: str) -> None:
    (tmp_path / name).write_text(content)
    for read in (lambda path: load(path), lambda path: recorded(path=str(path))):
        with pytest.raises(RecipeError, match=f"{found}.*these are read: .*MathArena.*lm-eval"):
            read(tmp_path / name)


def test_answers_of_another_kind(tmp_path: Path) -> None:
    texts = [r"\boxed{(B) 12}", "**B**", "B", "The answer is (A) 7"]
    entry: dict[str, Any] = {
        "id": "p",
        "answer": "B",
        "options": ["7", "12"],
        "samples": [{"text": text, "n_tokens": 4} for text in texts],
    }
    path = lines(tmp_path / "a.jsonl", [entry])
    found = main(path, strategies=["self_consistency"], orders=0, answers="choice", out=tmp_path)
    assert [row["accuracy"] for row in found["strategies"]] == [1, 1, 1]
    assert found["pass_at_k"][0]["value"] == 0.75
    entry |= {"answer": 1, "answers": {"kind": "choice", "count_from": 0}}
    kind = load(lines(path, [entry]))
    assert [s.correct for s in kind.problems[0].samples] == [True, True, True, False]
    with pytest.raises(RecipeError, match="problem p: the answer '1' is none of the options"):
        load(path, answers="choice")
    with pytest.raises(RecipeError, match="did you mean 'choice'"):
        load(path, answers="choise")


def test_programs_are_graded_by_their_tests(tmp_path: Path) -> None:
    texts = [f"```python\ndef f(x):\n    return x {op} 1\n```" for op in "+-"]
    samples = [{"text": text, "n_tokens": 4} for text in texts]
    row = {"id": "p", "answers": "code", "tests": ["assert f(1) == 2"], "samples": samples}
    found = load(lines(tmp_path / "a.jsonl", [row]))
    assert [(s.key, s.correct) for s in found.problems[0].samples] == [(0, True), (1, False)]
    row["answer"] = 0
    row["samples"] = [{"text": None, "answer": 0}, {"answer": 1}, {"answer": 0.0}]
    del row["answers"], row["tests"]
    found = load(lines(tmp_path / "b.jsonl", [row]))
    assert [(s.key, s.correct) for s in found.problems[0].samples] == [
        (0, True),
        (1, False),
        (0, True),
    ]


def test_a_greedy_first_sample_is_none_of_those_drawn() -> None:
    tree = RolloutTree("p")
    for slot in range(3):
        tree.add(tree.root, slot, Sample(f"{slot}"))
    hedge = [{"hedge": True}, {}, {"written": True}]
    row = {"candidates": [{"path": [i], **more} for i, more in enumerate(hedge)]}
    assert [node.slot for node, _ in run_folder.solutions(row, tree)] == [1]
