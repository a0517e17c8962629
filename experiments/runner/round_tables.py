"""A run's rounds as flat tables, for whoever reads them with pandas, R or a spreadsheet: CSV and Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hauberk.experiments.runner.chain import BEFORE
from hauberk.server.durable import write_whole

LEFT_OUT = (BEFORE, "knowledge")  # of the chain alone, or the same in every round
TEXTS = ("refused", "refused_nodes", "lost")  # few and free of form: one JSON text each


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recorded round as one row: what is nested has names with slashes, as ``seconds/clients``."""
    row: dict[str, Any] = {}
    for key, value in line.items():
        if key in TEXTS:
            row[key] = json.dumps(value) if value else None
        elif key not in LEFT_OUT:
            row |= _spread(key, value)
    return row


def write_tables(folder: Path, rounds: Sequence[Mapping[str, Any]]) -> None:
    """Writes ``rounds.csv`` and ``rounds.parquet``, a row a round; a value that a round lacks is empty there."""
    import pyarrow
    from pyarrow import csv, parquet

    rows = [flat(line) for line in rounds]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    for name, write in (("rounds.csv", csv.write_csv), ("rounds.parquet", parquet.write_table)):
        blob = pyarrow.BufferOutputStream()
        write(table, blob)
        write_whole(folder / name, blob.getvalue().to_pybytes())


def _spread(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [_spread(f"{name}/{inner}", each) for inner, each in value.items()]
        return {key: one for part in parts for key, one in part.items()}
    if isinstance(value, list | tuple):
        return {name: " ".join(map(str, value))}
    return {name: value}
