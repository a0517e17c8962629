"""A small job on real tweets, as the tables of a spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def small_tables(tweets: Path) -> dict[str, Any]:
    """Returns a complete small spec: 5 clients, one of them malicious, 3 rounds in this process."""
    return {
        "name": "small",
        "task": {
            "dataset": {
                "name": "files",
                "train": str(tweets / "train.jsonl"),
                "test": str(tweets / "test.jsonl"),
            },
            "model": {"name": "text_cnn", "embedding_dim": 8, "n_filters": 4},
        },
        "federation": {"n_clients": 5, "n_malicious": 1, "rounds": 3},
        "attack": {"poison": {"name": "bad_word", "target": 1}},
        "aggregator": {"name": "fedavg"},
        "server": {"twin": False},  # a second run beside each: the tests of the twin switch it on
        "engine": {"name": "inline"},
    }
