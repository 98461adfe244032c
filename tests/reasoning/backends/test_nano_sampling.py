"""Every field of sampling, as the embedded model honours it; text that others wrote; probes."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.nano import Nano
from reasoning.backends.nano.sampling import draw, knobs, log_softmax, stream
from reasoning.backends.nano.shaping import Shaping
from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.seeds import fold
from reasoning.tree import FloatArray, RolloutTree, Sample

STRUCTURED = importlib.util.find_spec("llguidance") is not None
PROBLEM = Problem("p", "Ann has 3 apples.")
V = 12
ENDS = frozenset({10, 11})


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Nano]:
    generator = Nano(folder)
    yield generator
    generator.close()


def ask(model: Nano, seed: int = 0, begun: Sample | None = None, **params: Any) -> Sample:
    sampling = Sampling(**{"max_tokens": 12, **params})
    model.refuse(sampling)
    prompt = Prompt(PROBLEM, RolloutTree("p").root, 0, begun=begun)
    return asyncio.run(model.generate(prompt, sampling, seed=seed, meter=lambda _: None))


def shaping(begun: tuple[int, ...] = (), before: tuple[int, ...] = (), **params: Any) -> Shaping:
    sampling = Sampling(max_tokens=9, **params)
    bias = {int(token): value for token, value in sampling.logit_bias.items()}
    return Shaping(
        sampling, bias, None, before=before, begun=begun, ends=ENDS, vocabulary=V
    )  # fmt: skip


LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=V, max_size=V).map(
    lambda row: np.array(row, np.float32)
)
TOKENS = st.lists(st.integers(0, V - 1), max_size=9).map(tuple)


# --- kernels -------------------------------------------------------------------------


@given(LOGITS, TOKENS, TOKENS, st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 3))
def test_the_penalties_are_the_definition(
    row: FloatArray,
    before: tuple[int, ...],
    begun: tuple[int, ...],
    presence: float,
    frequency: float,
    repetition: float,
) -> None:
    found = shaping(
        begun,
        before,
        presence_penalty=presence,
        frequency_penalty=frequency,
        repetition_penalty=repetition,
        logit_bias={3: 1.5},
    )(row)
    for token, logit in enumerate(row.tolist()):
        want = logit + 1.5 * (token == 3)
        if token in (*before, *begun):
            want = want / repetition if want > 0 else want * repetition
        want -= frequency * begun.count(token) + presence * (token in begun)
        assert found[token] == pytest.approx(want, rel=1e-4, abs=1e-4)


@given(LOGITS, st.integers(0, 4), TOKENS)
def test_ends_come_after_min_tokens(row: FloatArray, most: int, begun: tuple[int, ...]) -> None:
    found = shaping(begun, min_tokens=most)(row)
    early = len(begun) < most
    assert [t for t in range(V) if np.isneginf(found[t])] == (sorted(ENDS) if early else [])


@given(LOGITS, st.floats(0.01, 1), st.floats(0.2, 3))
def test_min_p_is_the_definition(row: FloatArray, min_p: float, temperature: float) -> None:
    n = 200
    keys, zeros = [stream(i) for i in range(n)], [0] * n
    setting = knobs(keys, zeros, [temperature] * n, [1.0] * n, zeros, zeros, [min_p] * n, zeros)
    drawn = draw(np.tile(row, (n, 1)), setting)
    p = np.exp(log_softmax(row[None] / np.float32(temperature))[0])
    assert (p[drawn.token] >= min_p * p.max() * (1 - 1e-4)).all()


@given(LOGITS, st.floats(0, 2), st.integers(0, 3))
def test_shapes_that_change_nothing_draw_the_same(
    row: FloatArray, temperature: float, top_k: int
) -> None:
    """Bit for bit: the changed logits take another way to the same weights."""
    n = 50
    setting = knobs(
        [stream(i) for i in range(n)], [0] * n, [temperature] * n, [0.9] * n, [top_k] * n,
        [0] * n, [0.0] * n, [0] * n,
    )  # fmt: skip
    logits = np.tile(row, (n, 1))
    plain = draw(logits, setting)
    shaped = draw(logits, setting, {i: shaping(logit_bias={2: 0.0})(row) for i in range(n)})
    assert plain.token.tolist() == shaped.token.tolist()
    assert plain.logprob.tobytes() == shaped.logprob.tobytes()


# --- fields --------------------------------------------------------------------------

NEUTRAL: list[dict[str, Any]] = [
    {"min_p": 0.0},
    {"min_p": 1e-9},
    {"min_tokens": 0},
    {"presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0},
    {"logit_bias": {}},
    {"logit_bias": {5: 0.0, "a": 0.0}},
    {"top_logprobs": 3},
    {"confidence_k": 3},
]


@pytest.mark.parametrize("field", NEUTRAL, ids=str)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_neutral_values_change_nothing(
    model: Nano, field: dict[str, Any], temperature: float
) -> None:
    for seed in range(3):
        plain = ask(model, seed, temperature=temperature)
        other = ask(model, seed, temperature=temperature, **field)
        assert (plain.text, plain.token_ids, plain.finish) == (
            other.text, other.token_ids, other.finish,
        )  # fmt: skip
        assert plain.logprobs is not None
        assert other.logprobs is not None
        assert plain.logprobs.tobytes() == other.logprobs.tobytes()


def test_logprobs_and_tops_are_those_of_the_raw_distribution(model: Nano) -> None:
    said = ask(model, temperature=0.5, top_k=2, logit_bias={7: 100.0}, top_logprobs=500)
    assert set(said.token_ids or ()) == {7}
    tops = said.top_logprobs
    assert tops is not None
    assert said.logprobs is not None
    assert np.exp(tops.logprobs.astype(float)).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (np.diff(tops.logprobs, axis=1) <= 0).all()
    name = model.text.name(7)
    for i, logprob in enumerate(said.logprobs.tolist()):
        assert logprob == tops.logprobs[i][list(tops.texts[i]).index(name)]
    three = ask(model, temperature=0.5, top_k=2, logit_bias={7: 100.0}, top_logprobs=3)
    assert three.top_logprobs is not None
    assert three.top_logprobs.texts == tuple(row[:3] for row in tops.texts)
    assert three.confidence is None, "the one does not bring the other"


def test_ends_are_named_among_the_likeliest(model: Nano) -> None:
    tops = ask(model, max_tokens=1, top_logprobs=1000).top_logprobs
    assert tops is not None
    assert "<|im_end|>" in tops.at(0)


def test_biases_by_text_and_id(model: Nano) -> None:
    (token,) = model.text.encode("a")
    by_id, by_text = ask(model, logit_bias={token: 100}), ask(model, logit_bias={"a": 100})
    assert by_id.text == by_text.text == "a" * 12
    assert token not in (ask(model, logit_bias={"a": -100}, temperature=2.0).token_ids or ())
    for wrong in ("never one token", ""):
        with pytest.raises(RecipeError, match=f"names '{wrong}', which is not one token"):
            model.refuse(Sampling(max_tokens=9, logit_bias={wrong: 1.0}))
    for wrong_id in (-1, 10**6):
        with pytest.raises(RecipeError, match=f"names token {wrong_id}; this model's are 0 to"):
            model.refuse(Sampling(max_tokens=9, logit_bias={wrong_id: 1.0}))


def test_nothing_ends_it_before_min_tokens(model: Nano) -> None:
    end = dict.fromkeys(model._ends, 100.0)
    assert ask(model, logit_bias=end).generated_tokens == 1
    late = ask(model, logit_bias=end, min_tokens=4)
    assert (late.generated_tokens, late.finish) == (5, "end")
    (token,) = model.text.encode("a")
    said = ask(model, logit_bias={token: 100}, min_tokens=4, stop=("aa",))
    assert (said.text, said.finish) == ("aaaaa", "stop"), "the fifth may complete one"
    begun = ask(model, logit_bias={token: 100}, max_tokens=3)
    more = ask(model, begun=begun, logit_bias=end, min_tokens=4)
    assert more.generated_tokens == 2, "what was begun counts"


def test_penalties_move_the_model_off_what_it_said(model: Nano) -> None:
    plain = ask(model, temperature=0.0, max_tokens=40)
    moved = ask(model, temperature=0.0, max_tokens=40, frequency_penalty=2.0)
    assert len(set(moved.token_ids or ())) > len(set(plain.token_ids or ()))


# --- bounds --------------------------------------------------------------------------


def test_a_choice_is_one_of_its_texts(model: Nano) -> None:
    texts = ("The answer", "The apples", "é", "no")
    said = [ask(model, seed, choice=texts, temperature=3.0) for seed in range(40)]
    assert {sample.text for sample in said} == set(texts)
    assert {sample.finish for sample in said} == {"end"}
    assert all((sample.token_ids or ())[-1] in model._ends for sample in said)
    begun = ask(model, choice=("no way",), max_tokens=2)
    more = ask(model, begun=begun, choice=("no way",))
    assert (begun.text + more.text, more.finish) == ("no way", "end")
    assert ask(model, choice=("no",), min_tokens=9).text == "no", "the bound decides"


@pytest.mark.skipif(not STRUCTURED, reason="llguidance is not installed")
def test_patterns_and_schemas_bind(model: Nano) -> None:
    for seed in range(4):
        said = ask(model, seed, regex=r"[0-9]{2}-(a|é)+!", max_tokens=60)
        if said.finish == "end":
            assert re.fullmatch(r"[0-9]{2}-(a|é)+!", said.text)
        schema = {"type": "object", "properties": {"n": {"enum": [12, 7]}}, "required": ["n"],
                  "additionalProperties": False}  # fmt: skip
        said = ask(model, seed, json_schema=schema, max_tokens=60, temperature=0.3)
        if said.finish == "end":
            assert json.loads(said.text)["n"] in (12, 7)
    whole = ask(model, regex="abcdefgh", max_tokens=60)
    assert (whole.text, whole.finish) == ("abcdefgh", "end")
    begun = ask(model, regex="abcdefgh", max_tokens=3)
    more = ask(model, begun=begun, regex="abcdefgh")
    assert begun.text + more.text == "abcdefgh"
    with pytest.raises(RecipeError, match=r"sampling\.regex cannot be used: .*unclosed"):
        model.refuse(Sampling(max_tokens=9, regex="(["))
    with pytest.raises(RecipeError, match=r"sampling\.json_schema cannot be used: .*objekt"):
        model.refuse(Sampling(max_tokens=9, json_schema={"type": "objekt"}))


def test_patterns_without_the_library_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    model = Nano(folder)
    with pytest.raises(RecipeError, match=r"pip install 'reasoning\[structured\]'"):
        model.refuse(Sampling(max_tokens=9, regex="a"))
    model.refuse(Sampling(max_tokens=9, choice=("a",)))
    model.close()


# --- company -------------------------------------------------------------------------


def test_fields_of_others_in_the_batch_change_nothing(model: Nano) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"min_p": 0.2},
        {"logit_bias": {"a": 3.0}, "top_logprobs": 2},
        {"choice": ("The answer", "é")},
        {"repetition_penalty": 1.3, "min_tokens": 5},
    ]
    alone = [ask(model, 5, **kind) for kind in kinds]

    async def together() -> list[Sample]:
        prompt = Prompt(PROBLEM, RolloutTree("p").root, 0)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    model.generate(
                        prompt, Sampling(max_tokens=12, **kind), seed=5, meter=lambda _: None
                    )
                )
                for kind in kinds
            ]
        return [task.result() for task in tasks]

    for one, other in zip(alone, asyncio.run(together()), strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs is not None
        assert other.logprobs is not None
        assert one.logprobs.tobytes() == other.logprobs.tobytes()


def test_a_stop_string_across_the_break_is_seen(model: Nano) -> None:
    (token,) = model.text.encode("a")
    begun = ask(model, logit_bias={token: 100}, max_tokens=2, stop=("aaa",))
    more = ask(model, begun=begun, logit_bias={token: 100}, stop=("aaa",))
    assert (begun.finish, more.text, more.finish) == ("length", "a", "stop")


# --- written text and probes -----------------------------------------------------------


def searching(model: Nano, **sampling: Any) -> Search:
    return Search(PROBLEM, model, sampling=Sampling(**{"max_tokens": 40, **sampling}))


def test_written_text_splits_no_token_and_costs_none(model: Nano) -> None:
    search = searching(model)

    async def work() -> None:
        first = await search.draw(search.root, until="end", max_tokens=5, logit_bias={"a": 100})
        assert first is not None
        node = search.write(search.write(first, " Wa"), "it, 3 app")
        spent = search.usage.generated_tokens
        assert node.generated_tokens == first.generated_tokens == spent
        asked = Prompt(PROBLEM, node, 0)
        assert asked.pieces == [first.sample.token_ids, " Wait, 3 app"]
        written = model.text.encode(" Wait, 3 app")
        assert model._path(asked) == (*(first.sample.token_ids or ()), *written)
        last = await search.draw(node, until="end", max_tokens=3)
        assert last is not None
        assert last.text == first.text + " Wait, 3 app" + last.sample.text
        question = len(model._question(asked))
        assert last.sample.prompt_tokens == question + 5 + len(written)

    asyncio.run(work())


def test_an_end_token_is_left_out_where_text_is_written_behind_it(model: Nano) -> None:
    search = searching(model)

    async def work() -> None:
        ended = await search.draw(search.root, until="end", choice=("a",))
        assert ended is not None
        assert ended.finished
        ids = ended.sample.token_ids or ()
        assert ids[-1] in model._ends
        node = search.write(ended, "Wait")
        assert model._path(Prompt(PROBLEM, node, 0)) == (*ids[:-1], *model.text.encode("Wait"))
        more = await search.draw(node, until="end", max_tokens=3)
        assert more is not None
        assert more.text.startswith("aWait")

    asyncio.run(work())


def test_a_probe_reads_what_a_draw_sees_and_leaves_the_path(model: Nano) -> None:
    search = searching(model)

    async def work() -> None:
        node = await search.draw(search.root, until="end", max_tokens=4)
        assert node is not None
        before = (node.text, node.token_ids)
        probe = await search.probe(node, top=5)
        assert probe is not None
        assert (node.text, node.token_ids) == before
        assert probe.sample.finish == "probe"
        drawn = await search.draw(node, until="end", max_tokens=1, top_logprobs=5)
        assert drawn is not None
        a, b = probe.sample.top_logprobs, drawn.sample.top_logprobs
        assert a is not None
        assert b is not None
        assert a.texts == b.texts
        assert a.logprobs.tobytes() == b.logprobs.tobytes()
        behind = await search.probe(node, " Then", top=5)
        written = await search.draw(
            search.write(node, " Then"), until="end", max_tokens=1, top_logprobs=5
        )
        assert behind is not None
        assert written is not None
        a, b = behind.sample.top_logprobs, written.sample.top_logprobs
        assert a is not None
        assert b is not None
        assert a.at(0) == b.at(0), "a suffix is text written for one call"

    asyncio.run(work())


def test_text_of_another_model_is_tokenised_anew(model: Nano) -> None:
    tree = RolloutTree("p")
    other = tree.add(tree.root, 0, Sample("Ann has", token_ids=(1, 2, 3), model="large"))
    own = tree.add(other, 0, Sample(" 3", token_ids=model.text.encode(" 3")))
    assert model._path(Prompt(PROBLEM, own, 0)) == (
        *model.text.encode("Ann has"), *model.text.encode(" 3"),
    )  # fmt: skip
    assert model._path(Prompt(PROBLEM, other, 0, model="large")) == (1, 2, 3)
    read = asyncio.run(
        model.score_text(
            Prompt(PROBLEM, tree.root, 0), other.sample, question=True, meter=lambda _: None
        )
    )
    assert len(read) == len(model.text.encode("Ann has"))


def test_a_call_taken_up_again_goes_on_as_the_uncut_one(model: Nano) -> None:
    whole = ask(model, temperature=0.0, max_tokens=20, top_logprobs=2, repetition_penalty=1.2)
    seed = fold(RolloutTree("p").root.key, 0)
    joined: Sample | None = None
    for most in (3, 1, 20):
        if joined is not None:
            most = min(most, 20 - joined.generated_tokens)
        part = ask(
            model, seed, joined, temperature=0.0, max_tokens=most, top_logprobs=2,
            repetition_penalty=1.2,
        )  # fmt: skip
        joined = part if joined is None else joined + part
    assert joined is not None
    assert joined.token_ids == whole.token_ids
    assert joined.finish == whole.finish
    assert joined.logprobs is not None
    assert whole.logprobs is not None
    assert joined.logprobs.tobytes() == whole.logprobs.tobytes()
