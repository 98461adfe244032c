"""How much is asked of servers at once, and how long for."""

from __future__ import annotations

from dataclasses import dataclass

from reasoning.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Limits:
    """What calls to servers are held to. Raises RecipeError for a value out of range.

    max_in_flight: calls at once at each server, 1 or more; one connection each.
    timeout: seconds without a byte, above 0, after which a call is given up.
    patience: seconds, 0 or more, to wait for servers that are gone, or that turn a call away.
    """

    max_in_flight: int = 512
    timeout: float = 600.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        if type(self.max_in_flight) is not int or self.max_in_flight < 1:
            raise RecipeError(
                f"max_in_flight is {self.max_in_flight!r}; give the calls that a server gets at "
                "once, 1 or more"
            )
        if not _is_number(self.timeout) or not self.timeout > 0:
            raise RecipeError(f"timeout is {self.timeout!r}; give seconds, more than 0")
        if not _is_number(self.patience) or not self.patience >= 0:
            raise RecipeError(f"patience is {self.patience!r}; give seconds, 0 or more")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
