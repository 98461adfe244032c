"""How a search judges what it has: by verifiers, by answers, by how likely a text is."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from reasoning.aggregators import Candidate
from reasoning.answers import Answer
from reasoning.errors import RecipeError, unknown
from reasoning.events import Scored
from reasoning.ground import Ground, node_of
from reasoning.tree import FloatArray, Node
from reasoning.verify import Verifier, reduce_steps


class Judging(Ground):
    """The verbs of `Search` that judge."""

    async def score(self, *nodes: Node, verifier: str | None = None) -> None:
        """Have the verifier score each node once; one whose scoring fails has no score.

        `verifier` names one of `verifiers` instead of the first.
        """
        judge = self._verifier(verifier)
        for node in nodes:
            node_of("score", node)
        todo = [node for node in nodes if node.scored(judge.name) is None]
        sets = families(todo, judge.together)
        if len(sets) == 1:
            await self._score_once(sets[0], judge)
        elif sets:
            async with TaskGroup() as group:
                for siblings in sets:
                    group.create_task(self._score_once(siblings, judge))

    def reward(self, node: Node, verifier: str | None = None) -> float | None:
        """The one score of the path that ends in `node`, reduced as its verifier says.

        None if its last node has none, or nobody has scored it.
        """
        judge = self.verifier if verifier is None else self._verifier(verifier)
        own = None if judge is None else node.scored(judge.name)
        if judge is None or not own:
            return None
        if judge.reduction == "last":
            return own[-1]
        return reduce_steps(node.step_scores(judge.name), judge.reduction)

    def answer(self, node: Node) -> Answer | None:
        """The answer the path ends in; a path cut off has one only if it is marked as such."""
        if node not in self._answers:
            self._answers[node] = self.problem.answer(node)
        return self._answers[node]

    async def answers(self, *nodes: Node) -> list[Answer | None]:
        """The answers of `nodes`, those that mean the same under one key: that of the first.

        The only way to ask whether answers agree. The first is the earliest that was ever asked
        for here.
        """
        found = [self.answer(node) for node in nodes]
        return await self._meanings.of(found)

    async def agreed(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates, those whose answers mean the same under one key; see `answers`."""
        found = await self._meanings.of([c.answer for c in candidates])
        return answering(candidates, found)

    async def likelihood(
        self, node: Node, *, question: bool = True, model: str = ""
    ) -> FloatArray | None:
        """The log-probabilities [tokens] of the node's own tokens after what stands before them.

        Without `question`, how likely they are if the model does not know what was asked. The
        generator reads the text anew: a call, and prompt tokens, but no generated ones, so the
        budget is not touched. None if it fails. Raises RecipeError if the generator cannot.
        """
        generator = self._model(model)
        if not generator.reads:
            raise RecipeError(
                "this searcher asks the generator how likely given text is, and "
                f"{type(generator).__name__} cannot tell; use generator nano, vllm or openai"
            )
        return await self._caller.read(generator, self.problem, node, question, model)

    def _verifier(self, name: str | None) -> Verifier:
        if name is not None:
            if name not in self.verifiers:
                raise RecipeError(
                    unknown("verifier", name, self.verifiers) + " Name it in the recipe's verifiers"
                )
            return self.verifiers[name]
        if self.verifier is None:
            raise RecipeError(
                "this searcher scores its nodes and there is no verifier; name one, for example "
                "verifier: logprob (`reasoning list verifiers` shows all)"
            )
        return self.verifier

    async def _score_once(self, nodes: Sequence[Node], verifier: Verifier) -> None:
        """Have `nodes` scored in one call, but for those that others have scored by then."""
        name = verifier.name
        while pending := [self._scoring[n, name] for n in nodes if (n, name) in self._scoring]:
            await asyncio.wait(pending)
            nodes = [node for node in nodes if node.scored(name) is None]
        if not nodes:
            return
        done = asyncio.get_running_loop().create_future()
        self._scoring.update(((node, name), done) for node in nodes)
        try:
            found = await self._caller.score(verifier, self.problem, nodes, self.budget)
            for node, steps in zip(nodes, found or (), strict=bool(found)):
                node.scores[name] = steps
                if self.watch is not None:
                    self.watch(Scored(node.path, name, steps))
        finally:
            for node in nodes:
                del self._scoring[node, name]
            done.set_result(None)


def families(nodes: Sequence[Node], most: int) -> list[list[Node]]:
    """The nodes in sets of siblings, at most so many each, in the order in which they stand."""
    by_parent: dict[object, list[Node]] = defaultdict(list)
    for i, node in enumerate(nodes):
        by_parent[i if most == 1 else node.parent].append(node)
    return [row[i : i + most] for row in by_parent.values() for i in range(0, len(row), most)]


def answering(candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> list[Candidate]:
    """The candidates with these answers."""
    pairs = zip(candidates, answers, strict=True)
    return [c if a is c.answer else replace(c, answer=a) for c, a in pairs]
