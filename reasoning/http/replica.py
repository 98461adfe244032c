"""One server as the pool sees it, and what its replies mean."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from reasoning.errors import RecipeError, TransientError
from reasoning.http.connection import Connection, Reply
from reasoning.http.reading import shown
from reasoning.seeds import fold


class Replica:
    """One server: its address, its idle connections, and how much it can take."""

    def __init__(self, url: str, window: int) -> None:
        parts = urlsplit(url)
        self.url = url
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.tls else 80)
        self.base = parts.path.rstrip("/")
        self.root = self.base.removesuffix("/v1")
        self.most = window
        self.window = float(window)
        self.crowded = False
        """It has refused a call while it held others: the window is about what it holds."""
        self.busy = 0
        self.sent = 0
        self.paused = 0.0
        """No call before this time."""
        self.failures = 0
        """Attempts in a row that did not reach it, or that it refused while it held none."""
        self.refused: set[int] = set()
        """The calls that it refused while it held none, by their digests, since it took one."""
        self.refusing = False
        """The last of these reached it."""
        self.breaks = False
        """It has ended an answer in the middle for the sake of another call."""
        self.gone = 0.0
        """When the first of these was made."""
        self._heads: dict[str, bytes] = {}
        self.idle: list[Connection] = []
        self.addresses: list[str] = []

    def room(self, now: float) -> bool:
        if now < self.paused:
            return False
        return self.busy < (1 if self.failures else int(self.window))

    def leave_alone(self, now: float, *, refusing: bool) -> None:
        """Pause after one more failure: twice as long each time, but for a seeded jitter."""
        if not self.failures:
            self.gone = now
        self.failures += 1
        self.refusing = refusing
        u = fold(0, self.url, self.failures) / 2**63
        self.paused = now + min(30.0, 0.5 * 2 ** min(10, self.failures - 1)) * (1 - u / 2)

    def takes_calls(self) -> None:
        """It is there: no reason to leave it alone any more."""
        self.failures, self.paused = 0, 0.0
        self.refused.clear()

    def open_up(self) -> None:
        """It has taken a call: let it have more at once, slowly once it was too much."""
        self.window = min(self.most, self.window + (1 / self.window if self.crowded else 2))

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
            known = self._heads[path] = "\r\n".join([*lines, "content-length: "]).encode()
        return known + b"%d\r\n%b\r\n" % (size, more)


def parsed(reply: Reply) -> Any:
    """The JSON of a reply. Raises TransientError if it is none: the next one may be."""
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        begin = shown(bytes(reply.body).decode("utf-8", "replace"))
        raise TransientError(f"the server's answer is not JSON: {begin}") from None


def checked_url(url: str, owner: str) -> str:
    """The URL without its last slash; `owner` is whose base_url it is.

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
            f"{owner}: base_url holds a password or a query; a key belongs into the environment "
            "variable that api_key_env names"
        )
    if fault:
        raise RecipeError(f"{owner}: base_url is {url!r} ({fault}); write http://HOST:PORT/v1")
    return url.rstrip("/")
