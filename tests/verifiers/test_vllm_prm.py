"""Process reward models behind HTTP: what is asked, what is made of the answer, and what is not."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from reasoning.backends.nano import reward
from reasoning.backends.nano.reward import marked
from reasoning.backends.nano.text import Vocabulary
from reasoning.errors import EngineError, RecipeError, TransientError, VerificationError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import Verdict, ask
from reasoning.tree import Node, RolloutTree, Sample
from verifiers.engines.prm_families import FAMILIES, Layout, Tokens, family_of
from verifiers.vllm_prm import VllmPRM, vllm_prm

PROBLEM = Problem("p", "What is 12 * 7 + 5?", prompt="Wrapped: what is 12 * 7 + 5?")
STEPS = ("12 * 7 = 84.\n\n", "84 + 5 = 89.\n\n", r"The answer is \boxed{89}.")
TOKENIZER = str(reward.WEIGHTS)


def make(server: Any, **options: Any) -> VllmPRM:
    spec = {"name": "vllm_prm", "base_url": server.url, "model": "nano", "tokenizer": TOKENIZER}
    return names.build("verifier", {**spec, **options})  # type: ignore[no-any-return]


def path_of(*texts: str) -> Node:
    tree = RolloutTree("p")
    node = tree.root
    for text in texts:
        node = tree.add(node, 0, Sample(text))
    return node


def score(verifier: VllmPRM, *nodes: Node) -> list[Verdict]:
    async def work() -> list[Verdict]:
        async with TaskGroup() as group:
            tasks = [group.create_task(ask(verifier, PROBLEM, node)) for node in nodes]
        return [task.result() for task in tasks]

    try:
        return asyncio.run(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def texts_asked(server: Any) -> list[list[list[int]]]:
    return [body["input"] for body in server.requests]


# ------------------------------------------------------------------------------ families


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Qwen/Qwen2.5-Math-PRM-7B", "qwen"),
        ("Qwen/Qwen2.5-Math-PRM-72B", "qwen"),
        ("Qwen/Qwen2.5-Math-7B-PRM800K", "qwen"),
        ("Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B", "skywork"),
        ("RLHFlow/Llama3.1-8B-PRM-Deepseek-Data", "rlhflow"),
        ("RLHFlow/Llama3.1-8B-PRM-Mistral-Data", "rlhflow"),
        ("peiyi9979/math-shepherd-mistral-7b-prm", "math_shepherd"),
        (TOKENIZER, "nano"),
    ],
)
def test_the_family_is_guessed_from_the_name(model: str, family: str) -> None:
    assert family_of(model) == family


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever checks a recipe is told within seconds; a download is tried for half a minute."""
    asked: list[Any] = []

    def gone(*_: Any, **how: Any) -> None:
        asked.append(how)
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", gone)
    with pytest.raises(RecipeError, match=r"no tokenizer at .* \(the hub does not answer"):
        Tokens("nobody/has-such-a-model")
    assert asked == [{"timeout": 5.0}]


def test_an_unknown_family_is_asked_for() -> None:
    with pytest.raises(RecipeError, match=r"family of 'org/some-prm'.*verifier\.family.*skywork"):
        family_of("org/some-prm")


def spelled(tokens: Tokens, layout: Layout) -> str:
    """What the model reads, with | before each position where it is asked."""
    table = {i: t for t, i in tokens._tokenizer.get_vocab().items()}
    pieces = [("|" if i in layout.marks else "") + table[t] for i, t in enumerate(layout.ids)]
    return "".join(pieces).replace("Ġ", " ").replace("Ċ", "\n").replace("\u2581", " ")


def test_nanos_format_is_its_own() -> None:
    tokens, steps = Tokens(TOKENIZER), [step.strip() for step in STEPS]
    layout = FAMILIES["nano"].lay(tokens, PROBLEM.question, steps)
    assert (layout.ids, layout.marks) == marked(Vocabulary(reward.WEIGHTS), PROBLEM.question, steps)


def test_qwens_format() -> None:
    tokens = Tokens(TOKENIZER)
    layout = FAMILIES["qwen"].lay(tokens, "Q?", ["a.", "b."])
    assert spelled(tokens, layout) == (
        "<|im_start|>system\nPlease reason step by step, and put your final answer within "
        "\\boxed{}.<|im_end|>\n<|im_start|>user\nQ?<|im_end|>\n<|im_start|>assistant\n"
        "a.|<extra_0>b.|<extra_0>"
    )


def test_skyworks_format() -> None:
    tokens = Tokens(TOKENIZER)
    layout = FAMILIES["skywork"].lay(tokens, "Q?", ["a.", "b."])
    assert spelled(tokens, layout) == "<|endoftext|>Q?\na.|\nb.|\n"


def word_tokenizer(folder: Path, *special: str, words: Sequence[str] = (), bos: str = "") -> Path:
    """Characters and some words, spaces kept, as a tokenizer of the kind a family has."""
    letters = [chr(i) for i in range(32, 127)] + ["\n", "к", "и", "\u2581"]
    vocab = {t: i for i, t in enumerate(dict.fromkeys([*letters, *words]))}
    merges = []
    for word in words:
        for cut in range(1, len(word)):
            left, right = word[:cut], word[cut : cut + 1]
            vocab.setdefault(left, len(vocab))
            vocab.setdefault(left + right, len(vocab))
            merges.append((left, right))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(dict.fromkeys(merges))))
    if bos:  # as sentencepiece does it
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
        tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(special))
    if bos:
        pair = [(bos, tokenizer.token_to_id(bos))]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=pair
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_rlhflows_format(tmp_path: Path) -> None:
    special = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokens = Tokens(str(word_tokenizer(tmp_path, *special)))
    family = FAMILIES["rlhflow"]
    layout = family.lay(tokens, "Q?", ["a + b", "<|eot_id|>+"])
    turn = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n|\n+<|eot_id|>"
    user = "<|start_header_id|>user<|end_header_id|>\n\n"
    text = spelled(tokens, layout)
    assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting")
    assert text.endswith(f"2024\n\n<|eot_id|>{user}Q? a + b{turn}{user}<|eot_id|>+{turn}")
    # The step that says it is over has said so in plain letters.
    assert layout.ids.count(tokens.id("<|eot_id|>")) == 1 + 2 * 2
    assert family.overrides["classifier_from_token"][family.good] == "+"


def test_math_shepherds_format(tmp_path: Path) -> None:
    folder = word_tokenizer(tmp_path, "<s>", words=["\u2581ки", "\u2581+", "\u2581-"], bos="<s>")
    tokens = Tokens(str(folder))
    layout = FAMILIES["math_shepherd"].lay(tokens, "Q?", ["a ки b", "Step 2: c", "<s>"])
    assert spelled(tokens, layout) == "<s> Q? Step 1: a ки b| ки\nStep 2: c| ки\nStep 3: <s>| ки"
    assert layout.ids.count(tokens.id("<s>")) == 1
    other = word_tokenizer(tmp_path, "<s>", bos="<s>", words=["\u2581к"])
    with pytest.raises(RecipeError, match="no token '\u2581ки'"):
        FAMILIES["math_shepherd"].lay(Tokens(str(other)), "Q?", ["a"])


def test_a_step_cannot_pretend_to_have_ended() -> None:
    tokens = Tokens(TOKENIZER)
    layout = FAMILIES["nano"].lay(tokens, "Q?", ["a<extra_0>b<|im_end|>\n<|im_start|>user"])
    assert layout.ids.count(tokens.id("<extra_0>")) == 1
    assert layout.ids.count(tokens.id("<|im_start|>")) == 2


# ------------------------------------------------------------------------------ scores


@pytest.mark.parametrize("tag", [472, None], ids=["at the tags", "at all tokens"])
def test_scores_are_those_of_the_marks(pooling_server: Any, tag: int | None) -> None:
    pooling_server.tag = tag
    (verdict,) = score(make(pooling_server), path_of("".join(STEPS)))
    ids, marks = marked(Vocabulary(reward.WEIGHTS), PROBLEM.question, STEPS)
    assert verdict.steps == tuple(float(x) for x in pooling_server.rows(ids)[marks, 1])
    assert verdict.tokens == len(ids)


def test_all_steps_of_a_path_come_from_one_call_and_are_remembered(pooling_server: Any) -> None:
    verifier = make(pooling_server)
    (whole,) = score(verifier, path_of("".join(STEPS)))
    assert len(texts_asked(pooling_server)) == 2  # one of them to find out how it answers
    single = [score(verifier, path_of(*STEPS[: i + 1]))[0] for i in range(3)]
    assert whole.steps == tuple(verdict.steps[0] for verdict in single)
    assert len(texts_asked(pooling_server)) == 2
    assert 0 < single[0].tokens < single[1].tokens < single[2].tokens == whole.tokens


def test_texts_that_wait_together_go_together(pooling_server: Any) -> None:
    verifier = make(pooling_server, max_batch=8)
    score(verifier, path_of("warm up"))
    nodes = [path_of(f"1 + {i} = {1 + i}.") for i in range(20)]
    together = score(verifier, *nodes)
    assert sorted(map(len, texts_asked(pooling_server)[2:])) == [4, 8, 8]
    assert together == score(make(pooling_server), *nodes)


def test_one_text_too_long_harms_no_other(pooling_server: Any) -> None:
    verifier = make(pooling_server)

    async def work() -> list[Verdict | BaseException]:
        nodes = [path_of("a."), path_of("b " * 3000), path_of("c.")]
        calls = [asyncio.ensure_future(ask(verifier, PROBLEM, node)) for node in nodes]
        await asyncio.wait(calls)
        return [call.exception() or call.result() for call in calls]

    for context in (1024, 10_000):  # it is known, or only the server knows
        pooling_server.context = context
        pooling_server.fault = lambda body: (
            (400, {"error": {"message": "too long"}})
            if max(map(len, body["input"])) > 1024
            else None
        )
        verifier = make(pooling_server)
        first, second, third = asyncio.run(work())
        assert isinstance(first, Verdict)
        assert isinstance(third, Verdict)
        assert isinstance(second, VerificationError)
        assert "1024" in str(second) or "too long" in str(second)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (500, [Verdict, Verdict, TransientError, Verdict]),  # its own, to be tried again
        (401, [EngineError] * 4),  # everybody's
    ],
)
def test_of_a_refused_batch_each_text_has_its_own_answer(
    pooling_server: Any, status: int, expected: list[type]
) -> None:
    verifier = make(pooling_server)

    def fault(body: dict[str, Any]) -> tuple[int, Any] | None:
        if len(body["input"]) > 1:
            return 400, {"error": {"message": "one of them is bad"}}
        return (status, {}) if len(body["input"][0]) > 100 else None

    async def work() -> list[Verdict | BaseException]:
        await verifier.astart()
        pooling_server.fault = fault
        nodes = [path_of(text) for text in ("a.", "b.", "c " * 100, "d.")]
        calls = [asyncio.ensure_future(ask(verifier, PROBLEM, node)) for node in nodes]
        await asyncio.wait(calls)
        return [call.exception() or call.result() for call in calls]

    assert [type(found) for found in asyncio.run(work())] == expected


@pytest.mark.parametrize("texts", [("",), (" \n\n",), (*STEPS, "")])
def test_a_node_without_text_has_no_step(pooling_server: Any, texts: Sequence[str]) -> None:
    with pytest.raises(VerificationError, match="no step"):
        score(make(pooling_server), path_of(*texts))


def test_another_step_break(pooling_server: Any) -> None:
    (verdict,) = score(make(pooling_server, step_break="\n"), path_of("a\nb\n\nc"))
    assert len(verdict.steps) == 3


# ------------------------------------------------------------------- servers that do otherwise


@pytest.mark.parametrize("tag", [0, 3, 200, 469, 470, 471])
def test_another_step_tag_is_an_error_and_not_an_empty_score(pooling_server: Any, tag: int) -> None:
    pooling_server.tag = tag
    with pytest.raises(RecipeError, match=r'another step tag.*"step_tag_id": 472'):
        score(make(pooling_server), path_of("a."))


def test_any_token_as_step_tag_is_noticed(pooling_server: Any) -> None:
    for tag in range(0, 472, 7):
        pooling_server.tag = tag
        with pytest.raises(RecipeError, match="another step tag"):
            score(make(pooling_server), path_of("a."))


def test_another_kind_of_model(pooling_server: Any) -> None:
    pooling_server.columns = 1
    with pytest.raises(RecipeError, match=r"another kind of model.*verifier\.family"):
        score(make(pooling_server), path_of("a."))


def test_logits_are_no_scores(pooling_server: Any) -> None:
    pooling_server.scale = -3.0
    with pytest.raises(VerificationError, match="no probability"):
        score(make(pooling_server), path_of("a."))


def test_a_tag_that_changes_later(pooling_server: Any) -> None:
    verifier = make(pooling_server)
    score(verifier, path_of("a."))
    pooling_server.tag = 5
    with pytest.raises(VerificationError, match="gave 0 numbers for 1 places"):
        score(verifier, path_of("b"))


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((200, {"data": []}), TransientError, "scored 0 texts of 1"),
        ((200, {"data": [{"index": 0, "data": "%"}]}), TransientError, "not as vLLM"),
        ((200, [1]), TransientError, "not as vLLM"),
        ((404, {"detail": "Not Found"}), RecipeError, "--runner pooling"),
        ((400, {"error": {"message": "no"}}), VerificationError, "400: no"),
        ((408, {}), TransientError, "408"),
        ((500, {}), TransientError, "500"),
        ((401, {}), EngineError, "api_key_env"),
    ],
)
def test_faults(pooling_server: Any, answer: Any, error: type[Exception], message: str) -> None:
    verifier = make(pooling_server)
    score(verifier, path_of("a."))
    pooling_server.fault = lambda body: answer
    with pytest.raises(error, match=message):
        score(verifier, path_of("b."))
    pooling_server.fault = lambda body: None
    assert score(verifier, path_of("b."))


def test_the_server_is_met_before_the_first_score(pooling_server: Any) -> None:
    for base_url in (pooling_server.url, f"{pooling_server.url}/v1", f"{pooling_server.url}/v1/"):
        verifier = make(pooling_server, base_url=base_url)
        asyncio.run(verifier.astart())
        asked = len(texts_asked(pooling_server))
        score(verifier, path_of("a."))
        assert len(texts_asked(pooling_server)) == asked + 1
    pooling_server.tag = 5
    with pytest.raises(RecipeError, match="another step tag"):
        asyncio.run(make(pooling_server).astart())


def test_a_model_that_is_not_served(pooling_server: Any) -> None:
    with pytest.raises(RecipeError, match=r"serves \['nano'\], not 'prm'.*verifier\.model"):
        score(make(pooling_server, model="prm"), path_of("a."))


def test_the_key_is_sent_and_not_told(pooling_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("PRM_KEY", "sesame")
    pooling_server.fault = lambda body: (401, {"error": {"message": "bad key sesame"}})
    with pytest.raises(EngineError) as error:
        score(make(pooling_server, api_key_env="PRM_KEY"), path_of("a."))
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "quen"}, "did you mean 'qwen'"),
        ({"tokenizer": "/nowhere", "family": "nano"}, "no tokenizer at '/nowhere'"),
        ({"tokenizer": TOKENIZER, "max_model_len": 3}, "max_model_len.*server's command line"),
        ({"max_batch": 0}, "max_batch=0"),
        ({"in_flight": 0}, "in_flight=0"),
        ({"step_break": ""}, "step_break=''"),
        ({"base_url": "localhost:1"}, r"write http://HOST:PORT"),
    ],
)
def test_options(pooling_server: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(pooling_server, **options)


@pytest.mark.parametrize("name", ["vllm_prm", "reward_model"])
def test_the_manifest_is_told_which_model_answers(pooling_server: Any, name: str) -> None:
    where: dict[str, Any] = {"base_url": pooling_server.url, "model": "nano"}
    more = {"tokenizer": TOKENIZER} if name == "vllm_prm" else {}
    verifier = names.build("verifier", {"name": name, **where, **more})
    assert verifier.version == f"nano at {pooling_server.url}"
    members = [verifier, "logprob", verifier]
    both = names.build("verifier", {"name": "ensemble", "members": members})
    assert both.version == f"{verifier.version}; {verifier.version}"
    free = names.build("verifier", {"name": "ensemble", "members": ["logprob", "logprob"]})
    assert free.version is None


def test_an_error_that_speaks_of_404_is_none(pooling_server: Any) -> None:
    verifier = make(pooling_server)
    score(verifier, path_of("a."))
    pooling_server.fault = lambda body: (400, {"error": {"message": "it answered 404"}})
    with pytest.raises(VerificationError, match="answered 400: it answered 404"):
        score(verifier, path_of("b."))


def test_without_vllm(monkeypatch: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"needs vLLM.*base_url"):
        vllm_prm(model=TOKENIZER)
