"""Files of policies and notes: what is wrong with one, and which command writes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from searchers.across import notes
from searchers.kernels import policy

READERS = [(notes.read, "notes", "reasoning gather"), (policy.read, "policy", "reasoning fit")]


@pytest.mark.parametrize(("read", "what", "command"), READERS, ids=["notes", "policy"])
def test_what_is_none(
    read: Callable[[object], object], what: str, command: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    with pytest.raises(ValueError, match=f"No such file or directory; `{command}` writes {what}"):
        read(str(path))
    for content, why in (
        (b"{", "the file: Invalid JSON"),
        (b'{"version": 7}', "version: Input should be 1"),
        (b'{"version": 1, "more": 0}', "more: Extra inputs are not permitted"),
        (b"\xff", "it is no text in UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"file\.json holds no {what}: ") as caught:
            read(path)
        assert why in str(caught.value) or "Field required" in str(caught.value)
    assert read(7) == 7  # what is no name is for others to judge
