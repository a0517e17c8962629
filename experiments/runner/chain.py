"""The chain of a run's records: each line holds the hash of the line before and that of the model after its round.

The first one hangs on the run's identity (spec, data, version, device), and the summary holds the hash of the last: a
line that is changed, left out or cut off later shows. Whoever writes all of it anew can still lie; what no one can
write is a round that gives these hashes when it is played again (`hauberk verify`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hauberk.experiments.runner.identity import Identity, read_identity
from hauberk.experiments.runner.records import ROUNDS, read_line, read_run, read_text, to_json
from hauberk.tasks.errors import UserError

BEFORE, MODEL, CHAIN = "before", "model_sha256", "chain"


def hash_of(line: str) -> str:
    """Returns the hash by which the line after this one knows it; ``sha256sum`` gives the same."""
    return hashlib.sha256(line.encode()).hexdigest()


def root_of(identity: Identity) -> str:
    """Returns the hash that the first line holds in the place of a line before."""
    return hash_of(to_json(dict(sorted(identity.items()))))


def alike(one: Any, other: Any) -> bool:
    """Returns whether two values are the same in a record, where NaN is NaN and a client's id a text."""
    return to_json({"": one}) == to_json({"": other})


def broken_chain(folder: Path) -> str | None:
    """Returns where the records of the finished run in ``folder`` first are not those that it wrote; None: nowhere.

    Raises:
        UserError: there is no finished run, or one of an earlier version, whose records are no chain.
    """
    _, summary = read_run(folder)
    if CHAIN not in summary:
        raise UserError(f"{folder}: its records hold no hashes; an earlier version of hauberk wrote them")
    path, before = folder / ROUNDS, root_of(read_identity(folder))
    lines = read_text(path).split("\n")
    complete = lines[:-1]
    for number, text in enumerate(complete, start=1):
        try:
            line = read_line(text, f"{path} line {number}")
        except UserError as error:
            return str(error)
        if problem := _misplaced(line, number, before):
            return f"{path} line {number}: {problem}"
        before = hash_of(text)
    if len(complete) != summary["rounds"]:
        return f"{path}: holds {len(complete)} whole lines, and the run had {summary['rounds']} rounds"
    if lines[-1]:
        return f"{path}: something follows the line of round {len(complete)}"
    if before != summary[CHAIN]:
        return f"{path} line {len(complete)}: is not what was recorded; the summary holds another hash of it"
    return _other_summary(line, summary, folder)


def _misplaced(line: Mapping[str, Any], number: int, before: str) -> str | None:
    if line["round"] != number or "failed" in line:
        return f"must be of round {number}, and is of round {line['round']}"
    if line.get(BEFORE) == before:
        return None
    if number == 1:
        return "hangs on another run: it does not hold the hash of identity.json"
    return f"holds another hash of line {number - 1}: one of the two is not what was recorded"


def _other_summary(last: Mapping[str, Any], summary: Mapping[str, Any], folder: Path) -> str | None:
    """Returns in what the summary is not that of the last round."""
    played = summary.get("before_repairs", summary)
    shown = {MODEL: last.get(MODEL), **{key: last.get(key) for key in played["final"]}}
    for key, value in {MODEL: played[MODEL], **played["final"]}.items():
        if not alike(value, shown[key]):
            return f"{folder / 'summary.json'}: {key} is {value}, and the last round recorded {shown[key]}"
    return None
