"""What was found out of a server, in words: for `check`, the manifest, and readers of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning.backends.openai import fields
from reasoning.backends.openai.request import Abilities
from reasoning.http.refusal import ONE_AT_A_TIME

_MODES = {
    "tokens": "token ids to /completions: prefixes are found in the cache",
    "text": "text to /completions",
    "chat": "/chat/completions",
}
_NATIVE = "token ids to /generate: prefixes are found in the cache"


def facts(able: Abilities, urls: Sequence[str], model: str, build: str) -> dict[str, str]:
    """What the server can do, as far as it was asked. `build` is what its answers say of it."""
    found = able.found
    named = f"{model}, {able.context:,} tokens" if able.context else model
    out = {
        "server": ", ".join(urls),
        "model": named if able.listed else f"{named}, which the server does not list",
        "engine": able.engine or (f"not told, build {build}" if build else "not told"),
        "paths": _NATIVE if able.native else _MODES[able.mode],
    }
    if "steps" in found:
        out["step search"] = _steps(able)
    if able.thinks:
        out["thoughts"] = "set apart by the server"
    out |= {
        "stop strings": _stops(able),
        "tokens generated": "counted" if able.counts or able.logprobs else "estimated here",
        "streams": "yes" if able.streams else "no: cancelled calls cannot be metered",
    }
    if "budget" in found:
        out["bound on thinking"] = (
            "the server's" if able.budgets else "kept here: the end is written"
        )
    if "fields" in found:
        out["fields of sampling"] = fields.in_words(able)
        out["not known there"] = fields.not_in_words(able)
    out["refused there"] = ", ".join(sorted(able.refused)) or "none"
    out["log-probabilities"] = _logprobs(able)
    if "likelihood" in found:
        out["likelihood of given text"] = "yes" if able.scores else "no"
    if able.seeds is not None:
        out["seeds"] = _seeds(able)
        if not able.seeds.at_once:
            out["calls at once"] = "one: the server breaks an answer off when another call comes"
    return out


def notes(able: Abilities | None, url: str, *, broken: bool) -> list[str]:
    """What a reader of the numbers has to know."""
    found = []
    if able is not None and able.seeds is not None and not able.seeds.differ:
        found.append(
            f"the server at {url} says the same whatever the seed, hot as well: there is no "
            "diversity to choose from. transformers serve does so unless the checkpoint's "
            "generation_config.json says do_sample: true"
        )
    if able is not None and not (able.counts or able.logprobs):
        found.append(f"the server at {url} does not count tokens: they are estimated")
    if broken or (able is not None and able.seeds is not None and not able.seeds.at_once):
        found.append(
            f"the server at {url} broke answers off when other calls came, and got fewer at once "
            f"from then on; {ONE_AT_A_TIME}"
        )
    return found


def _steps(able: Abilities) -> str:
    if not able.continues:
        why = "it does not go on from an open thought" if able.thinks else "it starts afresh"
        return f"no: {why}"
    return "yes, thoughts stay open between steps" if able.goes_on is not None else "yes"


def _stops(able: Abilities) -> str:
    if not able.stops:
        return "cut here"
    return "the server's, one at a time; several are cut here" if able.few_stops else "the server's"


def _logprobs(able: Abilities) -> str:
    if not able.logprobs:
        return "no"
    short = able.seeds is not None and able.seeds.ends is False
    return "yes, but for the token that ends an answer" if short else "yes"


def _seeds(able: Abilities) -> str:
    seeds = able.seeds
    assert seeds is not None, "they are told of once they were asked about"
    if not seeds.differ:
        return "no diversity: whatever the seed, the text is the same"
    return "the same one gives the same answer" if seeds.repeat else "they do not repeat an answer"
