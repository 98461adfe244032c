"""What the generator `vllm` makes of its engine's errors; the rest needs an engine."""

from __future__ import annotations

import pytest

from reasoning.backends.vllm import _explain
from reasoning.errors import CallError, EngineError, GenerationError, TransientError


def engines(*names: str) -> type[Exception]:
    """A kind of error as vLLM has them, the most special one first."""
    kind: type[Exception] = Exception
    for name in reversed(names):
        kind = type(name, (kind,), {})
    return kind


@pytest.mark.parametrize(
    ("kind", "expected", "words"),
    [
        (engines("EngineDeadError", "VLLMServerError", "VLLMError"), EngineError, "died: gone"),
        (engines("QueueOverflowError", "GracefulHTTPError"), TransientError, "too much to do: g"),
        (engines("RetryableRequestError"), TransientError, "takes no requests now: g"),
        (engines("VLLMValidationError", "VLLMClientError"), GenerationError, "refused .*: gone"),
        (ValueError, GenerationError, "failed: ValueError: gone"),
    ],
)
def test_the_engines_own_error_is_told_whatever_vllm_is_installed(
    kind: type[Exception], expected: type[CallError | EngineError], words: str
) -> None:
    with pytest.raises(expected, match=words):
        _explain(kind("gone"), "m")
