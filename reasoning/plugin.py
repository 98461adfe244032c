"""What every generator and verifier may tell of itself or do; all of it is optional."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning.problem import Problem


class Plugin(ABC):  # noqa: B024 (nothing is abstract: all of it is optional)
    """The base of generators and verifiers: every optional ability with what it is by default.

    What is fixed may be a plain attribute of the class where this has a property.
    """

    @property
    def version(self) -> str | None:
        """Who answers, for the manifest: a run is not continued on another one."""
        return None

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of the numbers has to know."""
        return ()

    @property
    def program(self) -> str | None:
        """The program that answers, with its version, once it is known and if it says: a run is
        not continued on another one."""
        return None

    @property
    def facts(self) -> Mapping[str, str]:
        """What was found out by asking, so far, for the manifest."""
        return {}

    @property
    def served(self) -> Mapping[str, int]:
        """Calls that each of several servers behind it has answered; empty where there is one."""
        return {}

    @property
    def parameters(self) -> float | None:
        """How many the model has, None if nobody says: for counting operations."""
        return None

    @property
    def problem_ids(self) -> frozenset[str] | None:
        """The problems it knows, None for all."""
        return None

    def covers(self, problem: Problem) -> bool:
        """Whether it knows the problem: see `problem_ids`."""
        return self.problem_ids is None or problem.id in self.problem_ids

    async def astart(self) -> None:  # noqa: B027 (optional)
        """Get ready, before the time of any search runs. Raises EngineError or TransientError."""

    async def aclose(self) -> None:  # noqa: B027 (optional)
        """Give back what it holds. It may be started again."""

    async def describe(self) -> Mapping[str, str]:
        """Facts for whoever checks a recipe; a server is asked for them. Raises what a call does.

        Empty where there is nothing to find out.
        """
        return {}
