"""Every exception this framework raises on purpose.

    ReasoningError
    ├── UserError               a mistake of the caller's; names the value, the rule, the cure
    │   ├── RecipeError         a recipe, a parameter or a name that cannot be used
    │   ├── TaskError           problems that cannot be loaded
    │   └── StoreError          an output folder that cannot be read or written
    ├── CallError               one call failed; it fails its node and never the run
    │   ├── GenerationError     the generator gave no sample
    │   │   └── ContextError    the prompt is too long for the model
    │   ├── VerificationError   the verifier gave no score
    │   ├── ChoiceError         an aggregator cannot choose among these candidates
    │   └── TransientError      worth another try: connection, time-out, 429, 5xx
    └── EngineError             the engine itself is gone; no later call can succeed, the run stops

Running out of budget or time is not an exception: see `reasoning.budget`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|maximum model length|max_model_len|prompt is too long",
    re.IGNORECASE,
)


class ReasoningError(Exception):
    """Base of all errors raised on purpose."""


class UserError(ReasoningError):
    """A mistake in what was asked for. Command line exit code 2."""


class RecipeError(UserError):
    """A recipe, a parameter or a name that cannot be used."""


class TaskError(UserError):
    """Problems that cannot be loaded."""


class StoreError(UserError):
    """An output folder that cannot be read or written."""


class CallError(ReasoningError):
    """One call failed. It fails its node, never the run."""


class GenerationError(CallError):
    """The generator gave no sample."""


class ContextError(GenerationError):
    """The prompt leaves no room for an answer in the model's context."""


class VerificationError(CallError):
    """The verifier gave no score."""


class ChoiceError(CallError, ValueError):
    """An aggregator cannot choose among these candidates. It fails this search alone."""


class TransientError(CallError):
    """A failure worth another try.

    `retry_after` is the pause in seconds the server asked for, if it asked.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineError(ReasoningError):
    """The engine behind a generator or verifier is gone for good."""


def cause(errors: BaseException) -> BaseException:
    """What to report of an exception group: its first UserError or EngineError, else its first."""
    if not isinstance(errors, BaseExceptionGroup):
        return errors
    return cause((errors.subgroup((UserError, EngineError)) or errors).exceptions[0])


def refused(message: str) -> GenerationError:
    """What it means that an engine refuses a prompt for good, by the engine's own words."""
    return (ContextError if _TOO_LONG.search(message) else GenerationError)(message)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Which of `valid` was probably meant, in letters of either case."""
    names = {known.lower(): known for known in valid}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return names[near[0]] if near else None


def unknown(kind: str, name: object, valid: Iterable[str]) -> str:
    """The message for a name that is not one of `valid`: the nearest one, then all of them."""
    names = sorted(valid)
    near = nearest(str(name), names)
    hint = f"; did you mean {near!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(names) or 'none'}."
