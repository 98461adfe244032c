"""Logs that say what has happened and nothing of what anybody has written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_SAY: Mapping[str, str] = {
    "reasoning.calls": "a call failed",
    "reasoning.answers.grading": "gave up comparing two answers",
}
"""Loggers that quote questions, answers or the errors of servers, which may quote both; what is
said instead."""


def _plain(record: logging.LogRecord) -> bool:
    record.msg, record.args = _SAY[record.name], ()
    record.exc_info = record.exc_text = None
    return True


@contextmanager
def discreet() -> Iterator[None]:
    """As long as it lasts, no logger quotes what clients or models have written."""
    loggers = [logging.getLogger(name) for name in _SAY]
    mine = [log for log in loggers if _plain not in log.filters]
    for log in mine:
        log.addFilter(_plain)
    try:
        yield
    finally:
        for log in mine:
            log.removeFilter(_plain)
