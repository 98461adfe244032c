"""Text and token ids agree, wherever a path is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from reasoning.backends.nano import WEIGHTS
from reasoning.backends.token_ids import priority, text_of
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.tree import RolloutTree, Sample

TOKENIZER: Any = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
QUESTION: list[int] = TOKENIZER.encode("<|im_start|>user\nWhat?<|im_end|>\n").ids
TEXTS = st.text(st.sampled_from("ab \n12é→😀🙂\ufffd"), min_size=1, max_size=30)


def decode(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids))


def encode(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False).ids)


def texts(ids: list[int], cuts: set[int]) -> list[str]:
    """The texts of calls that produce the ids piece by piece."""
    ends = [*sorted({cut % len(ids) for cut in cuts} - {0}), len(ids)]
    found, start = [], 0
    for end in ends:
        before = [*QUESTION, *ids[:start]]
        found.append(text_of(decode, before, ids[start:end], ended=end == len(ids)))
        start = end
    return found


@given(TEXTS, st.sets(st.integers(0, 100)))
def test_the_texts_of_a_path_add_up(text: str, cuts: set[int]) -> None:
    assert "".join(texts(encode(text), cuts)) == text


@given(TEXTS, st.integers(1, 20))
def test_also_token_by_token_with_bytes_that_are_no_text(text: str, garbage: int) -> None:
    ids = [*encode("😀")[:1] * garbage, *encode(text)]
    assert "".join(texts(ids, set(range(len(ids))))) == decode(ids)


def test_a_character_belongs_to_the_call_that_completes_it() -> None:
    ids = encode("a 😀 b")
    cut = len(encode("a ")) + 1
    assert decode(ids[:cut]).endswith("\ufffd")  # or the tokenizer has the character in one piece
    assert texts(ids, {cut}) == ["a ", "😀 b"]
    assert text_of(decode, QUESTION, ids[:cut], ended=True) == decode(ids[:cut])


def test_context_that_shows_nothing_is_looked_past() -> None:
    broken = encode("😀")[:1] * 20
    assert text_of(decode, [*QUESTION, *broken], encode(" b"), ended=True).endswith("\ufffd b")
    assert texts([*encode("a"), *broken, *encode(" b")], {1, 21}) == ["a", "", "\ufffd" * 20 + " b"]


def test_what_is_urgent_goes_first_and_else_what_is_deep() -> None:
    problem, tree = Problem("p", "1 + 1"), RolloutTree("p")
    deep = tree.add(tree.root, 0, Sample("a"))
    found = [
        priority(Prompt(problem, node, 0, urgency=urgency))
        for node, urgency in ((tree.root, 2.5), (deep, None), (tree.root, 0.0004), (deep, -0.5))
    ]
    assert found == sorted(found) == [pytest.approx(-2500), -1000, 0, 500]
