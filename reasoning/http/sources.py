"""Where the servers are that stand behind a base_url: a URL, a file of URLs, a name in DNS.

    http://host:8000/v1          one server
    file:/path/replicas.txt      UTF-8, one URL a line; blank lines and those with # are left out
    dns:http://host:8000/v1      one server at each address that the name has

A path may have $VARIABLES in it, so that one recipe serves all tasks of a job array. Files and
names are read again while a run goes on, so that servers can come and go. Write a file beside the
old one and rename it, so that nobody reads half of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from reasoning.errors import RecipeError
from reasoning.http.replica import checked_url, port_of

FILE, DNS = "file:", "dns:"


class Place(NamedTuple):
    """Where a server is. Of its URL the name, if it is to be called at one `address` of it; and
    which of its engines, by `rank`, if it has several."""

    url: str
    address: str = ""
    rank: int | None = None

    def __str__(self) -> str:
        at = f" at {self.address}" if self.address else ""
        return self.url + at + (f", rank {self.rank}" if self.rank is not None else "")


class SourceError(Exception):
    """A source cannot be read for now; the message says which and why."""


class Source(ABC):
    """One entry of a base_url, by `name`. `changes`: it may tell something else later."""

    changes = True

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def places(self) -> Sequence[Place]:
        """The servers there are now, in order. Raises SourceError."""


class Fixed(Source):
    """One URL."""

    changes = False

    async def places(self) -> Sequence[Place]:
        return [Place(self.name)]


class File(Source):
    """A file of URLs, one a line. Raises RecipeError if it is there and holds a line that is none,
    or if not even its folder is there."""

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(name)
        stated = os.path.expandvars(name.removeprefix(FILE).removeprefix("//"))
        self.path = Path(stated).expanduser()
        if not name.removeprefix(FILE).strip("/") or not self.path.parent.is_dir():
            raise RecipeError(
                f"{owner}: base_url is {name!r}, and there is no folder {str(self.path.parent)!r}; "
                "write file:/PATH/TO/replicas.txt"
            )
        if self.path.exists():
            try:
                self._read()
            except SourceError as error:
                raise RecipeError(f"{owner}: base_url: {error}") from None

    async def places(self) -> Sequence[Place]:
        return await asyncio.get_running_loop().run_in_executor(None, self._read)

    def _read(self) -> list[Place]:
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read ({error.strerror})") from None
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self.path} is not UTF-8 (byte {error.start}); write one URL a line"
            ) from None
        return [Place(url) for url in urls(text, str(self.path))]


def urls(text: str, path: str) -> list[str]:
    """The URLs in a file's text, each once. Raises SourceError that names the line and the rule."""
    found: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            try:
                found[checked_url(line, f"{path}, line {number}", what="the line")] = None
            except RecipeError as error:
                raise SourceError(str(error)) from None
    return list(found)


class Dns(Source):
    """Every address of a host. Raises RecipeError for a URL that is none."""

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(name)
        self.url = checked_url(name.removeprefix(DNS), owner)

    async def places(self) -> Sequence[Place]:
        host, port = port_of(self.url)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise SourceError(f"the name {host!r} cannot be looked up ({error.strerror})") from None
        return [Place(self.url, address) for address in sorted({str(e[4][0]) for e in found})]


def source(entry: str, owner: str) -> Source:
    """What an entry of a base_url means. `owner` is whose it is. Raises RecipeError."""
    if entry.startswith(FILE):
        return File(entry, owner)
    if entry.startswith(DNS):
        return Dns(entry.rstrip("/"), owner)
    return Fixed(checked_url(str(entry), owner))


def sources(base_url: str | Sequence[str], owner: str) -> list[Source]:
    """What a base_url means, one entry or several. Raises RecipeError."""
    given = [base_url] if isinstance(base_url, str) else base_url
    if not given:
        raise RecipeError(f"{owner}: base_url is an empty list; give one URL or more")
    return [source(entry, owner) for entry in given]
