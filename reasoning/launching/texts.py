"""Texts that somebody may want to read: shell and YAML."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml


def text(name: str) -> str:
    """A file of this package."""
    return files("reasoning.launching").joinpath(name).read_text(encoding="utf-8")


def shell(words: Sequence[str], **places: str) -> str:
    """The words for a shell; what `{name}` stands for is the shell's own `places[name]`."""
    line = []
    for word in words:
        quoted = shlex.quote(word)
        for name, place in places.items():
            quoted = quoted.replace(f"{{{name}}}", f"'\"{place}\"'")
        line.append(re.sub(r"^''(?=\")|(?<=\")''$", "", quoted) if word else quoted)
    return " ".join(line)


def function(name: str, command: str, arguments: str = "") -> list[str]:
    """A shell's function of one command."""
    return [f"{name}() {{" + (f"  # {arguments}" if arguments else ""), f"  {command}", "}"]


def readable(data: Mapping[str, Any]) -> str:
    """YAML in the order given, with texts of several lines as they are and nothing abbreviated."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _as_it_is(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    style = "|" if "\n" in data else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _as_it_is)
