"""Just enough to write HTML in which every text is escaped unless it is HTML already."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TypeAlias

from evals.report.text import visible


class Html(str):
    """Text that is markup."""

    __slots__ = ()


Part: TypeAlias = "Html | str | int | None"

_VOID = {"br", "meta", "input"}


def element(name: str, *parts: Part, **attributes: str | int | bool | None) -> Html:
    """An element; `parts` that are not `Html` are escaped. `cls` is class, `a_b` is a-b.

    Attributes that are None or False are left out, True ones have no value.
    """
    told = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = "class" if key == "cls" else key.rstrip("_").replace("_", "-")
        told.append(f" {key}" if value is True else f' {key}="{escape(visible(str(value)))}"')
    start = f"<{name}{''.join(told)}>"
    return Html(start if name in _VOID else f"{start}{join(*parts)}</{name}>")


def join(*parts: Part) -> Html:
    """The parts one after another, escaped where they need to be."""
    return Html("".join(part if isinstance(part, Html) else _plain(part) for part in parts))


def _plain(part: str | int | None) -> str:
    return "" if part is None else escape(visible(str(part)), quote=False)


def breakable(text: str) -> Html:
    """A long name that may break behind an underscore."""
    return Html(_plain(text).replace("_", "_<wbr>"))


def table(
    head: Sequence[Part], rows: Sequence[Sequence[Part]], *, caption: str, id_: str = ""
) -> Html:
    """A table that scrolls sideways on its own; columns but the first are set right."""
    kinds = ["num" if i else None for i in range(len(head))]
    header = element(
        "tr", *(element("th", h, scope="col", cls=k) for h, k in zip(head, kinds, strict=True))
    )
    body = [
        element(
            "tr",
            *(
                cell
                if isinstance(cell, Html) and cell.startswith(("<td", "<th"))
                else element("td", cell, cls=kind)
                for cell, kind in zip(row, kinds, strict=True)
            ),
        )
        for row in rows
    ]
    inner = element("table", element("thead", header), element("tbody", *body), id=id_ or None)
    label = caption.partition(";")[0].partition(".")[0]
    scroll = element("div", inner, cls="scroll", tabindex=0, role="region", aria_label=label)
    return join(scroll, element("p", caption, cls="caption"))
