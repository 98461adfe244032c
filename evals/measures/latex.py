"""A table for a paper: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from evals.report.text import one_line

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
}  # fmt: skip


def escaped(text: str) -> str:
    """`text` on one line, with nothing in it that LaTeX would act on."""
    return "".join(_SPECIAL.get(sign, sign) for sign in one_line(text, 1_000))


def tabular(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A `table` of these cells; the first column is set left, the others right."""
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in (head, *rows)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
