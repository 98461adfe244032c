"""Reading a formula whole: from its canonical spelling to a tree, or not at all.

The language is the one that answers are written in: numbers, letters, the four operations, powers,
roots, factorials, binomials, the usual functions, sums and products of a known number of terms.
What lies outside it, or can be read in two ways (1/2x), is `None`, never a part of the formula:
computer algebra is asked then.

A tree is nested tuples: ("number", Fraction), ("variable", name), ("constant", "pi" | "e" | "i"),
or (operation, *arguments).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

Tree: TypeAlias = tuple[Any, ...]

FUNCTIONS = (
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "exp", "ln",
)  # fmt: skip
_GREEK = re.compile(
    "(?:alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|(?:var)?theta|iota|kappa|lambda|mu|nu|xi|rho"
    "|sigma|tau|(?:var)?phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega)\\Z"
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<command>\\[A-Za-z]+)|(?P<letter>[A-Za-z])"
    r"|(?P<sign>[-+*/^_!|(){}\[\]=:']))"
)
_SCIENTIFIC = re.compile(r"[0-9]e[-+]?[0-9]")  # 2e-3 says two things
_DEPTH = 60  # nested brackets; deeper is no answer
_LENGTH = 400  # tokens


class _UnreadableError(Exception):
    """The text is not a formula of this language."""


@lru_cache(maxsize=8192)
def read(text: str) -> Tree | None:
    """The tree of a formula; None where it cannot be read whole and in one way."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    try:
        reader = _Reader(tokens)
        tree = reader.sum()
        return tree if reader.at_end else None
    except _UnreadableError:
        return None


def _tokens(text: str) -> list[str] | None:
    tokens: list[str] = []
    at, text = 0, text.rstrip()
    if _SCIENTIFIC.search(text):
        return None
    while at < len(text):
        if not (found := _TOKEN.match(text, at)) or len(tokens) >= _LENGTH:
            return None
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


class _Reader:
    """Recursive descent over tokens; each method reads one level of the grammar."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._depth = 0
        self._bars = 0  # open |
        self._bound: list[str] = []  # indices of the sums around

    @property
    def next(self) -> str:
        return self._tokens[self._at]

    @property
    def at_end(self) -> bool:
        return self._at == len(self._tokens) - 1

    def take(self) -> str:
        token = self.next
        self._at += 1
        return token

    def expect(self, token: str) -> None:
        if self.at_end or self.take() != token:
            raise _UnreadableError

    def sum(self) -> Tree:
        self._depth += 1
        if self._depth > _DEPTH:
            raise _UnreadableError
        tree = self._signed()
        while self.next in ("+", "-"):
            sign = self.take()
            term = self._product()
            tree = ("add", tree, term if sign == "+" else ("negative", term))
        self._depth -= 1
        return tree

    def _signed(self) -> Tree:
        if self.next in ("+", "-"):
            sign = self.take()
            tree = self._product()
            return tree if sign == "+" else ("negative", tree)
        return self._product()

    def _product(self) -> Tree:
        tree = self._power()
        slash = False
        while True:
            if self.next in ("*", "\\cdot", "\\times"):
                self.take()
                tree, slash = ("multiply", tree, self._factor()), False
            elif self.next in ("/", "\\div"):
                self.take()
                tree, slash = ("divide", tree, self._factor()), True
            elif self._starts_factor():
                if slash or self.next[0].isdigit():  # 1/2x, and 3 4, say two things
                    raise _UnreadableError
                tree = ("multiply", tree, self._power())
            else:
                return tree

    def _factor(self) -> Tree:
        """A factor after a sign of multiplication, which may have a sign of its own."""
        if self.next == "-":
            self.take()
            return ("negative", self._power())
        return self._power()

    def _starts_factor(self) -> bool:
        token = self.next
        if token == "|":
            return not self._bars
        return bool(token) and (
            token[0].isalnum()
            or token in ("(", "{", "[")
            or (token[0] == "\\" and token not in ("\\cdot", "\\times", "\\div"))
        )

    def _power(self) -> Tree:
        base = self._postfix(self._atom())
        if self.next != "^":
            return base
        self.take()
        tree = ("power", base, self._exponent())
        inverse = self.next == "(" and base[0] == "variable" and str(base[1])[0] in "fghFGH"
        if self.next == "^" or inverse:  # f^{-1}(x), f^2(x)
            raise _UnreadableError
        return self._postfix(tree)

    def _postfix(self, tree: Tree) -> Tree:
        while self.next == "!":
            self.take()
            if self.next == "!":  # a double factorial
                raise _UnreadableError
            tree = ("factorial", tree)
        return tree

    def _exponent(self) -> Tree:
        if self.next == "-":
            self.take()
            return ("negative", self._exponent())
        if self.next[:1].isdigit():  # x^23 is said by x^{23}: in LaTeX the 3 is no exponent
            return ("number", Fraction(self.take()))
        return self._atom()

    def _atom(self) -> Tree:
        token = self.take()
        if not token:
            raise _UnreadableError
        if token[0].isdigit():
            return self._number(token)
        if token in ("(", "{", "["):
            tree = self.sum()
            self.expect({"(": ")", "{": "}", "[": "]"}[token])
            return tree
        if token == "|":
            self._bars += 1
            tree = self.sum()
            self.expect("|")
            self._bars -= 1
            return ("abs", tree)
        if token.isalpha():
            return self._letter(token)
        if token[0] == "\\":
            return self._command(token[1:])
        raise _UnreadableError

    def _number(self, token: str) -> Tree:
        tree: Tree = ("number", Fraction(token))
        if self.next == "\\frac" and "." not in token:
            saved = self._at
            part = self._power()
            if part[0] == "divide" and part[1][0] == part[2][0] == "number":
                return ("add", tree, part)  # a mixed number
            self._at = saved
        return tree

    def _letter(self, token: str) -> Tree:
        if token in "ei" and self.next != "_" and token not in self._bound:
            if self.next == "'":
                raise _UnreadableError
            return ("constant", token)
        return self._variable(token)

    def _variable(self, name: str) -> Tree:
        if self.next == "_":
            self.take()
            name += "_" + self._subscript()
        if self.next == "'" or (self.next == "(" and name[0] in "fghFGHPpT"):
            raise _UnreadableError  # a derivative, or a function's value
        return ("variable", name)

    def _subscript(self) -> str:
        token = self.take()
        if token.isalnum():
            return token
        if token != "{":
            raise _UnreadableError
        parts = []
        while self.next != "}":
            part = self.take()
            if not part.isalnum():  # a_{n-1}: its index may be that of a sum
                raise _UnreadableError
            parts.append(part)
        self.take()
        return "".join(parts)

    def _command(self, name: str) -> Tree:
        if name == "pi":
            return ("constant", "pi")
        if _GREEK.match(name):
            return self._variable("\\" + name)
        if name in ("frac", "binom"):
            first, second = self._group(), self._group()
            return ("divide" if name == "frac" else "binomial", first, second)
        if name == "sqrt":
            return self._root()
        if name in FUNCTIONS or name == "log":
            return self._function(name)
        if name in ("sum", "prod"):
            return self._series(name)
        raise _UnreadableError

    def _group(self) -> Tree:
        self.expect("{")
        tree = self.sum()
        self.expect("}")
        return tree

    def _root(self) -> Tree:
        degree: Tree = ("number", Fraction(2))
        if self.next == "[":
            self.take()
            degree = self.sum()
            self.expect("]")
        return ("root", degree, self._group())

    def _function(self, name: str) -> Tree:
        base: Tree | None = ("number", Fraction(10)) if name == "log" else None
        power: Tree | None = None
        if name == "log" and self.next == "_":
            self.take()
            base = self._atom()
        if self.next == "^":
            self.take()
            power = self._exponent()
            if power[0] != "number":  # \sin^{-1} is a name
                if power != ("negative", ("number", Fraction(1))) or name not in FUNCTIONS[:3]:
                    raise _UnreadableError
                name, power = "arc" + name, None
        argument = self._argument()
        tree: Tree = ("log", base, argument) if base else (name, argument)
        return ("power", tree, power) if power else tree

    def _argument(self) -> Tree:
        """What a function is of: a bracket, or the factors up to a sign or the next function."""
        if self.next in ("(", "{", "[", "|"):
            bracket = self.next
            tree = self._atom()
            if self.next in ("^", "!") or (bracket == "{" and self._starts_factor()):
                raise _UnreadableError  # \sin(x)^2
            return tree
        tree = self._power()
        while self._starts_factor():
            if self.next in ("(", "[") or self.next[1:] in (*FUNCTIONS, "log"):
                break
            if self.next in ("\\sqrt", "\\sum", "\\prod", "\\binom") or self.next[0].isdigit():
                raise _UnreadableError
            tree = ("multiply", tree, self._power())
        if self.next in ("*", "\\cdot", "\\times", "/", "\\div", "("):
            raise _UnreadableError  # \ln 2 \cdot 3
        return tree

    def _series(self, name: str) -> Tree:
        self.expect("_")
        self.expect("{")
        index = self.take()
        if not index.isalpha() or len(index) != 1:
            raise _UnreadableError
        self.expect("=")
        first = self.sum()
        self.expect("}")
        self.expect("^")
        last = self._exponent()
        self._bound.append(index)
        body = self._product()
        self._bound.pop()
        if self._under(index, body):
            raise _UnreadableError
        return (name, index, first, last, body)

    def _under(self, index: str, tree: Tree) -> bool:
        """Whether a subscript speaks of the index: a_k is another letter for each k."""
        if tree[0] == "variable":
            return index in str(tree[1]).partition("_")[2]
        return any(isinstance(part, tuple) and self._under(index, part) for part in tree)


@lru_cache(maxsize=8192)
def variables(tree: Tree) -> frozenset[str]:
    """The free variables of a tree."""
    if tree[0] == "variable":
        return frozenset((str(tree[1]),))
    parts = [variables(part) for part in tree if isinstance(part, tuple)]
    found = frozenset().union(*parts)
    return found - {tree[1]} if tree[0] in ("sum", "prod") else found
