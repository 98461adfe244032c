"""What verifiers share that ask a generator: it is theirs, from start to close."""

from __future__ import annotations

from collections.abc import Mapping

from reasoning.generate import Generator
from reasoning.session import start
from reasoning.verify import Verifier


class Asking(Verifier):
    """A verifier whose scores come from what `generator` says."""

    generator: Generator
    text_only = True

    @property
    def notes(self) -> list[str]:
        return list(self.generator.notes)

    @property
    def version(self) -> str | None:
        return self.generator.version

    @property
    def parameters(self) -> float | None:
        """Of the model that is asked, None if it does not say."""
        return self.generator.parameters

    async def astart(self) -> None:
        """Get the model ready. Raises RecipeError if it cannot do what is asked of it."""
        await start(self.generator)

    async def describe(self) -> Mapping[str, str]:
        """What the generator says of itself. Raises what a call raises."""
        facts = await self.generator.describe()
        return {f"{self.name}'s {name}": value for name, value in facts.items()}

    async def aclose(self) -> None:
        await self.generator.aclose()
