"""API keys: which servers may be sent one, and that none is ever shown.

What a server says can hold the key it was sent. Everything of it that people get to see passes
through `told`, which hides keys before it cuts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from reasoning.errors import RecipeError

_MOST = 300
"""Characters of what a server says that are kept."""
_agreed: ContextVar[frozenset[str] | None] = ContextVar("agreed", default=None)
"""The URLs that somebody has agreed to; None where nobody has to be asked."""
_forms: dict[str, None] = {}
"""Every way in which a key in use may be written, the longer before the shorter."""


@contextmanager
def sent_to(urls: Iterable[str]) -> Iterator[None]:
    """Send no key anywhere but there, and to this machine, meanwhile."""
    before = _agreed.set(frozenset(url.rstrip("/") for url in urls))
    try:
        yield
    finally:
        _agreed.reset(before)


def agreed() -> frozenset[str] | None:
    """The URLs that a key may be sent to; None for any."""
    return _agreed.get()


def refuse_to_send(url: str) -> None:
    """Raises RecipeError if nobody has agreed to send a key to `url`."""
    agreed = _agreed.get()
    if agreed is not None and url.rstrip("/") not in agreed and not loopback(url):
        raise RecipeError(
            f"nobody has agreed to send a key to {url}; name it as base_url in the recipe, read "
            "the recipe, and say --trust"
        )


def loopback(url: str) -> bool:
    """Whether a URL leads to this machine and nowhere else."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def keep(key: str) -> None:
    """Never show `key` from now on."""
    written = {key, json.dumps(key)[1:-1], repr(key)[1:-1], quote(key), quote(key, safe="")}
    for form in sorted({*_forms, *written}, key=len, reverse=True):
        _forms.pop(form, None)
        _forms[form] = None


def hidden(text: str) -> str:
    """`text` with asterisks for every key in use."""
    for form in _forms:
        text = text.replace(form, "***")
    return text


def told(text: str, most: int = _MOST) -> str:
    """What a server said, for people: in one line, without keys, cut last."""
    return " ".join(hidden(text).split())[:most]
