"""As many samples as a fitted policy says (compute-optimal scaling: Snell et al., 2024,
arXiv:2408.03314)."""

from __future__ import annotations

from collections.abc import Sequence
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
    choose, wanted, manner = bind_aggregator(policy.chooser), policy.start, policy.first
    drawn, found = list[Node](), list[Candidate]()
    while (missing := wanted - len(drawn)) > 0:
        nodes = await draws(search, missing, policy, manner, land=not abstain)
        drawn += nodes
        found = await seen(search, drawn, policy)
        if len(nodes) < missing:
            break  # the end of the budget, or calls that failed
        refuse(policy, found)
        signals = read_candidates(found)
        wanted = int(policy.more(len(drawn), signals)[0])
        if policy.route and len(drawn) == policy.start:
            manner = policy.presets[int(policy.route.choose(signals)[0])]
            wanted = len(drawn) + manner.samples
    if found and believed(search, found, policy) >= abstain:
        chosen = decide(found, choose).candidate
        for node in drawn:
            if not _open(node):
                search.emit(node, rank=-1.0 if chosen and node is chosen.node else 0.0)


def allowed(search: Search, policy: Policy, tokens: float) -> Policy:
    """The policy for what the purse of the run leaves the problem: `tokens` where there is none.

    Raises RecipeError for a policy that knows one budget only.
    """
    if not policy.rungs:
        raise RecipeError("the policy knows one budget only: fit it again, or leave tokens out")
    allowance = tokens if search.allowance is None else search.allowance
    search.measure(allowance=allowance)
    return policy.at(allowance)


async def draws(
    search: Search, n: int, policy: Policy, preset: Preset | None, *, land: bool
) -> list[Node]:
    """`n` samples, drawn as the preset says if there is one, and scored if that counts; those that
    `land` are emitted."""
    if policy.reject:
        nodes = await rejected(search, n, policy.reject)
    else:
        manner: dict[str, Any] = preset.sampling if preset else {}
        if preset and preset.prompt is not None:
            text = filled(preset.prompt, {"question": search.problem.prompt})
            manner = {**manner, "turn": put(search, text)}
        emit = search.emit if land else None
        nodes = await search.draws(search.root, n, until="end", land=emit, **manner)
    if "score" in policy.needs:
        await search.score(*nodes)
    return nodes


async def seen(search: Search, nodes: Sequence[Node], policy: Policy) -> list[Candidate]:
    """The samples with their answers, none where one was given up, and their scores."""
    found = []
    for node, answer in zip(nodes, await search.answers(*nodes), strict=True):
        score = search.reward(node) if "score" in policy.needs else None
        found.append(Candidate(node.path, None if _open(node) else answer, score=score, node=node))
    return found


def believed(search: Search, found: Sequence[Candidate], policy: Policy) -> float:
    """The chance that the answer is right, 1 if the policy does not say."""
    if policy.sure is None:
        return 1.0
    rate, low, high = policy.sure(read_candidates(found))[:, 0].tolist()
    search.measure(predicted=rate, predicted_low=low, predicted_high=high)
    return float(rate)


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
