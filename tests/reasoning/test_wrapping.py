"""What stands for a generator or a verifier is like it in everything that can be asked of one."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning.generate import Generator
from reasoning.verify import Verifier
from reasoning.wrapping import Wrapping, WrappingVerifier


class Peculiar(Verifier):
    """Nothing that is a plain attribute is as usual."""

    name, reduction, reads_logprobs, together = "peculiar", "prod", True, 3

    async def score(self, problem: Any, node: Any, *, meter: Any) -> Any:
        raise NotImplementedError


COPIED = {"name", "reduction", "reads_logprobs", "together"}


@pytest.mark.parametrize(
    ("plugin", "wrapping"), [(Generator, Wrapping), (Verifier, WrappingVerifier)]
)
def test_nothing_falls_back_on_the_default(plugin: type, wrapping: type) -> None:
    asked = {name for name in dir(plugin) if not name.startswith("_")}
    asked -= COPIED | {"reduced_by"}  # which changes a copy
    left = {n for n in asked if getattr(wrapping, n) is getattr(plugin, n)}
    assert not left


def test_plain_attributes_are_copied() -> None:
    wrapped = WrappingVerifier(Peculiar())
    assert {n: getattr(wrapped, n) for n in COPIED} == {n: getattr(Peculiar, n) for n in COPIED}
