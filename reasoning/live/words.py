"""Numbers and times in words; what is unknown says so."""

from __future__ import annotations

import math
from typing import Any

UNKNOWN = "unknown"


def whole(value: Any) -> int | None:
    """A count from a file that may be anybody's."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if real and math.isfinite(value) and value >= 0 else None


def count(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def lasting(seconds: float) -> str:
    """A time in one or two units."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"


def card(label: str, value: str, note: str = "", share: float | None = None) -> dict[str, Any]:
    """A number with what it is; `share`, in [0, 1], of what there is or may be."""
    found: dict[str, Any] = {"label": label, "value": value}
    if note:
        found["note"] = note
    if share is not None:
        found["share"] = round(min(1.0, max(0.0, share)), 3)
    return found


def against(label: str, spent: float | None, limit: float | None, digits: int = 0) -> Any:
    """What was spent, beside its limit where it has one."""
    if limit is None or spent is None:
        return card(label, count(spent, digits), "" if limit is None else f"of {limit:,g}")
    share = spent / limit if limit else 1.0
    return card(label, count(spent, digits), f"of {limit:,.{digits}f} at most, {share:.0%}", share)
