"""Work that is done once for the same objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_MOST = 256


class Once(Generic[P, T]):
    """What `make` makes of objects that nobody changes, remembered for these very objects.

    For what is frozen and has no hash. Equal ones are others; what is raised is not remembered.
    """

    def __init__(self, make: Callable[P, T]) -> None:
        self._make = make
        self._known: dict[tuple[int, ...], tuple[object, T]] = {}

    def __call__(self, *parts: P.args, **none: P.kwargs) -> T:
        key = tuple(map(id, parts))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            # The objects are kept, too: so no other one can get their identities.
            known = self._known[key] = (parts, self._make(*parts, **none))
        return known[1]
