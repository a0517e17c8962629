"""Mistakes of the person who wrote the experiment: one line that names what is wrong and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user asked for; its one line is all the command line prints (exit code 2)."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the helpful end of an "unknown name" message: the nearest known name, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known) or 'none'}"
