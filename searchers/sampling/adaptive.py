"""As many samples as a fitted policy says (compute-optimal scaling: Snell et al., 2024,
arXiv:2408.03314)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.chain import decide
from reasoning.errors import RecipeError
from reasoning.runs.names import bind_aggregator
from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.policy import Policy, PolicyFile, Preset, read_candidates, refuse
from searchers.tree.ab_mcts import filled
from searchers.variants.dealing import put

AGGREGATOR = "first"
VOTES = True
PURSE = True
STEPS_AT_MOST = 64


async def adaptive(
    search: Search,
    *,
    policy: PolicyFile,
    abstain: Annotated[float, Field(ge=0, le=1)] = 0.0,
    tokens: Annotated[float, Field(gt=0)] | None = None,
    abreast: Annotated[int, Field(ge=1)] = 16,
) -> None:
    """Draw until more samples are not worth their tokens by `policy`, a file of `reasoning fit`.

    A problem on which samples agree, or on which more would not help, ends early. A token has the
    same price on all problems, so what these leave goes to the others. With `tokens`, what a
    problem of the run may cost on average, the run has a purse besides: each problem follows the
    policy for what those before it have left, and `abreast` problems are in progress at most
    (`reasoning.runs.common`). Where the answer is right with a chance below `abstain`, as the
    policy counted it on problems it had not seen, there is none.
    """
    del abreast  # the run sees to that
    if tokens is not None:
        policy = allowed(search, policy, tokens)
    choose, wanted, found = bind_aggregator(policy.chooser), policy.start, list[Candidate]()
    land = None if abstain else search.emit
    manner = drawn_by(search, policy.first)
    while wanted > len(found):
        size = wanted - len(found)
        if policy.reject:
            nodes = await rejected(search, size, policy.reject)
        else:
            nodes = await search.draws(search.root, size, until="end", land=land, **manner)
        if "score" in policy.needs:
            await search.score(*nodes)
        drawn = [*(c.node for c in found if c.node), *nodes]
        said = await search.answers(*drawn)
        answers = [None if _open(n) else a for n, a in zip(drawn, said, strict=True)]
        rewards = [search.reward(node) if "score" in policy.needs else None for node in drawn]
        alike = zip(drawn, answers, rewards, strict=True)
        found = [Candidate(n.path, a, score=r, node=n) for n, a, r in alike]
        if len(nodes) < size or not found:
            break  # the end of the budget, or calls that failed
        refuse(policy, found)
        seen = read_candidates(found)
        wanted = int(policy.more(len(found), seen)[0])
        if policy.route and len(found) == policy.start:
            preset = policy.presets[int(policy.route.choose(seen)[0])]
            wanted, manner = len(found) + preset.samples, drawn_by(search, preset)
    if not found:
        return
    if policy.sure is not None:
        rate, low, high = policy.sure(read_candidates(found))[:, 0].tolist()
        search.measure(predicted=rate, predicted_low=low, predicted_high=high)
        if rate < abstain:
            return
    chosen = decide(found, choose).candidate
    for candidate in found:
        assert candidate.node is not None
        if _open(candidate.node):
            continue
        search.emit(candidate.node, rank=-1.0 if candidate is chosen else 0.0)


def allowed(search: Search, policy: Policy, tokens: float) -> Policy:
    """The policy for what the purse of the run leaves the problem: `tokens` where there is none.

    Raises RecipeError for a policy that knows one budget only.
    """
    if not policy.rungs:
        raise RecipeError("the policy knows one budget only: fit it again, or leave tokens out")
    allowance = tokens if search.allowance is None else search.allowance
    search.measure(allowance=allowance)
    return policy.at(allowance)


def drawn_by(search: Search, preset: Preset | None) -> dict[str, Any]:
    """What a preset sets of a draw."""
    if preset is None or preset.prompt is None:
        return preset.sampling if preset else {}
    text = filled(preset.prompt, {"question": search.problem.prompt})
    return {**preset.sampling, "turn": put(search, text)}


async def rejected(search: Search, n: int, bar: float) -> list[Node]:
    """`n` samples, step by step; one ends where the score of a step that is not its last is below
    `bar`, in [0, 1]. They go side by side, so that a budget cuts all alike."""
    ends = await search.draws(search.root, n)
    places = [*range(len(ends))]
    for _ in range(STEPS_AT_MOST):
        await search.score(*(ends[i] for i in places))
        going = [i for i in places if _open(ends[i])]
        places = [i for i in going if (search.reward(ends[i]) or 0.0) >= bar]
        if not places:
            break
        more = await search.side_by_side([partial(search.draw, ends[i]) for i in places])
        grown = {node.parent: node for node in more}
        places = [i for i in places if ends[i] in grown]
        for i in places:
            ends[i] = grown[ends[i]]
    return ends


def _open(node: Node) -> bool:
    """Whether its sample could go on: it was cut between two steps."""
    return node.sample.finish == "stop"
