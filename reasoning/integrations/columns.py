"""The columns of exported tables, each with what it holds: one place for code and page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from reasoning.usage import Usage

Kind: TypeAlias = Literal["text", "whole", "number", "truth", "texts", "numbers", "scores"]
"""`scores` is a list with, for each verifier, its name and one number a step."""


@dataclass(frozen=True, slots=True)
class Column:
    """Every column may be empty: what is not known is never 0."""

    name: str
    kind: Kind
    meaning: str


_PLACE = (
    Column("run", "text", "the folder of the run, by its last name"),
    Column("problem", "text", "the problem's id"),
    Column("strategy", "text", "the strategy's name in the run"),
)
_ASKED = (
    Column("question", "text", "empty where the task withholds it"),
    Column("gold", "text", "the data set's answer"),
)

SAMPLES: Sequence[Column] = (
    *_PLACE,
    Column("slot", "whole", "0, 1, ...: the samples of a problem in the order of their paths"),
    Column("path", "text", "where the sample ends in the rollout tree, as 0.3.1"),
    *_ASKED,
    Column(
        "text", "text", "the whole text; empty where the tree is lost, or the task withholds it"
    ),
    Column("finish", "text", "how it ended: end, stop, length, cancelled, failed, written"),
    Column("candidate", "truth", "whether the strategy put it forward"),
    Column("chosen", "truth", "whether it is the one that was chosen"),
    Column("answer", "text", "of a candidate, as it is spelled"),
    Column("key", "text", "of a candidate: equal answers have one key"),
    Column("correct", "truth", "of a candidate; empty where nobody can tell"),
    Column("weight", "number", "of a candidate in a vote"),
    Column("rank", "number", "of a candidate, as the strategy ranks it"),
    Column("model", "text", "who was asked, empty for the one that is asked by default"),
    Column("tokens", "whole", "generated along its path; paths share their beginning"),
    Column("new_tokens", "whole", "those of them that no earlier row of the problem counts"),
    Column("prompt_tokens", "whole", "of its last call"),
    Column("cached_tokens", "whole", "of those, found in a cache"),
    Column("logprob", "number", "sum over its tokens, in nats; empty where one is not known"),
    Column("steps", "numbers", "scores of its steps by the strategy's verifier"),
    Column("scores", "scores", "scores of its steps by every verifier"),
)
"""One row a sample: each path of the rollout tree that ends, and each candidate."""

LOGPROBS = Column("logprobs", "numbers", "of every token, in nats; with --logprobs")

_UNITS = {"money": "in the unit of the prices", "seconds": "on the clock of the search"}
_LOST = {"unknown_prompts": "cancelled and failed calls whose prompts are in no count"}
RESULTS: Sequence[Column] = (
    *_PLACE,
    *_ASKED,
    Column("answer", "text", "what was answered; empty for no answer"),
    Column("correct", "truth", "empty where nobody can tell"),
    Column("confidence", "number", "from 0 to 1, where the strategy has one"),
    Column("stop_reason", "text", "finished, failed, or the limit that ended it"),
    Column("candidates", "whole", "how many samples were put forward"),
    *(
        Column(
            f.name,
            "number" if f.name in _UNITS else "whole",
            _LOST.get(
                f.name, f"spent on it, {_UNITS[f.name]}" if f.name in _UNITS else "spent on it"
            ),
        )
        for f in fields(Usage)
        if f.name != "models"
    ),
    Column("failures", "texts", "what went wrong"),
    Column("meta", "text", "labels of the problem, as JSON"),
)
"""One row a problem and strategy."""

_WORDS = {
    "text": "text",
    "whole": "whole number",
    "number": "number",
    "truth": "true or false",
    "texts": "list of texts",
    "numbers": "list of numbers",
    "scores": "list of verifier and steps",
}


def markdown() -> str:
    """The tables of docs/integrations/export.md."""
    blocks = []
    for name, columns in (("samples", (*SAMPLES, LOGPROBS)), ("results", RESULTS)):
        rows = [f"| `{c.name}` | {_WORDS[c.kind]} | {c.meaning} |" for c in columns]
        head = f"### {name}\n\n| column | holds | meaning |\n|---|---|---|\n"
        blocks.append(head + "\n".join(rows))
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
