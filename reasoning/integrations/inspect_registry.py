"""What inspect_ai finds by its entry point: the model provider and the solver `reasoning`."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import modelapi

from reasoning.integrations.inspect_solver import reasoning

__all__ = ["reasoning", "reasoning_api"]


@modelapi(name="reasoning")  # type: ignore[untyped-decorator, unused-ignore]
def reasoning_api() -> Any:
    """The provider, imported when it is used."""
    from reasoning.integrations.inspect_model import ReasoningAPI

    return ReasoningAPI
