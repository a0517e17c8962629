"""Which run this is: two runs are the same where all that their bits depend on is the same."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hauberk.experiments.runner.records import SPEC, read_text
from hauberk.experiments.runner.setup import resolve_device
from hauberk.tasks.digest import digest_of
from hauberk.tasks.errors import UserError

IDENTITY = "identity.json"
Identity = dict[str, str]
READER: TypeAdapter[Identity] = TypeAdapter(dict[str, str])


def identity_of(spec_hash: str, splits: Any, device: str) -> Identity:
    """Returns the identity of a run.

    Args:
        spec_hash: of the spec, and of what was given in Python.
        splits: the data that were loaded; a path in a spec says nothing of what the file holds today.
        device: as the spec names it.

    Returns:
        ``spec``, ``data`` (digests), ``version`` (of hauberk) and ``device`` (what "auto" stands for here).
    """
    return {
        "spec": spec_hash,
        "data": digest_of(splits),
        "version": version("hauberk"),
        "device": resolve_device(device),
    }


def read_identity(folder: Path) -> Identity:
    """Returns the identity of the run in ``folder``; raises UserError if it is damaged.

    Of a run that was begun before there were identities only ``spec`` is known.
    """
    path = folder / IDENTITY
    if not path.exists():
        header = read_text(folder / SPEC).partition("\n")[0]
        return {"spec": header.removeprefix("# spec_hash = ")}
    try:
        return READER.validate_json(read_text(path), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: damaged: {error.errors()[0]['msg']}") from None
