"""One server as the pool sees it, and what its replies mean."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from reasoning.clock import Handle
from reasoning.errors import RecipeError, TransientError
from reasoning.http.connection import Connection, Reply
from reasoning.http.metrics import RANK
from reasoning.http.reading import loads, shown
from reasoning.http.standing import Standing

_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/models")
"""What a base URL is often given with."""


class Replica(Standing):
    """One server: where it is, how it stands with us, its idle connections.

    url: its base URL. name: what people see of it. address: where it is called; empty to look its
    host up. rank: which of its engines is called, if it has several. taken: calls it has answered.
    """

    def __init__(
        self, url: str, window: int, *, name: str = "", address: str = "", rank: int | None = None
    ) -> None:
        super().__init__(name or url, window)
        parts = urlsplit(url)
        self.url = url
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        _, self.port = port_of(url)
        self.base = parts.path.rstrip("/")
        self.root = self.base.removesuffix("/v1")
        self.rank = rank
        self.pinned = bool(address)
        self.addresses = [address] if address else []
        self.sent = 0
        self.taken = 0
        self.refusals: set[int] = set()
        """The calls that it refused while it held none, by their digests, since it took one."""
        self.breaks = False
        """It has ended an answer in the middle for the sake of another call."""
        self.left = float("-inf")
        """When a call was last over there."""
        self.idle: list[Connection] = []
        self.number = 0
        self.version = 0
        self.alarm: Handle | None = None
        """Rings when it may be tried again."""
        self._heads: dict[str, bytes] = {}

    def reached(self) -> None:
        super().reached()
        self.refusals.clear()

    def head(self, path: str, get: bool, size: int, key: str | None, more: bytes) -> bytes:
        """The head of a request with `size` bytes of JSON; `more` are further lines of it."""
        known = self._heads.get(path)
        if known is None:
            target = self.root + path if path[0] == "/" else f"{self.base}/{path}"
            host = f"[{self.host}]" if ":" in self.host else self.host
            lines = [
                f"{'GET' if get else 'POST'} {target} HTTP/1.1",
                f"host: {host}:{self.port}",
                "accept: application/json, text/event-stream",
                "user-agent: reasoning",
                "content-type: application/json",
            ]
            if key:
                lines.append(f"authorization: Bearer {key}")
            if self.rank is not None:
                lines.append(f"{RANK}: {self.rank}")
            known = self._heads[path] = "\r\n".join([*lines, "content-length: "]).encode()
        return known + b"%d\r\n%b\r\n" % (size, more)


def parsed(reply: Reply) -> Any:
    """The JSON of a reply. Raises TransientError if it is none: the next one may be."""
    try:
        return loads(reply.body)
    except (ValueError, RecursionError):
        begin = shown(bytes(reply.body).decode("utf-8", "replace"))
        raise TransientError(f"the server's answer is not JSON: {begin}") from None


def port_of(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def checked_url(url: str, owner: str, *, what: str = "base_url") -> str:
    """The URL without its last slash; `owner` is whose `what` it is.

    Raises RecipeError for anything but a well-formed http or https address, without saying what
    may be a secret.
    """
    try:
        parts = urlsplit(url)
        secret = parts.username is not None or parts.password is not None or bool(parts.query)
        host = (parts.hostname or "").encode("idna")  # as it is looked up
        sound = parts.scheme in ("http", "https") and host and parts.port != 0
        fault = "" if sound and url.isprintable() and " " not in url else "no address"
    except ValueError as error:
        secret, fault = "@" in url or "?" in url, str(error)
    if secret:
        raise RecipeError(
            f"{owner}: {what} holds a password or a query; a key belongs into the environment "
            "variable that api_key_env names"
        )
    if fault:
        raise RecipeError(f"{owner}: {what} is {url!r} ({fault}); write http://HOST:PORT/v1")
    url = url.rstrip("/")
    for end in _ENDPOINTS:
        if url.endswith(end):
            cure = url.removesuffix(end)
            raise RecipeError(f"{owner}: {what} ends in {end}, which is added here; write {cure}")
    return url
