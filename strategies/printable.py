"""Texts of a peer's as they may stand in a record and on a screen: one printable line, and short."""

from __future__ import annotations

MAX_LINE = 200


def brief(text: object) -> str:
    """Returns ``text`` as one printable line of at most 200 characters: it may come from a liar."""
    line = " ".join(str(text)[: 4 * MAX_LINE].split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}..."


def quoted(name: object) -> str:
    """Returns a name of a peer's in quotes."""
    return f"'{brief(name)}'"
