"""Text of models, servers and files, made fit to be shown: nothing in it may act."""

from __future__ import annotations

import re

# Control characters but tab and newline, surrogates, marks that reorder or hide text.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """`text` with every character that would act on its surroundings spelled out, as in <U+202E>.

    Line ends become newlines; other control characters, bidirectional marks and surrogates show.
    """
    if text.isprintable():  # none of those is, and most texts of one line are
        return text
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return _ACTING.sub(lambda found: f"<U+{ord(found[0]):04X}>", plain)
