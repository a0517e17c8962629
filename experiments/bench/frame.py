"""A benchmark's cells as a table: one row a cell, finished or not, with what it computed and what it cost."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hauberk.experiments.bench.grid import NO_ATTACK, VARIANT, label_of
from hauberk.experiments.bench.results import BenchCell, Results
from hauberk.experiments.runner.records import ROUNDS, read_rounds
from hauberk.experiments.spec import loader
from hauberk.experiments.spec.components import parameters_of
from hauberk.experiments.spec.registry import aggregators
from hauberk.strategies.base import needs_of
from hauberk.strategies.serving import serves
from hauberk.tasks.errors import UserError

AXES = {
    "aggregator": "rule",
    "aggregator.name": "rule",
    "attack": "attack",
    "seed": "seed",
    "task.model": "model",
    "task.model.name": "model",
    "task.dataset": "dataset",
    "federation.partition": "partition",
}
STEALTH = ("norm", "benign_norm", "krum_rank", "dim_krum_rank")  # what a round's forensics say of the liars


def cells_frame(results: Results) -> pd.DataFrame:
    """Returns one row for each cell; a column that a cell has no value for is None there."""
    return pd.DataFrame([_row(results, cell) for cell in results.cells])


def rounds_frame(results: Results) -> pd.DataFrame:
    """Returns one row for each recorded round of each cell, unfinished ones too; of a damaged record there is none."""
    rows: list[dict[str, Any]] = []
    for cell in results.cells:
        rows += [{"cell": cell.id, **_numbers(line)} for line in _rounds(results, cell)[0]]
    return pd.DataFrame(rows)


def _rounds(results: Results, cell: BenchCell) -> tuple[list[dict[str, Any]], str]:
    """Returns a cell's recorded rounds that did not fail, and why they cannot be read."""
    folder = results.folder(cell)
    try:
        found = read_rounds(folder) if (folder / ROUNDS).exists() else []
    except UserError as error:
        return [], str(error)
    return [line for line in found if "failed" not in line], ""


def _row(results: Results, cell: BenchCell) -> dict[str, Any]:
    tables, folder = cell.tables, os.path.relpath(results.folder(cell), results.path)
    status, reason, summary = results.outcome(cell)
    rounds, damage = _rounds(results, cell)
    row = {
        "cell": cell.id,
        "model": label_of(tables["task"]["model"]),
        "dataset": _dataset(tables["task"]["dataset"]),
        "partition": _partition(tables),
        **_labels(cell),
        "needs": server_needs(tables),
        "status": status,
        "reason": reason or damage,
        "run_dir": folder,
        "command": f"hauberk run {folder}/spec.toml",
    }
    return row | (_figures(summary) | _hiding(rounds) if summary else {})


def _labels(cell: BenchCell) -> dict[str, Any]:
    """Returns the cell's place in the grid: rule, attack and seed by these names, other keys by their own."""
    attack = cell.tables.get("attack")
    labels: dict[str, Any] = {
        "rule": cell.tables["aggregator"]["name"],
        "attack": label_of(attack) if attack else NO_ATTACK,
        "seed": cell.tables.get("seed", 0),
    }
    for key, value in cell.values.items():
        labels[AXES.get(key, key)] = int(value) if key == "seed" else value
    if labels.pop("aggregator.before", NO_ATTACK) != NO_ATTACK:
        labels["rule"] = f"{cell.values['aggregator.before']} + {labels['rule']}"
    if variant := labels.pop(VARIANT, None):  # a defence is compared as a rule is
        several = any(AXES.get(key) == "rule" for key in cell.values)
        labels["rule"] = f"{labels['rule']}, {variant}" if several else variant
    return labels


def _dataset(table: Any) -> str:
    """Returns the data set's name; one of files is called like its folder."""
    if isinstance(table, Mapping) and table.get("name") == "files":
        return Path(table["train"]).resolve().parent.name
    return label_of(table)


def _partition(tables: Mapping[str, Any]) -> str:
    partition = dict(tables["federation"].get("partition", {"name": "iid"}))
    name = partition.pop("name")
    return " ".join([name, *(f"{key} {value:g}" for key, value in partition.items() if key == "alpha")])


def server_needs(tables: Mapping[str, Any]) -> str:
    """Returns what a rule's server must have or know: the number of liars, clean data, both or nothing."""
    section = tables["aggregator"]
    before = [stage for stage in section.get("before", ()) if "n_malicious" in stage]
    knows_f = bool(before) or "n_malicious" in parameters_of(aggregators()[section["name"]])
    held = bool(tables.get("server", {}).get("clean", {}).get("n_examples"))
    used = bool(tables.get("repairs") or tables.get("detectors"))
    rule = loader.parse(tables).parts.aggregator
    calibrates = serves(rule) and rule.least_clean > 0
    clean = "root_update" in needs_of(rule) or calibrates or (held and used)
    return " and ".join(["f"] * knows_f + ["clean data"] * clean) or "nothing"


def _figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    costs = {"wall_seconds": summary["seconds"], "knowledge": summary.get("knowledge")}
    return {**summary["final"], **costs, **summary.get("costs", {}), **_side_effects(summary)}


def _side_effects(summary: Mapping[str, Any]) -> dict[str, float]:
    """Returns what a run measured beside its metrics, by a column's name; what it has no value for is left out."""
    stealth = summary.get("stealth", {})
    found = {
        "false_trigger_rate": stealth.get("stealth/false_trigger_rate"),
        "trigger_perplexity": stealth.get("stealth/perplexity"),
        "clean_perplexity": stealth.get("stealth/clean_perplexity"),
        **{f"backdoor_{name}": value for name, value in summary.get("durability", {}).items()},
        **{f"twin_{name}": value for name, value in summary.get("beside_twin", {}).items()},
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _hiding(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Returns how the liars' updates stood out, means over the rounds in which all of that was measured."""
    lines = [[line["forensics"].get(f"stealth/{name}") for name in STEALTH] for line in rounds]
    if not (measured := [line for line in lines if all(line)]):
        return {}
    size, benign, krum, dim_krum = (statistics.mean(column) for column in zip(*measured, strict=True))
    return {"liar_size": size / benign, "liar_krum_rank": krum, "liar_dim_krum_rank": dim_krum}


def _numbers(line: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in line.items() if isinstance(value, int | float) or value is None}
    return {**plain, "seconds": line.get("wall")}
