"""Solutions as steps, which is how reward models judge them."""

from __future__ import annotations

STEP_BREAK = "\n\n"
"""What ends a step, unless a verifier is told otherwise: a blank line."""


def steps_of(text: str, step_break: str = STEP_BREAK) -> list[str]:
    """The steps of a solution: what the breaks separate, stripped, without empty ones."""
    return [step for part in text.split(step_break) if (step := part.strip())]


def new_steps(before: str, text: str, step_break: str = STEP_BREAK) -> tuple[list[str], int]:
    """All steps of `before + text`, and how many of the last ones have a part in `text`."""
    old, steps = steps_of(before, step_break), steps_of(before + text, step_break)
    intact = len(old) if steps[: len(old)] == old else len(old) - 1  # a step may go on in `text`
    return steps, len(steps) - intact
