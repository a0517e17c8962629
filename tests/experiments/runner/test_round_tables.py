"""A run's rounds as CSV and Parquet."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from hauberk.experiments.runner.round_tables import flat, write_tables

LINES = [
    {
        "round": 1, "accuracy": 0.5, "attack_success_natural": None, "sampled": [0, 2], "refused": {}, "lost": [],
        "weights": {"0": 1.0}, "clients": {"0": {"loss": 1}}, "before": "hash", "report": {"rule/score/0": math.nan},
    },
    {"round": 2, "accuracy": 1, "sampled": [1], "refused": {"1": 'no "reply"'}, "weights": None, "clients": {}},
]  # fmt: skip


def test_what_is_nested_has_names_with_slashes():
    row = flat(LINES[0])
    assert math.isnan(row.pop("report/rule/score/0"))
    assert row == {
        "round": 1, "accuracy": 0.5, "attack_success_natural": None, "sampled": "0 2", "refused": None, "lost": None,
        "weights/0": 1.0, "clients/0/loss": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "read"), [("rounds.csv", pd.read_csv), ("rounds.parquet", pd.read_parquet)])
def test_both_files_hold_a_row_a_round(tmp_path, name, read):
    write_tables(tmp_path, LINES)
    found = read(tmp_path / name)
    assert found["round"].tolist() == [1, 2]
    assert found["accuracy"].tolist() == [0.5, 1.0]
    assert found["refused"].tolist()[1] == '{"1": "no \\"reply\\""}'
    assert found["weights/0"].isna().tolist() == [False, True]
