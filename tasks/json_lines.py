"""One line of a file with a JSON object a line, which anybody may have written."""

from __future__ import annotations

import json
from typing import Any

from hauberk.tasks.errors import UserError


def json_object(where: str, line: str) -> dict[str, Any]:
    """Returns the object of a line; UserError, which begins with ``where``, if there is none."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError:
        raise UserError(f"{where} is not JSON: it is nested too deep") from None
    if not isinstance(record, dict):
        raise UserError(f"{where} must be a JSON object, got {type(record).__name__}")
    return record
