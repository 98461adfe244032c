"""What may be said at all: one of some texts, or what a regular expression or JSON schema takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reasoning.backends.nano.text import Vocabulary
from reasoning.errors import RecipeError
from reasoning.generate import Sampling


class Bound(Protocol):
    """What one call may say; it may end where the text is complete."""

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens [V] may come next."""

    def advance(self, token: int) -> None:
        """Go on behind `token`, which was allowed."""


class Choice:
    """One of some texts, token by token: any tokens that spell one of them will do."""

    def __init__(
        self, choice: Sequence[str], text: Vocabulary, ends: frozenset[int], vocabulary: int
    ) -> None:
        self._choice = [item.encode() for item in choice]
        self._text = text
        self._ends = ends
        self._size = vocabulary
        self._said = b""

    def allowed(self) -> NDArray[np.bool_]:
        mask = np.zeros(self._size, bool)
        for item in self._choice:
            if not item.startswith(self._said):
                continue
            rest = item[len(self._said) :]
            if not rest:
                mask[list(self._ends)] = True
            for size in range(1, len(rest) + 1):
                mask[self._text.spelled(rest[:size])] = True
        return mask

    def advance(self, token: int) -> None:
        self._said += self._text.piece(token)


class Grammar:
    """What a grammar takes, by llguidance, which knows what tokens fit into what is begun."""

    def __init__(self, matcher: Any, ends: frozenset[int], vocabulary: int) -> None:
        self._matcher = matcher
        self._ends = list(ends)
        self._size = vocabulary

    def allowed(self) -> NDArray[np.bool_]:
        if self._matcher.is_stopped():
            mask = np.zeros(self._size, bool)
            mask[self._ends] = True
            return mask
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little", count=self._size).astype(bool)

    def advance(self, token: int) -> None:
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


class Bounds:
    """The bounds that calls of one checkpoint ask for."""

    def __init__(
        self, folder: Path, text: Vocabulary, ends: frozenset[int], vocabulary: int
    ) -> None:
        self._folder = folder
        self._text = text
        self._ends = ends
        self._size = vocabulary
        self._grammar = lru_cache(maxsize=256)(self._checked)
        self._tokenizer: Any = None  # made when it is first asked for

    def of(self, params: Sampling) -> Bound | None:
        """A fresh one; None where everything may be said. Raises RecipeError."""
        if params.choice:
            return Choice(params.choice, self._text, self._ends, self._size)
        if params.regex is None and params.json_schema is None:
            return None
        tokenizer, grammar = self._grammar(*_source(params.regex, params.json_schema))
        return Grammar(_llguidance().LLMatcher(tokenizer, grammar), self._ends, self._size)

    def _checked(self, field: str, source: str) -> tuple[Any, str]:
        matcher = _llguidance().LLMatcher
        make = matcher.grammar_from_regex if field == "regex" else matcher.grammar_from_json_schema
        if self._tokenizer is None:
            raw = (self._folder / "tokenizer.json").read_text(encoding="utf-8")
            self._tokenizer = _llguidance().LLTokenizer(
                raw, n_vocab=self._size, eos_token=sorted(self._ends)
            )
        grammar, tokenizer = make(source), self._tokenizer
        if wrong := matcher.validate_grammar(grammar, tokenizer):
            raise RecipeError(f"sampling.{field} cannot be used: {' '.join(wrong.split())}")
        return tokenizer, grammar


def _source(regex: str | None, schema: Mapping[str, Any] | None) -> tuple[str, str]:
    return ("json_schema", json.dumps(schema)) if regex is None else ("regex", regex)


def _llguidance() -> Any:
    try:
        import llguidance
    except ImportError:
        raise RecipeError(
            "nano binds its answers to sampling.regex and sampling.json_schema by llguidance, "
            "which is not installed: pip install 'reasoning[structured]' (sampling.choice needs "
            "nothing)"
        ) from None
    return llguidance
