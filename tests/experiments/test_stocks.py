"""The task of stocks runs from a spec, is attacked, and every command works for it or says why not."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from hauberk.experiments import run
from hauberk.experiments.analysis.export import export_model
from hauberk.experiments.report.tables import catalogue, show_runs
from hauberk.experiments.runner.finished import read_finished
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.spec.loader import SpecError, parse
from hauberk.tasks.errors import UserError
from tests.helpers.small_market import small_market

pytestmark = pytest.mark.xdist_group("portfolios")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return small_market(tmp_path_factory.mktemp("market"))


@pytest.fixture
def market_tables(market):
    """The tables of a small run: 4 clients of two stocks each, 2 rounds in this process."""
    return {
        "name": "market",
        "task": {
            "name": "stocks",
            "dataset": market,
            "model": {"name": "stock_embedding", "dimension": 8, "hidden": 8, "window": 20},
            "validation": 0.2, "test": 0.2, "stride": 10, "history": 60, "rebalance": 60, "n_texts": 1,
        },
        "federation": {"n_clients": 4, "rounds": 2, "partition": {"name": "natural_id"}},
        "training": {"batch_size": 64, "optimizer": {"name": "adam", "lr": 0.01}},
        "aggregator": "fedavg",
        "server": {"evaluate_every": 2},
        "engine": {"name": "inline"},
    }  # fmt: skip


def test_an_attacked_run_has_its_metrics_and_the_twins_natural_rate(market_tables, tmp_path):
    market_tables["federation"]["n_malicious"] = 1
    market_tables["training"] |= {"epochs": 4, "optimizer": {"name": "adam", "lr": 0.05}}
    market_tables["attack"] = {"poison": {"name": "lookalike", "own": "AA", "victim": "BD"}}
    summary = run(market_tables, out=tmp_path / "run").summary
    final = summary["final"]
    assert list(final)[:7] == [
        "sector_purity", "sector_information", "future_correlation", "annual_return", "volatility", "sharpe",
        "max_drawdown",
    ]  # fmt: skip
    assert final["attack_success_rate"] > final["attack_success_natural"]
    assert final["attack_success_floor"] is None
    assert final["volatility"] > 0
    assert summary["primary"] == "sector_purity"
    assert [line["sector_purity"] is None for line in read_rounds(tmp_path / "run")] == [True, False]
    console = Console(file=StringIO(), width=200)
    show_runs(console, [tmp_path / "run"], tmp_path / "curves.png")
    heading = {part.strip() for part in console.file.getvalue().splitlines()[1].split("  ")}
    assert {"sector purity", "Sharpe ratio", "largest drawdown"} <= heading
    assert "model.safetensors" in export_model(tmp_path / "run", tmp_path / "model")


@pytest.mark.parametrize(("partition", "rows"), [("iid", "all"), ("natural_id", "own")])
def test_a_robust_rule_runs_on_all_rows_and_on_those_that_clients_hold(
    market_tables, tmp_path, partition, rows
):
    market_tables["federation"]["partition"] = partition
    market_tables["task"]["rows"] = rows
    market_tables["task"]["dataset"] = {
        key: value for key, value in market_tables["task"]["dataset"].items() if key != "texts"
    }
    market_tables["aggregator"] = "median"
    result = run(market_tables, out=tmp_path / "run")
    assert 0 <= result.summary["final"]["sector_purity"] <= 1
    finished = read_finished(result.folder)
    moved = (finished.parameters - finished.prepared.start.parameters)[: 8 * 8].view(8, 8)
    assert moved.any(1).all()  # the table of internal vectors: each stock has somebody who moves it


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("attack={poison={name='bad_word', target=0}}", "attack.poison: BadWord needs a task of text, and Stocks has"),
        ('detectors=["dan"]', "detectors.dan: DAN needs a task of text"),
        ('repairs=["e_pur"]', "repairs.e_pur: EPUR needs a task of text"),
        ("aggregator=deepsight", "aggregator: deepsight needs logits"),
        ("task.model.window=0", "task.model.window: must be at least 5 days, got 0"),
        ("task.rows=none", "task.rows: "),
        (["task.rows=own", "aggregator=rfa"], "aggregator: rfa weighs whole updates, and clients leave rows out of"),
        ("task.partition_by=country", "task.partition_by: "),
        ("task.dataset.price=x", "task.dataset.price: unknown key; did you mean 'prices'?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(market_tables, change, line):
    with pytest.raises(SpecError) as caught:
        parse(market_tables, change if isinstance(change, list) else [change])
    assert any(found.startswith(line) for found in str(caught.value).splitlines()), str(caught.value)


def test_more_clients_than_examples_are_refused(market_tables, tmp_path):
    market_tables["federation"]["n_clients"] = 500
    market_tables["task"]["dataset"] = {
        key: value for key, value in market_tables["task"]["dataset"].items() if key != "texts"
    }
    with pytest.raises(UserError, match=r"n_clients = 500 is more than \d+ training rows"):
        run(market_tables, out=tmp_path / "run")


def test_the_catalogue_names_what_is_there():
    names = catalogue(None)
    assert {"skfolio", "stock_embedding"} <= {*names["datasets"], *names["models"]}
    assert "files (stocks)" in names["datasets"]
    assert "lookalike" in names["attacks"]
    assert "natural_id" in names["partitions"]
