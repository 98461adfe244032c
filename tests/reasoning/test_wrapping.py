"""What stands for a generator or a verifier is like it in everything that can be asked of one."""

from __future__ import annotations

import pytest

from reasoning.generate import Generator
from reasoning.verify import Verifier
from reasoning.wrapping import Wrapping, WrappingVerifier


@pytest.mark.parametrize(
    ("plugin", "wrapping"), [(Generator, Wrapping), (Verifier, WrappingVerifier)]
)
def test_nothing_falls_back_on_the_default(plugin: type, wrapping: type) -> None:
    asked = {name for name in dir(plugin) if not name.startswith("_")}
    asked -= {"name", "reduction", "together", "reduced_by"}  # copied, and what changes a copy
    left = {n for n in asked if getattr(wrapping, n) is getattr(plugin, n)}
    assert not left
