"""How many tokens a search has its models read, from its tree: whatever ran before or beside it.

Every distinct prefix counts once, as for an ideal prefix cache that starts empty with the search:
the opening prompt of a conversation once for each model, whatever the model generated not again,
written text, turns and the suffixes of probes with their own new tokens only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[int, ...]

LOST = ("failed", "cancelled", "loop")


class Call(NamedTuple):
    """What a node of a tree says about reading. `prompt` and `generated` are tokens, 0 if unknown.

    `turn` is None where the node goes on with its parent's text, else what it answers; `afresh`
    tells that this is all there is of the conversation. `suffix` stands behind a probe's path.
    """

    path: Path
    finish: str
    prompt: int = 0
    generated: int = 0
    model: str = ""
    turn: str | None = None
    afresh: bool = False
    suffix: str = ""
    text: bool = True


class Seen(NamedTuple):
    """How much of a path a model has processed: `tokens`, and whether that is the `whole` of it."""

    tokens: int
    whole: bool


@dataclass(slots=True)
class _Reading:
    """The tally. `seen` holds, for each node of the tree, what the models have of its path."""

    seen: dict[Path, dict[str, Seen]] = field(default_factory=lambda: {(): {}})
    afresh: dict[tuple[str, str | None], int] = field(default_factory=dict)
    read: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    unknown: set[str] = field(default_factory=set)


def reads(calls: Iterable[Call]) -> dict[str, int | None]:
    """Tokens that each model reads in the tree of `calls`, parents before children.

    None for a model whose prompts are unknown where it matters: at the start of a conversation, and
    where something stands on the path that the model has not generated itself.
    """
    below: dict[Path, list[Call]] = defaultdict(list)
    for call in calls:
        below[call.path[:-1]].append(call)
    tally = _Reading()
    for parent, children in below.items():
        _read(tally, parent, children)
    models = {c.model for group in below.values() for c in group if c.finish != "written"}
    return {m: None if m in tally.unknown else tally.read[m] for m in sorted(models)}


def _read(tally: _Reading, parent: Path, children: Sequence[Call]) -> None:
    """Count what the calls below `parent` read; those of one prompt read it once."""
    prompts: dict[tuple[str, str | None, bool, str], list[Call]] = defaultdict(list)
    for call in children:
        if call.finish != "written":
            prompts[call.model, call.turn, call.afresh, call.suffix].append(call)
    here = tally.seen.setdefault(parent, {})
    # Those that go on with the text as it stands come first: the others read it, and more.
    for key in sorted(prompts, key=lambda key: (key[1] is not None, key[3] != "")):
        model, turn, afresh, suffix = key
        tokens = _prompt(tally, here.get(model, Seen(0, False)), prompts[key])
        if turn is None and not suffix and tokens is not None:
            here[model] = Seen(tokens, True)
        for call in prompts[key]:
            others = {} if afresh else _behind(here)
            tally.seen[call.path] = {**others, model: Seen((tokens or 0) + call.generated, True)}
    for call in children:
        if call.finish == "written":
            same = call.turn is None and not call.text
            passed = dict(here) if same else {} if call.afresh else _behind(here)
            tally.seen[call.path] = passed


def _behind(seen: Mapping[str, Seen]) -> dict[str, Seen]:
    """What the models have of a path once somebody else has gone on with it."""
    return {model: Seen(tokens, False) for model, (tokens, _) in seen.items()}


def _prompt(tally: _Reading, seen: Seen, calls: Sequence[Call]) -> int | None:
    """The length in tokens of the one prompt of `calls`, of which the model has `seen` a part.

    Counts what is new in it. None if that is unknown.
    """
    first = calls[0]
    goes_on = first.turn is None and not first.suffix
    if goes_on and seen.whole:
        return seen.tokens  # nothing new, whatever the server counted around it
    if first.afresh and (known := tally.afresh.get((first.model, first.turn))) is not None:
        return known
    # A call that was taken up again tells the sum of its prompts: the shortest is nearest.
    told = min((call.prompt for call in calls if call.prompt > 0), default=0)
    if not told:
        # Calls that brought nothing have perhaps never been read.
        if any(call.generated or call.finish not in LOST for call in calls):
            tally.unknown.add(first.model)
        return None
    if first.afresh:
        tally.afresh[first.model, first.turn] = told
        new = told
    elif first.turn is not None and told < seen.tokens:
        new = told  # earlier thoughts are left out: another prefix
    else:
        new = max(0, told - seen.tokens)
    tally.read[first.model] += new
    return max(told, seen.tokens) if goes_on else told
