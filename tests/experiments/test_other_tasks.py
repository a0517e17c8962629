"""A task of numbers runs like one of texts: nothing in the house is made for texts alone that does not say so."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from hauberk.attacks import Attack
from hauberk.experiments import run
from hauberk.experiments.analysis.compare import show_side_effects
from hauberk.experiments.analysis.export import export_model
from hauberk.experiments.analysis.repair import repair_run
from hauberk.experiments.report.metrics import metrics_of
from hauberk.experiments.report.plots import Panel, draw_panels
from hauberk.experiments.report.tables import catalogue, show_runs, show_summary
from hauberk.experiments.runner.plan import estimate
from hauberk.experiments.runner.progress import Quiet, Terminal
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import SpecError, parse
from hauberk.experiments.spec.schema import spec_schema
from hauberk.server.round import Stopped
from hauberk.strategies import AGGREGATORS
from hauberk.tasks import TASKS
from hauberk.tasks.errors import UserError
from tests.helpers.linear_regression import LinearRegression, Overestimate
from tests.helpers.pictures import pictures

REQUIRED = {"robust_learning_rate": {"threshold": 3}}  # parameters without a default
OF_ATTACK = {"attack_success_rate", "attack_success_floor", "attack_success_natural"}


@pytest.fixture
def numbers(monkeypatch):
    """The tables of a small run that learns a plane: 4 clients, one of them malicious, 3 rounds in this process."""
    monkeypatch.setitem(TASKS, "linear_regression", LinearRegression)
    return {
        "name": "plane",
        "task": {"name": "linear_regression", "dataset": {"name": "plane", "n": 80}},
        "federation": {"n_clients": 4, "n_malicious": 1, "rounds": 3},
        "training": {"epochs": 8, "batch_size": 10, "optimizer": {"name": "sgd", "lr": 0.05}},
        "attack": {"forge": "sign_flip"},
        "aggregator": "median",
        "server": {"clean": {"n_examples": 8}, "twin": False},
        "engine": {"name": "inline"},
    }


def shown(show, *arguments):
    """Returns what ``show`` prints."""
    console = Console(file=StringIO(), width=160)
    show(console, *arguments)
    return console.file.getvalue()


def test_it_learns_and_its_records_hold_its_metrics(numbers, tmp_path):
    with pictures():
        summary = run(numbers, out=tmp_path / "run").summary
    assert summary["task"] == "linear_regression"
    assert summary["primary"] == "mse"
    assert summary["final"].keys() == {"mse", "r2"} | OF_ATTACK
    assert summary["labels"] == []
    lines = read_rounds(tmp_path / "run")
    assert lines[-1]["mse"] == summary["final"]["mse"] < 0.2 * lines[0]["mse"]
    assert "accuracy" not in lines[0]
    assert (tmp_path / "run" / "curves.png").stat().st_size > 0


@pytest.mark.xdist_group("processes")
@pytest.mark.timeout(600)
def test_ray_gives_the_same_bits(numbers, tmp_path):
    reference = run(numbers, out=tmp_path / "inline").summary
    numbers["engine"] = {"name": "ray", "workers": 2}
    summary = run(numbers, out=tmp_path / "ray").summary
    assert summary["engine"] == "ray"
    assert summary["model_sha256"] == reference["model_sha256"]
    assert summary["final"] == reference["final"]


class StopAfterOne(Quiet):
    """Stops a run behind its first round."""

    def round_finished(self, line):
        """Stops it."""
        raise Stopped


def test_a_stopped_run_goes_on_to_the_same_bits(numbers, tmp_path):
    reference = run(numbers, out=tmp_path / "whole").summary
    with pytest.raises(Stopped):
        run(numbers, out=tmp_path / "stopped", screen=StopAfterOne())
    summary = run(numbers, out=tmp_path / "stopped", resume=True).summary
    assert summary["model_sha256"] == reference["model_sha256"]
    assert [line["round"] for line in read_rounds(tmp_path / "stopped")] == [1, 2, 3]


def test_tables_and_plots_show_each_task_by_its_own_names(numbers, tables, tmp_path):
    for spec, name in ((numbers, "plane"), (tables, "tweets")):
        run(spec, out=tmp_path / name)
    folders = [tmp_path / "plane", tmp_path / "tweets"]
    text = shown(show_runs, folders, tmp_path / "both.png")
    heading = text.splitlines()[1].split("  ")
    assert [part.strip() for part in heading if part.strip()][3:] == [
        "mean squared error", "variance explained", "accuracy", "macro F1", "attack", "floor", "s",
    ]  # fmt: skip
    plane = next(line for line in text.splitlines() if "sign_flip" in line)
    mse = json.loads((folders[0] / "summary.json").read_text())["final"]["mse"]
    assert f" {mse:.4g} " in plane
    assert plane.count(" - ") + plane.count(" -\n") >= 4
    assert (tmp_path / "both.png").stat().st_size > 0


def test_a_summary_shows_what_was_measured(numbers, tmp_path):
    result = run(numbers, out=tmp_path / "run")
    text = shown(show_summary, result.summary, result.folder)
    assert "mean squared error" in text
    assert "attack" not in text


def test_a_metric_that_is_no_share_has_an_axis_of_its_own(numbers, tmp_path):
    mse = LinearRegression.metrics[0]
    rounds = [{"round": n, "mse": 3.0 / n, "attack_success_rate": 0.5} for n in (1, 2)]
    draw_panels(tmp_path / "attacked.png", [Panel("attacked", rounds, mse)])
    draw_panels(tmp_path / "unknown.png", [Panel("not finite once", [{"round": 1, "mse": None}], mse)])
    assert all((tmp_path / name).stat().st_size > 0 for name in ("attacked.png", "unknown.png"))


def test_records_of_a_task_that_is_not_installed_are_still_read():
    metrics = metrics_of({"task": "sudoku", "final": {"solved": 0.5, "attack_success_rate": None}})
    assert [metric.name for metric in metrics][:2] == ["solved", "attack_success_rate"]
    assert metrics_of({"final": {}})[0].name == "accuracy"  # before tasks were named


def test_the_screen_names_points_and_error(numbers, tmp_path):
    console = Console(file=StringIO(), width=200)
    with Terminal(console) as screen:
        run(numbers, out=tmp_path / "run", screen=screen)
    text = console.file.getvalue()
    assert "plane: plane, 4 clients" in text
    assert "72 training and 40 test points, 5 parameters" in text
    assert "round 1/3  mean squared error " in text


def test_side_effects_are_refused_in_one_line(numbers, tmp_path):
    for seed in (0, 1):
        run({**numbers, "seed": seed}, out=tmp_path / str(seed))
    text = shown(show_side_effects, [tmp_path / "0", tmp_path / "1"])
    assert "compare: answers can be compared one by one where texts are classified" in text


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("attack={poison='bad_word'}", "attack.poison: BadWord needs a task of text, and LinearRegression has numbers"),
        ("attack={tamper='embedding_poisoning', poison='bad_word'}", "attack.tamper: EmbeddingPoisoning needs a"),
        ('repairs=["e_pur"]', "repairs.e_pur: EPUR needs a task of text"),
        ('repairs=["fine_mixing"]', "repairs.fine_mixing: FineMixing needs a task of text"),
        ('detectors=["dan"]', "detectors.dan: DAN needs a task of text"),
        ("aggregator=deepsight", "aggregator: deepsight needs logits; the task has no random inputs"),
        (
            'aggregator={name="ledger", n_malicious=1}',
            "aggregator: ledger answers by logits, and LinearRegression has none",
        ),
        ("task.dataset.n_feature=3", "task.dataset.n_feature: unknown key; did you mean 'n_features'?"),
        ("task.n_features=3", "task.n_features: unknown key"),
        ("task.max_length=64", "task.max_length: unknown key; known: dataset, name, validation"),
        ("task.validation=-1", "task.validation: must be at least 0, got -1"),
        ("task.name=linear_regresion", "task.name: unknown name 'linear_regresion'; did you mean"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_task_is_one_line(numbers, change, line):
    with pytest.raises(SpecError) as caught:
        parse(numbers, [change])
    assert any(found.startswith(line) for found in str(caught.value).splitlines()), str(caught.value)


def test_an_attack_of_ones_own_is_refused_likewise(tables, numbers):
    with pytest.raises(
        UserError, match=r"attack\.poison: Overestimate needs a task of numbers, and TextClass"
    ):
        prepare(parse(tables), attack=Attack(poison=Overestimate()))


@pytest.mark.parametrize("rule", sorted(set(AGGREGATORS) - {"deepsight", "flcert", "ledger"}))
def test_every_rule_but_those_that_ask_for_logits_works(numbers, tmp_path, rule):
    numbers["federation"] |= {"n_clients": 8, "rounds": 1}
    numbers["aggregator"] = {"name": rule, **REQUIRED.get(rule, {})}
    assert run(numbers, out=tmp_path / "run").summary["final"]["mse"] >= 0


@pytest.mark.parametrize(
    "changes",
    [
        ["attack={tamper='model_replacement'}"],
        ["attack={tamper='neurotoxin'}"],
        ["attack={tamper={name='projected', eps=0.1}}"],
        ["attack={tamper='dim_krum_penalty'}", "aggregator=dim_krum", "federation.n_clients=6"],
        ['training.plugins=["ga_sam", {name="gradient_clip", max_norm=1.0}, {name="fedprox", mu=0.1}]'],
        ['training.plugins=["child_tuning_d"]'],
        ['training.plugins=["surgery"]', "training.precision=bfloat16"],
        ['repairs=["fine_tuning", "mixout", {name="fine_mixing", keep=0.5}]'],
        ["federation.partition={name='pathological', classes_per_client=2}"],
        ["federation.partition={name='dirichlet', alpha=1.0, min_size=2}"],
    ],
    ids=str,
)
def test_what_is_made_for_any_data_works(numbers, tmp_path, changes):
    numbers["federation"]["rounds"] = 1
    assert run(parse(numbers, changes), out=tmp_path / "run").summary["final"]["mse"] >= 0


def test_clients_hold_the_thirds_that_partition_keys_say(numbers):
    prepared = prepare(parse(numbers, ["federation.partition={name='pathological', classes_per_client=1}"]))
    keys = prepared.task.partition_keys(prepared.worker.encoded)
    assert all(len(set(keys[rows])) == 1 for rows in prepared.worker.partitions)


def test_a_poison_of_numbers_is_measured_beside_its_floor_and_its_twin(numbers, tmp_path):
    del numbers["attack"], numbers["server"]["twin"]
    numbers |= {"aggregator": "fedavg", "federation": {"n_clients": 2, "n_malicious": 1, "rounds": 3}}
    final = run(numbers, attack=Attack(poison=Overestimate()), out=tmp_path / "run").summary["final"]
    assert final["attack_success_floor"] == final["attack_success_natural"] == 0
    assert final["attack_success_rate"] > 0.5
    text = shown(show_runs, [tmp_path / "run"], None)
    assert "natural" in text.splitlines()[1]


def test_a_finished_run_is_repaired_planned_and_exported(numbers, tmp_path):
    run(numbers, out=tmp_path / "run")
    text = shown(repair_run, tmp_path / "run", ["fine_tuning"], [])
    assert "mean squared error" in text
    with pytest.raises(UserError, match=r"repairs\.e_pur: EPUR needs a task of text"):
        repair_run(Console(file=StringIO()), tmp_path / "run", ["e_pur"], [])
    assert "model.safetensors" in export_model(tmp_path / "run", tmp_path / "model")
    assert estimate(parse(numbers)).round_s > 0


def test_names_and_schema_hold_every_task(numbers):
    names = catalogue(None)
    assert {"text_classification", "linear_regression"} <= names["tasks"].keys()
    assert {"tweet_sentiment", "plane"} <= names["datasets"].keys()
    sections = spec_schema()["properties"]["task"]["oneOf"]
    plane = next(one for one in sections if one["properties"]["name"]["enum"] == ["linear_regression"])
    assert plane["properties"].keys() == {"name", "dataset", "validation"}
    assert plane["required"] == ["name"]
