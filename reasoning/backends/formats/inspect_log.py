"""Logs of inspect_ai (`.eval`, `.json`), read by its own library: `pip install inspect_ai`.

An epoch of a sample is one of ours; thoughts stand before the text as `<think>...</think>`. Of a
score only what says right or wrong is kept (C, I, 1, 0), of the first scorer that says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning.backends.formats.lines import Tell
from reasoning.errors import RecipeError

_CUT = ("max_tokens", "model_length")
_RIGHT = {"C": True, "I": False, "P": False, "N": False}
_SETTINGS = ("temperature", "top_p", "max_tokens")


def rows(files: list[Path], tell: Tell) -> Iterator[dict[str, Any]]:
    """A row for each sample and epoch, by epoch within a log; those of one sample share its id."""
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise RecipeError(
            f"{files[0]} is a log of inspect_ai, which its own library reads: "
            'pip install "reasoning[inspect]"'
        ) from error
    for file in files:
        try:
            log = read_eval_log(str(file))
        except Exception as error:  # whatever the library raises for a file that is none
            raise RecipeError(f"{file} cannot be read as a log of inspect_ai: {error}") from error
        if not log.samples:
            tell("logs", str(file))
            continue
        config = log.plan.config
        drawn = {name: getattr(config, name) for name in _SETTINGS if getattr(config, name)}
        for sample in log.samples:
            if not (sample.output.choices or sample.error):
                tell("unanswered", f"{file}: sample {sample.id}, epoch {sample.epoch}")
                continue
            several = len(sample.target) > 1 if isinstance(sample.target, list) else False
            yield {
                "id": str(sample.id),
                "question": _question(sample.input),
                "answer": None if several else "".join(sample.target) or None,
                "run": log.eval.run_id,
                "task": log.eval.task,
                **({"options": sample.choices, "answers": "choice"} if sample.choices else {}),
                "samples": [{**drawn, **s} for s in _samples(sample, str(log.eval.model))],
            }


def _samples(sample: Any, model: str) -> Iterator[dict[str, Any]]:
    """The choices of one call (one, as a rule); a call that failed is a text without an answer."""
    usage = sample.output.usage
    choices = sample.output.choices
    if not choices:
        yield {
            "text": "",
            "n_tokens": 0,
            "correct": False,
            "finish_reason": "length",
            "model": model,
        }
    for i, choice in enumerate(choices):
        alone = len(choices) == 1 and usage is not None
        yield {
            "text": _text(choice.message),
            "correct": _correct(sample.scores) if i == 0 else None,
            "n_tokens": usage.output_tokens if alone else None,
            "n_prompt_tokens": _prompt(usage) if alone else None,
            "finish_reason": "length" if choice.stop_reason in _CUT else choice.stop_reason,
            "model": model,
            "epoch": sample.epoch,
            **_logprobs(choice.logprobs),
        }


def _prompt(usage: Any) -> int:
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return int(usage.input_tokens) + cached


def _text(message: Any) -> str:
    """What the model said, with its thoughts where they are to be read."""
    if isinstance(message.content, str):
        return message.content
    thoughts = [
        part.reasoning
        for part in message.content
        if part.type == "reasoning" and not part.redacted and part.reasoning
    ]
    text = str(message.text)
    return "<think>\n" + "\n".join(thoughts) + "\n</think>\n" + text if thoughts else text


def _question(given: Any) -> str:
    """The question, or the last thing that the user says."""
    if isinstance(given, str):
        return given
    said = [message.text for message in given if message.role == "user"]
    return str(said[-1]) if said else ""


def _correct(scores: Any) -> bool | None:
    for score in (scores or {}).values():
        value = score.value
        if isinstance(value, str) and value in _RIGHT:
            return _RIGHT[value]
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
    return None


def _logprobs(given: Any) -> dict[str, list[float]]:
    """Of every token, and minus the mean of its likeliest ones, if all have some."""
    if given is None or not given.content:
        return {}
    found = {"logprobs": [float(token.logprob) for token in given.content]}
    tops = [[top.logprob for top in token.top_logprobs or ()] for token in given.content]
    if all(len(top) > 1 for top in tops):
        found["confidence"] = [-math.fsum(top) / len(top) for top in tops]
    return found
