"""Which strategies of a run make one curve: those that differ in how much they may compute."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

KNOBS = frozenset(
    (
        "attempts", "beam", "beams", "budget", "calls", "children", "depth", "drafts",
        "expansions", "generated_tokens", "goals", "iterations", "k", "lookahead", "m",
        "max_steps", "max_tokens", "money", "n", "particles", "rollouts", "rounds", "samples",
        "seconds", "simulations", "subtrees", "sweeps", "thinking_tokens", "tokens", "top",
        "verifier_calls", "waits", "width",
    )
)  # fmt: skip
"""Parameters and limits that buy accuracy for compute. Points are joined along one of these only:
between two temperatures, say, there is nothing to read off."""

_PART = re.compile(r"-(?P<key>[A-Za-z_]\w*)=(?P<value>-?[\d.][\w.+]*)(?=-|$)")
"""The -n=16 of a strategy's name."""


def families(names: Iterable[str]) -> dict[str, str]:
    """The curve that each strategy is a point of, by the strategy's name.

    A curve is named like its strategies without the knob it is drawn along. Where several knobs
    vary, that is the one with most values (of equals, the first in the names); the others, and all
    that is no knob, make separate curves.
    """
    names = list(dict.fromkeys(names))
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[_without(name, KNOBS)].append(name)
    found: dict[str, str] = {}
    for members in alike.values():
        values: dict[str, set[str | None]] = {}
        settings = [dict(_PART.findall(name)) for name in members]
        for key in dict.fromkeys(key for setting in settings for key in setting if key in KNOBS):
            values[key] = {setting.get(key) for setting in settings}
        along = max(values, key=lambda key: len(values[key]), default=None)
        kept = {key for key in values if len(values[key]) > 1 and key != along}
        found |= {name: _without(name, KNOBS - kept) for name in members}
    return {name: found[name] for name in names}


def _without(name: str, keys: Iterable[str]) -> str:
    keys = frozenset(keys)
    return _PART.sub(lambda part: "" if part["key"] in keys else part[0], name) or name
