"""A searcher fits on a page: what its function says, comments and docstring aside."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize

import pytest

from reasoning.runs import names

MOST = 40
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def lines_of_code(source: str) -> int:
    """Lines on which there is more than a comment or a docstring."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    told = [token for token in tokens if token.type not in SILENT and token.string]
    lines = {line for t in told for line in range(t.start[0], t.end[0] + 1)}
    return len(lines - docstrings)


def test_lines_are_counted() -> None:
    source = 'def f():\n    """Two\n    lines."""\n    # a comment\n\n    return """1\n2"""\n'
    assert lines_of_code(source) == 3


@pytest.mark.parametrize("name", names.known("searcher"))
def test_a_searcher_fits_on_a_page(name: str) -> None:
    function = inspect.unwrap(names.find("searcher", name))
    assert lines_of_code(textwrap.dedent(inspect.getsource(function))) <= MOST
