"""The rollout tree: append-only, cheap to fork, and the same after any storage."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.errors import StoreError
from reasoning.problem import Message
from reasoning.seeds import fold
from reasoning.tree import Node, RolloutTree, Sample, TopLogprobs, Turn

# Any text a model can write, and lone surrogates; a high one before a low one is a character
# that somebody cut in two, and JSON joins it again.
texts = st.text(st.characters() | st.sampled_from("\ud800\udbff\x00\x1c\x85\u2028\u2029\r\n"))
numbers = st.floats(allow_nan=False, width=32)
samples = st.builds(
    Sample,
    text=texts,
    token_ids=st.none() | st.lists(st.integers(0, 2**31), max_size=3).map(tuple),
    finish=st.sampled_from(["end", "stop", "length", "cancelled", "failed"]),
    prompt_tokens=st.integers(0, 9),
    cached_tokens=st.integers(0, 9),
    generated_tokens=st.integers(0, 9),
    info=st.none() | st.dictionaries(texts, texts, min_size=1, max_size=2),
)


messages = st.builds(Message, st.sampled_from(["user", "assistant", "system"]), texts)
turns = st.none() | st.builds(
    Turn, st.lists(messages, min_size=1, max_size=3).map(tuple), st.booleans()
)
sources = st.lists(st.lists(st.integers(0, 9), max_size=3).map(tuple), max_size=2).map(tuple)
AGAIN = Turn.user("try again", afresh=True)


@st.composite
def trees(draw: st.DrawFn) -> RolloutTree:
    tree = RolloutTree(draw(texts), draw(st.integers(-5, 2**63)))
    nodes = [tree.root]
    for sample in draw(st.lists(samples, max_size=6)):
        parent = nodes[draw(st.integers(0, len(nodes) - 1))]
        filled = {child.slot for child in parent.children}
        slot = draw(st.integers(0, 20).filter(lambda i, filled=filled: i not in filled))
        node = tree.add(parent, slot, sample, draw(turns), draw(sources))
        node.scores = draw(
            st.dictionaries(texts, st.lists(numbers, max_size=2).map(tuple), max_size=2)
        )
        node.emitted = draw(st.none() | st.tuples(numbers, numbers))
        nodes.append(node)
    return tree


def facts(node: Node) -> tuple[object, ...]:
    return (node.path, node.key, node.sample, node.scores, node.emitted, node.turn, node.sources)


@settings(max_examples=40)
@given(trees())
def test_round_trip(tree: RolloutTree) -> None:
    text = tree.to_jsonl()
    assert text.isascii()
    assert len(text.splitlines()) == len(tree) + 1
    for lines in (text, text.splitlines(), text.splitlines(keepends=True), text.split("\n")[:-1]):
        again = RolloutTree.from_jsonl(lines)
        assert (again.problem_id, again.seed) == (tree.problem_id, tree.seed)
        assert [facts(node) for node in again] == [facts(node) for node in tree]
        assert again.to_jsonl() == text


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    tree = RolloutTree("p")
    tree.add(tree.root, 0, Sample("a\u2028b\ud800\r\n"))
    file = tmp_path / "tree.jsonl"
    file.write_text(tree.to_jsonl(), encoding="utf-8")
    assert RolloutTree.load(file).to_jsonl() == tree.to_jsonl()


def test_arrays_survive_rounded_or_exact() -> None:
    logprobs = np.asarray([-0.123456789, -12.5], dtype=np.float32)
    sample = Sample("a b", logprobs=logprobs, confidence=-logprobs, generated_tokens=2)
    exact = Sample.from_json(json.loads(json.dumps(sample.to_json(digits=None))))
    assert exact.logprobs is not None
    assert exact.logprobs.tobytes() == logprobs.tobytes()
    rounded = Sample.from_json(sample.to_json()).logprobs
    assert rounded is not None
    np.testing.assert_allclose(rounded, logprobs, atol=5e-6)
    assert rounded.dtype == np.float32


def test_numpy_counts_are_stored() -> None:
    sample = Sample("a", token_ids=np.asarray([1, 2]), generated_tokens=np.int64(2))  # type: ignore[arg-type]
    assert json.loads(json.dumps(sample.to_json()))["token_ids"] == [1, 2]


def test_filled_slot_is_an_error() -> None:
    tree = RolloutTree("p")
    node = tree.add(tree.root, 2, Sample("a"))
    with pytest.raises(ValueError, match=r"slot 2 below \(\) is filled"):
        tree.add(tree.root, 2, Sample("b"))
    assert tree[(2,)] is node
    assert len(tree) == 1


def test_paths_texts_and_order() -> None:
    tree = RolloutTree("p", 3)
    b = tree.add(tree.root, 5, Sample("b", token_ids=(5,), generated_tokens=1, finish="stop"))
    a = tree.add(tree.root, 1, Sample("a", token_ids=(1,), generated_tokens=1))
    c = tree.add(b, 0, Sample("c", token_ids=(6, 7), generated_tokens=2))
    d = tree.add(b, 1, Sample("d", generated_tokens=4))
    assert [node.path for node in tree] == [(1,), (5,), (5, 0), (5, 1)]
    assert tree.root.children == [a, b]
    assert (c.text, c.token_ids, c.generated_tokens, c.depth) == ("bc", (5, 6, 7), 3, 2)
    assert d.token_ids is None
    assert c.key == fold(fold(fold(3, "p"), 5), 0)
    assert tree.root.token_ids == ()
    with pytest.raises(KeyError, match=r"no node at \(5, 9\)"):
        tree[(5, 9)]


def test_a_node_that_starts_over_forgets_the_text_before() -> None:
    tree = RolloutTree("p")
    a = tree.add(tree.root, 0, Sample("wrong", token_ids=(1,), generated_tokens=1))
    b = tree.add(a, 0, Sample("right, ", token_ids=(2,), generated_tokens=1), AGAIN)
    c = tree.add(b, 0, Sample("really", token_ids=(3,), generated_tokens=1))
    assert (c.text, c.token_ids, c.generated_tokens) == ("right, really", (2, 3), 3)
    a.scores["v"], b.scores["v"], c.scores["v"] = (0.1,), (0.2, 0.3), (0.4,)
    assert c.step_scores("v") == (0.2, 0.3, 0.4)
    assert RolloutTree.from_jsonl(tree.to_jsonl())[(0, 0)].turn == AGAIN
    assert (a.head, b.head, c.head, tree.root.head) == (a, b, b, None)


def test_trees_of_the_first_version_are_read() -> None:
    old = '{"problem": "p", "seed": 0}\n{"path": [0], "text": "a", "message": "try again"}\n'
    assert RolloutTree.from_jsonl(old)[(0,)].turn == AGAIN


def test_tokens_of_thoughts_add_up() -> None:
    def thought(tokens: int | None) -> Sample:
        return Sample("a", info=None if tokens is None else {"thought_tokens": tokens})

    assert (thought(3) + thought(4)).info == {"thought_tokens": 7}
    assert (thought(3) + thought(None)).info == {"thought_tokens": 3}
    assert (thought(None) + thought(None)).info is None


def test_samples_add_up() -> None:
    a = Sample(
        "one ", (1,), np.array([-1.0], np.float32), finish="length", prompt_tokens=5,
        generated_tokens=1, top_logprobs=TopLogprobs((("one ",),), np.array([[-1.0]], np.float32)),
    )  # fmt: skip
    b = Sample(
        "two", (2,), np.array([-2.0], np.float32), finish="end", prompt_tokens=6, cached_tokens=6,
        generated_tokens=1, info={"x": 1},
        top_logprobs=TopLogprobs((("two", "too"),), np.array([[-2.0, -3.0]], np.float32)),
    )  # fmt: skip
    whole = a + b
    assert (whole.text, whole.token_ids, whole.finish) == ("one two", (1, 2), "end")
    assert (whole.prompt_tokens, whole.cached_tokens, whole.generated_tokens) == (11, 6, 2)
    assert whole.logprobs is not None
    assert whole.logprobs.tolist() == [-1.0, -2.0]
    assert whole.top_logprobs is not None
    expected = [{"one ": -1.0}, {"two": -2.0, "too": -3.0}]
    assert [whole.top_logprobs.at(i) for i in (0, 1)] == expected
    again = Sample.from_json(whole.to_json()).top_logprobs
    assert again is not None
    assert [again.at(i) for i in (0, 1)] == [whole.top_logprobs.at(i) for i in (0, 1)]
    assert (a + Sample("x")).logprobs is None  # what only one of them knows


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: [*lines[:2], lines[2][: len(lines[2]) // 2]], 3),
        (lambda lines: ["", *lines], 1),
        (lambda lines: [lines[0], "[]"], 2),
        (lambda lines: [lines[0], '{"path": []}'], 2),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [*lines, lines[1]], 4),
        (lambda lines: ["{}", *lines[1:]], 1),
    ],
    ids=["torn", "blank", "no mapping", "no path", "no parent", "twice", "no header"],
)
def test_damaged_lines_are_named(damage: object, line: int) -> None:
    tree = RolloutTree("p")
    tree.add(tree.add(tree.root, 0, Sample("a")), 0, Sample("b"))
    lines = damage(tree.to_jsonl().splitlines())  # type: ignore[operator]
    with pytest.raises(StoreError, match=f"line {line} of a stored tree is damaged"):
        RolloutTree.from_jsonl(lines)


def test_nothing_is_not_a_tree() -> None:
    with pytest.raises(StoreError, match="empty"):
        RolloutTree.from_jsonl([])


def test_to_networkx() -> None:
    tree = RolloutTree("p", 3)
    a = tree.add(tree.root, 1, Sample("a", finish="stop", generated_tokens=2))
    b = tree.add(a, 0, Sample("b"))
    b.scores["v"], b.emitted = (0.5,), (1.0, 0.0)
    graph = tree.to_networkx()
    assert set(graph.edges) == {((), (1,)), ((1,), (1, 0))}
    assert graph.nodes[(1,)] == {
        "text": "a", "finish": "stop", "tokens": 2, "scores": {}, "emitted": False,
        "model": "", "turn": None,
    }  # fmt: skip
    assert graph.nodes[(1, 0)]["scores"] == {"v": (0.5,)}
    assert graph.nodes[(1, 0)]["emitted"]
    assert graph.graph == {"problem": "p", "seed": 3}
    tree.add(b, 0, Sample("c", model="big"), Turn.user("Sure?"), sources=((1, 0), (1,)))
    graph = tree.to_networkx()
    assert graph.nodes[(1, 0, 0)]["model"] == "big"
    assert graph.nodes[(1, 0, 0)]["turn"]["messages"] == [{"role": "user", "content": "Sure?"}]
    assert graph.edges[(1,), (1, 0, 0)] == {"source": True}
    assert graph.edges[(1, 0), (1, 0, 0)] == {}, "its parent, which it goes on from anyway"


def test_a_deep_chain_costs_as_much_a_node_as_a_shallow_one() -> None:
    def cost(depth: int) -> float:
        tracemalloc.start()
        tree = RolloutTree("p")
        node = tree.root
        for _ in range(depth):
            node = tree.add(node, 0, Sample("step", token_ids=(1,), generated_tokens=1))
        size = tracemalloc.get_traced_memory()[0] / depth
        tracemalloc.stop()
        assert len(node.text) == 4 * depth
        return size

    assert cost(4000) < 1.5 * cost(200)


def test_children_stand_in_slot_order_and_scores_are_a_mapping() -> None:
    """However they came: a slot that is skipped is filled later, a score is changed or dropped."""
    tree = RolloutTree("p")
    for slot in (2, 0, 7, 1):
        tree.add(tree.root, slot, Sample(str(slot)))
    assert [child.slot for child in tree.root.children] == [0, 1, 2, 7]
    assert tree.root.child(3) is None
    with pytest.raises(ValueError, match="slot 2 below"):
        tree.add(tree.root, 2, Sample("again"))
    node = tree[(1,)]
    assert node.key == fold(tree.root.key, 1)
    node.scores["a"], node.scores["b"] = (0.5,), (1.0, 2.0)
    node.scores["a"] = (0.25,)
    assert node.scores == {"a": (0.25,), "b": (1.0, 2.0)}
    assert (node.step_scores("a"), node.step_scores("b")) == ((0.25,), (1.0, 2.0))
    del node.scores["a"]
    with pytest.raises(KeyError):
        node.scores["a"]
    assert (list(node.scores), len(node.scores), "a" in node.scores) == (["b"], 1, False)


def test_samples_are_packed_and_equal_by_what_they_hold() -> None:
    logprobs = np.array([-0.5, -1.5], np.float32)
    a, b = (Sample("x", (1, 2**31 - 1), logprobs.copy()) for _ in range(2))
    assert a == b != Sample("x", (1, 3), logprobs)
    assert a.token_ids == (1, 2**31 - 1)
    assert a.logprobs is not None
    assert a.logprobs.tolist() == [-0.5, -1.5]
    large = Sample("x", (2**40,), np.array([0.1]))
    assert large.token_ids == (2**40,)
    assert large.logprobs is not None
    assert large.logprobs.dtype == np.float64
    assert pickle.loads(pickle.dumps(a)) == a == replace(a)


def test_a_million_nodes_fit() -> None:
    """Bytes a node of eight tokens, with a text and a score of its own."""
    tree = RolloutTree("p")
    nodes = [tree.root]
    tracemalloc.start()
    for i in range(2000):
        ids = tuple(range(1000 * i, 1000 * i + 8))
        sample = Sample(f"step {i}", ids, np.full(8, -0.5, np.float32), generated_tokens=8)
        nodes.append(tree.add(nodes[i // 4], i % 4, sample))
        nodes[-1].scores["v"] = (i / 7,)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept / 2000 < 700


@pytest.mark.parametrize("tokens", [5_000, 10_000, 20_000])
def test_a_tree_is_written_in_small_parts(tokens: int) -> None:
    """However long a sample is, no part takes longer; all parts are what `json.dumps` gives."""
    ones = np.ones(tokens, np.float32)
    tops = TopLogprobs((("a", "b"),) * tokens, np.zeros((tokens, 2), np.float32))
    sample = Sample("é", tuple(range(tokens)), ones, ones, generated_tokens=tokens)
    tree = RolloutTree("p")
    tree.add(tree.root, 0, replace(sample, top_logprobs=tops))
    parts = list(tree.pieces())
    assert max(map(len, parts)) < 50_000
    line = "".join(parts[1:])
    assert line == json.dumps(json.loads(line)) + "\n"
    assert RolloutTree.from_jsonl("".join(parts)).to_jsonl() == "".join(parts)
