"""Finished runs beside their attack-free twins, for benchmarks that ask both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hauberk.experiments.runner.records import SUMMARY, read_run

OF_ONE_RUN = ("attack", "detectors", "name", "tracking")  # what a twin need not have in common


def with_twins(folders: Iterable[Path], rule: str | None = None) -> list[tuple[Path, Path, str]]:
    """Returns each finished run with an attack, its twin among the folders, and what it is: rule, data, attack.

    Raises:
        SystemExit: if two runs could be one twin.
    """
    read = {one: read_run(one)[0] for one in folders if (one / SUMMARY).exists()}
    read = {one: tables for one, tables in read.items() if rule in (None, tables["aggregator"]["name"])}
    twins: dict[str, Path] = {}
    for folder, tables in read.items():
        if "attack" not in tables and twins.setdefault(_shared(tables), folder) != folder:
            raise SystemExit(f"{folder}: {twins[_shared(tables)]} is the same run")
    return [
        (folder, twins[_shared(tables)], label(tables))
        for folder, tables in read.items()
        if "attack" in tables and _shared(tables) in twins
    ]


def label(tables: dict[str, Any]) -> str:
    """Returns what a run is, without its seed."""
    attack, partition = tables["attack"], tables["federation"]["partition"]
    poison, tamper, forge = (attack.get(part) or {} for part in ("poison", "tamper", "forge"))
    said = [
        tables["aggregator"]["name"],
        " ".join(str(value) for value in partition.values()),
        poison.get("name"),
        poison.get("mode"),
        poison.get("rate"),
        len(poison["words"]) if poison.get("words") else None,
        tamper.get("name"),
        tamper.get("share"),
        forge.get("name"),
        f"x {attack.get('scale', 1)}",
    ]
    return " ".join(str(part) for part in said if part is not None)


def _shared(tables: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in tables.items() if key not in OF_ONE_RUN}, sort_keys=True)
