"""DeepConf: how peaked the model's next-token distributions were (arXiv:2508.15260).

Fu et al., 2025. A token's confidence is minus the mean of its top-k log-probabilities, in nats;
higher is surer. It comes with the sample (`sampling.confidence_k`), so it costs no call and no
token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from reasoning.aggregators.certainty import MEASURES
from reasoning.errors import RecipeError
from reasoning.generate import Meter, Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.thinking import drawn
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier
from verifiers.logprob import Window, usable

Kind: TypeAlias = Literal["mean", "tail", "bottom", "lowest"]

CURE = "set sampling.confidence_k: 20 and use a generator that gives them (nano, vllm, openai)"


@names.validated
def deepconf(
    *, kind: Kind = "bottom", window: Window = 2048, reduction: Reduction = "last"
) -> DeepConf:
    """How confident the model was while it wrote: one score in [0, inf), nats, higher is surer.

    kind: what to make of the token confidences, in groups of `window` tokens in a row (one group
    of all tokens where there are fewer),

    - mean: over all tokens;
    - tail: over the last group;
    - bottom: the mean of the tenth of the groups that are lowest;
    - lowest: the lowest group.

    Fit for votes (`weighted_majority`) and for `best`; not a probability.
    """
    return DeepConf(kind, window).reduced_by(reduction)


class DeepConf(Verifier):
    """One score a node, under the name deepconf_<kind>."""

    def __init__(self, kind: Kind = "bottom", window: int = 2048) -> None:
        self.name = f"deepconf_{kind}"
        self._kind = kind
        self._window = window

    def preflight(self, sampling: Sampling, _: Sequence[Problem]) -> None:
        refuse_without_confidences(self.name, sampling)

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError if the generator gave no confidences, or no tokens."""
        values = usable(drawn(node, "confidence"), "token confidences", problem, CURE)
        return (_REDUCE[self._kind](values, self._window),)


def refuse_without_confidences(name: str, sampling: Sampling) -> None:
    """Raises RecipeError if the generator is not asked for token confidences."""
    if not sampling.confidence_k:
        raise RecipeError(f"verifier {name} reads token confidences and none are asked for; {CURE}")


_REDUCE = {
    **{kind: MEASURES[kind] for kind in ("mean", "tail", "bottom")},
    "lowest": MEASURES["least"],
}
