"""New texts from a file: JSON Lines, or plain text."""

from __future__ import annotations

import json
from pathlib import Path

from hauberk.tasks.errors import UserError

JSON_LINES = (".jsonl", ".ndjson", ".json")


def read_texts(path: str | Path) -> list[tuple[str, str | None]]:
    """Returns the texts of a file, or pairs: JSON Lines with "text" (and "second"), or plain text, one text a line.

    Lines with nothing on them are passed over.

    Raises:
        UserError: the file is missing, no text, or empty, or a line of it is wrong.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"--input {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"--input {path}: not UTF-8 at byte {error.start}") from None
    numbered = [(number, line.rstrip("\r")) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise UserError(f"--input {path}: holds no texts")
    if path.suffix not in JSON_LINES:
        return [(line, None) for _, line in numbered]
    return [_pair(f"--input {path} line {number}", line) for number, line in numbered]


def _pair(where: str, line: str) -> tuple[str, str | None]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise UserError(f'{where}: must be an object with a "text", got {line.strip()[:60]}')
    if not isinstance(second := record.get("second"), str | None):
        raise UserError(f'{where}: "second" must be a text, got {second!r}')
    return record["text"], second
