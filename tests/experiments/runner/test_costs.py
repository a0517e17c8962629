"""What a run costs, and how it stands to its twin, in its records, its summary and a benchmark's frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hauberk.clients.messages import ClientReply
from hauberk.experiments import run
from hauberk.experiments.bench.frame import _figures
from hauberk.experiments.runner.costs import Traffic, costs, peak_memory_mb, reset_peak
from hauberk.experiments.runner.records import read_rounds
from hauberk.strategies.layout import layout_of


def test_traffic_is_the_bytes_of_the_tensors():
    traffic = Traffic(layout_of({"a": torch.zeros(3), "b": torch.zeros(2, 2)}))
    traffic.send(4)
    traffic.receive(ClientReply(0, {"a": np.zeros(3, np.float32), "b": np.zeros((2, 2), np.float32)}))
    traffic.receive(ClientReply(1, None, error="lost"))
    assert traffic.counted() == {"sent": 4 * 28, "received": 28}
    traffic.send(1)
    assert traffic.counted() == {"sent": 28, "received": 0}


def test_costs_add_up_and_the_peak_is_the_highest():
    lines = [
        {"bytes": {"sent": 1, "received": 2}, "seconds": {"clients": 0.5}, "peak_memory_mb": 20.0},
        {
            "bytes": {"sent": 1, "received": 1},
            "seconds": {"clients": 0.25, "guard": 1.0},
            "peak_memory_mb": 10.0,
        },
        {},  # of an earlier version
    ]
    assert costs(lines) == {
        "bytes_sent": 2, "bytes_received": 3, "seconds_clients": 0.75, "seconds_guard": 1.0, "peak_memory_mb": 20.0,
    }  # fmt: skip


def test_the_peak_sees_what_was_held_and_not_what_an_earlier_run_held():
    reset_peak()
    before = peak_memory_mb()
    held = np.ones(25_000_000)  # 200 MB
    assert peak_memory_mb() > before + 150
    del held
    reset_peak()
    assert peak_memory_mb() < before + 100


@pytest.fixture(scope="module")
def harmless(tweets, tmp_path_factory):
    """A run whose attacker poisons nothing, leaves after the first round, and has a twin."""
    from tests.helpers.tweets import small_tables

    tables = small_tables(tweets)
    tables["server"]["twin"] = True
    tables["federation"]["rounds"] = 2
    tables["attack"] = {
        "poison": {"name": "bad_word", "target": 1, "rate": 0.0},
        "schedule": {"name": "window", "first": 1, "last": 1},
    }
    return run(tables, out=tmp_path_factory.mktemp("costs") / "run")


def test_a_run_records_what_it_costs(harmless):
    line = read_rounds(harmless.folder)[-1]
    n_params = 30522 * 8 + 4 * (8 * 12 + 3) + 2 * 12 + 2
    assert line["bytes"]["sent"] == 5 * 4 * n_params
    assert (
        5 * 4 * (n_params - 30522 * 8) < line["bytes"]["received"] < line["bytes"]["sent"] / 10
    )  # read rows alone
    assert harmless.summary["costs"]["bytes_sent"] == 2 * line["bytes"]["sent"]
    assert harmless.summary["costs"]["peak_memory_mb"] > 50
    assert "seconds_clients" in harmless.summary["costs"]


def test_the_model_of_a_harmless_attacker_answers_as_its_twin(harmless):
    assert harmless.summary["beside_twin"] == {
        "correlation": pytest.approx(1.0), "agreement": pytest.approx(1.0), "spoilt": 0.0, "mended": 0.0,
    }  # fmt: skip
    assert harmless.summary["durability"]["rounds_after"] == 1.0
    assert harmless.summary["durability"]["half_life"] is None


def test_a_benchmarks_frame_has_them_in_columns(harmless):
    figures = _figures(harmless.summary)
    assert {
        "bytes_sent", "bytes_received", "peak_memory_mb", "seconds_clients", "false_trigger_rate",
        "trigger_perplexity", "clean_perplexity", "twin_correlation", "twin_spoilt", "backdoor_rounds_after",
    } <= figures.keys()  # fmt: skip
    assert not any("." in name for name in figures)  # such columns are a grid's keys
