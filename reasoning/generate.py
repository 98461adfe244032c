"""The seam to a language model: one call, one sample. Batching is the backend's business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias

from pydantic import Field

from reasoning.problem import Problem
from reasoning.tree import FloatArray, Node, Path, Sample

Meter: TypeAlias = Callable[[int], None]
"""Called with the number of tokens as they are spent: newly generated ones, or for a scorer those
it reads and writes. A cancelled call's must have been metered by the time its cancellation is
over."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a call continues: the problem's message, then the path from the root to `parent`.

    The result will be filed in `slot` below `parent`. Backends put `problem.prompt` through the
    chat template once and continue with the path's own tokens where they are known.

    With `afresh` nothing is continued: the text starts over, and `problem.prompt` is the message
    that asks for it. Backends that go by `text`, `token_ids` and `problem` need not care.

    `urgency` is for engines that schedule by priority: the higher runs first. None leaves it to
    the backend, which then puts deeper paths first.
    """

    problem: Problem
    parent: Node
    slot: int
    afresh: bool = False
    urgency: float | None = None

    @property
    def path(self) -> Path:
        """Where the sample will stand in the tree."""
        return (*self.parent.path, self.slot)

    @property
    def text(self) -> str:
        """The assistant's text so far."""
        return "" if self.afresh else self.parent.text

    @property
    def token_ids(self) -> tuple[int, ...] | None:
        """The assistant's tokens so far, exactly as produced; None if any are unknown."""
        return () if self.afresh else self.parent.token_ids


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one call draws. `stop` strings end it and stay in the text; `top_k` 0 means off.

    `confidence_k` > 0 asks for minus the mean of the top-k logprobs of every token.
    """

    max_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    confidence_k: Annotated[int, Field(ge=0)] = 0


class Generator(Protocol):
    """Anything that continues a prompt.

    Raises TransientError when another try may help, GenerationError when it will not, and
    EngineError when no call ever will. Re-raises CancelledError after metering what it produced.
    """

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample: ...


class TextScorer(Protocol):
    """A generator that can also tell how likely a given text is."""

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """The log-probabilities [tokens] of the tokens of `sample` after `prompt`, in nats.

        Without `question` the messages are left out, as if the document began with the path's own
        text; what stands for its beginning is the backend's business. `meter` is told the number
        of tokens read, all of the input. Raises what `generate` raises.
        """
        ...
