"""Made-up results of a benchmark, in the frames that a report is made from."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from hauberk.experiments.report.metrics import benchmark_metrics

DEFAULT_METRICS = benchmark_metrics()
ACCURACY = DEFAULT_METRICS[1]
NEEDS = {"fedavg": "nothing", "median": "nothing", "flame": "nothing", "fltrust": "clean data"}
KNOWLEDGE = {"syntactic": "all paraphrases", "dim_krum_spread": "the rule"}
RULES = ("fedavg", "median", "flame", "krum", "multi_krum", "dim_krum", "trimmed_mean", "fltrust")
ATTACKS = ("none", "bad_word", "bad_sentence", "embedding_poisoning", "syntactic")


def benchmark_frames(
    rules=RULES,
    attacks=ATTACKS,
    models=("text_cnn",),
    partitions=("iid",),
    seeds=(0, 1, 2),
    rounds=6,
    **columns,
):
    """Returns made-up cells and rounds; further ``columns`` are grid keys, with "__" for the dot, and their values."""
    rng = np.random.default_rng(0)
    names = [name.replace("__", ".") for name in columns]
    cells, curves = [], []
    axes = (rules, attacks, models, partitions, *columns.values(), seeds)
    for i, (rule, attack, model, partition, *others, seed) in enumerate(itertools.product(*axes)):
        strength = _success(rules.index(rule), attack, rng)
        accuracy = float(np.clip(0.8 - 0.01 * rules.index(rule) + 0.006 * rng.standard_normal(), 0, 1))
        line = _cell(f"{i:012x}", rule, attack, model, partition, seed, accuracy, strength)
        cells.append({**line, **dict(zip(names, others, strict=True))})
        curves += _curve(line, rounds)
    return pd.DataFrame(cells), pd.DataFrame(curves)


def with_status(cells, status, reason="", **where):
    """Returns the cells with those ``where`` columns have these values not finished: no figures, and the reason."""
    cells = cells.copy()
    rows = np.ones(len(cells), bool)
    for name, value in where.items():
        rows &= (cells[name] == value).to_numpy()
    measured = [name for name in cells.select_dtypes("number") if name != "seed"]
    cells[measured] = cells[measured].astype(float)
    cells.loc[rows, measured] = np.nan
    cells.loc[rows, "status"], cells.loc[rows, "reason"] = status, reason
    return cells


def _success(place, attack, rng):
    if attack == "none":
        return np.nan
    base = {"bad_word": 0.95, "bad_sentence": 0.9, "embedding_poisoning": 0.3, "syntactic": 0.15}.get(
        attack, 0.5
    )
    return float(np.clip(0.1 + base / (1 + place) + 0.03 * rng.standard_normal(), 0, 1))


def _cell(name, rule, attack, model, partition, seed, accuracy, strength):
    return {
        "cell": name,
        "rule": rule,
        "attack": attack,
        "model": model,
        "dataset": "sst2",
        "partition": partition,
        "seed": seed,
        "knowledge": KNOWLEDGE.get(attack, "own data"),
        "needs": NEEDS.get(rule, "f"),
        "status": "finished",
        "reason": "",
        "accuracy": accuracy,
        "macro_f1": accuracy - 0.01,
        "attack_success_rate": strength,
        "attack_success_natural": np.nan if attack == "none" else 0.1,
        "attack_success_floor": np.nan if attack == "none" else 0.09,
        "accuracy_clean": accuracy if attack == "none" else np.nan,
        "wall_seconds": 12.5 + len(rule),
        "peak_memory_mb": 410.0 + 3 * len(rule),
        "bytes_sent": 12_345_678,
        "bytes_received": 12_000_000,
        "run_dir": f"cells/{name}",
        "command": f"hauberk run cells/{name}/spec.toml",
    }


def _curve(line, rounds):
    for number in range(1, rounds + 1):
        grown = 1 - 0.5**number
        yield {
            "cell": line["cell"],
            "round": number,
            "accuracy": 0.5 + (line["accuracy"] - 0.5) * grown,
            "attack_success_rate": 0.1 + (line["attack_success_rate"] - 0.1) * grown,
            "attack_success_natural": line["attack_success_natural"],
            "seconds": line["wall_seconds"] / rounds,
        }
