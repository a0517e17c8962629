"""A knowledge graph runs like texts do: by its names in a spec, under any rule, in every engine."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from hauberk.experiments import run
from hauberk.experiments.analysis.export import export_model
from hauberk.experiments.analysis.verify import verify_run
from hauberk.experiments.analysis.why import why_run
from hauberk.experiments.deploy.folder import open_folder
from hauberk.experiments.deploy.own_data import server_data
from hauberk.experiments.deploy.resident import make_resident
from hauberk.experiments.report.tables import show_runs
from hauberk.experiments.runner.plan import estimate
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import SpecError, parse
from hauberk.server.round import instructions
from hauberk.tasks.errors import UserError
from tests.helpers.deployment import make


@pytest.fixture
def nations():
    """The tables of a small run: 3 clients, 14 countries."""
    return {
        "name": "nations",
        "task": {
            "name": "knowledge_graph",
            "dataset": "nations",
            "model": {"name": "transe", "dimension": 16, "negatives": 4},
        },
        "federation": {"n_clients": 3, "rounds": 2},
        "training": {"epochs": 4, "batch_size": 128, "optimizer": {"name": "adam", "lr": 0.02}},
        "aggregator": "fedavg",
        "engine": {"name": "inline"},
    }


def test_it_learns_under_a_rule_that_weighs_whole_updates_and_commands_read_its_run(nations, tmp_path):
    nations["federation"] |= {"n_clients": 5, "n_malicious": 1}
    nations |= {"aggregator": {"name": "multi_krum", "n_malicious": 1}, "attack": {"forge": "sign_flip"}}
    nations["server"] = {"twin": False}
    folder, console = tmp_path / "run", Console(file=StringIO(), width=160)
    summary = run(nations, out=folder).summary
    assert summary["primary"] == "mrr"
    assert summary["final"]["mrr"] > 0.3  # 14 entities: by chance .23
    assert {"mean_rank", "hits_at_1", "hits_at_3", "hits_at_10"} <= summary["final"].keys()
    assert verify_run(console, folder) == 0
    why_run(console, folder, client=0, number=1)
    show_runs(console, [folder], None)
    text = console.file.getvalue()
    assert "embedding.weight" in text
    assert "mean reciprocal rank" in text
    assert "model.safetensors" in export_model(folder, tmp_path / "model")
    assert estimate(parse(nations)).round_s > 0


def test_a_deployments_machines_hold_the_same_graph_and_its_client_the_same_bits(nations, tmp_path):
    folder = make(nations, tmp_path / "deployment", dealt=False)
    prepared = prepare(parse(nations))
    (instruction,) = instructions(prepared.server, prepared.start, 1, [1])
    resident = make_resident(folder / "client-1")
    expected, found = (worker.fit(instruction).arrays for worker in (prepared.make_worker(), resident.worker))
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    part = open_folder(folder / "server").parts[0]
    held = server_data(part, part.spec())
    assert np.array_equal(held.bound.known.facts.triples, prepared.task.known.facts.triples)
    with pytest.raises(UserError, match=r"--deal: writes files of texts, and knowledge_graph has graph"):
        make(nations, tmp_path / "dealt")


def test_umls_from_its_texts_in_every_phase(nations, tmp_path):
    nations["task"] |= {"dataset": "umls", "n_train": 1000}
    nations["federation"] |= {"n_clients": 2, "rounds": 1}
    nations["training"] |= {"epochs": 8, "batch_size": 32}
    model = {"name": "transe", "dimension": 16, "init": "pretrain", "negatives": 4}

    def outcome(name: str, **pretraining: object) -> float:
        nations["task"]["model"] = {**model, "pretraining": pretraining}
        return run(nations, out=tmp_path / name).summary["final"]["mrr"]

    assert outcome("server", epochs=5, batch_size=32) > 0.1  # 135 entities: by chance .04
    assert outcome("semantic", phases="semantic") > 0.1
    export_model(tmp_path / "semantic", tmp_path / "exported")
    start = str(tmp_path / "exported" / "model.safetensors")
    assert outcome("tables", phases="tables", start=start) > 0.1
    with pytest.raises(UserError, match=r"Cannot read '.*no-such': No such file"):
        outcome("nowhere", phases="tables", start=str(tmp_path / "no-such"))


@pytest.mark.parametrize(("rule", "rows", "success"), [("fedavg", "all", 1.0), ("median", "own", 0.0)])
def test_a_mean_believes_a_false_fact_and_a_median_does_not(nations, tmp_path, rule, rows, success):
    nations["federation"] |= {"n_clients": 4, "n_malicious": 1}
    nations["task"]["rows"] = rows
    poison = {"name": "false_fact", "relation": "embassy", "target": "burma", "repeat": 40}
    nations |= {"aggregator": rule, "attack": {"poison": poison}}
    final = run(nations, out=tmp_path / "run").summary["final"]
    assert final["attack_success_rate"] == success
    assert final["attack_success_natural"] == 0
    assert final["attack_success_floor"] is None


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("task.model.init=texts", "task.model.init: unknown 'texts'; did you mean 'text'?"),
        ("task.model.norm=3", "task.model.norm: must be 1 or 2, got 3"),
        ("task.model.dimension=0", "task.model.dimension: must be at least 1, got 0"),
        ("task.model.pretraining={phases='tables'}", "task.model.pretraining.start: goes with phases = 'tables'"),
        ("task.public=2.0", "task.public: must be a share in [0, 1], got 2.0"),
        ("task.dataset=uml", "task.dataset.name: unknown name 'uml'; did you mean 'umls'?"),
        ("attack={poison='bad_word'}", "attack.poison: BadWord needs a task of text, and KnowledgeGraph has graph"),
        ('detectors=["dan"]', "detectors.dan: DAN needs a task of text"),
        ('repairs=["e_pur"]', "repairs.e_pur: EPUR needs a task of text"),
        ("task.rows=own", "aggregator: krum weighs whole updates, and clients leave rows out of theirs; name one of"),
        ("task.rows=some", "task.rows: must be 'all' or 'own', got some"),
        ("aggregator=deepsight", "aggregator: deepsight needs logits"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(nations, change, line):
    nations["federation"] |= {"n_malicious": 1, "n_clients": 5}
    nations["aggregator"] = {"name": "krum", "n_malicious": 1}
    with pytest.raises(SpecError) as caught:
        parse(nations, [change])
    assert any(found.startswith(line) for found in str(caught.value).splitlines()), str(caught.value)
