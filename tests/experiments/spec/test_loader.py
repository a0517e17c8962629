"""A spec says everything about a run, and everything that is wrong with it at once."""

from __future__ import annotations

import tomllib

import pytest

from hauberk.experiments.spec.loader import SpecError, parse


def test_every_default_is_filled_in(tables):
    spec = parse(tables)
    assert spec.aggregator.model_dump()["n_malicious"] == 1
    assert spec.training.optimizer == {
        "name": "adam",
        "lr": 1e-3,
        "weight_decay": 0.0,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
    }
    assert spec.federation.partition == {"name": "iid"}
    assert spec.federation.cohort_size == 5
    assert spec.attack.poison["words"] == ["cf", "mn", "bb"]


def test_toml_reads_back_to_an_equal_spec(tables):
    spec = parse(tables)
    assert parse(tomllib.loads(spec.to_toml())) == spec


def test_all_mistakes_are_reported_at_once(tables):
    tables["federation"]["n_client"] = 3
    tables["training"] = {"epochs": "many", "optimizer": {"name": "adamm"}}
    tables["aggregator"] = {"name": "kurm"}
    with pytest.raises(SpecError) as caught:
        parse(tables)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert any(
        line.startswith("federation.n_client: unknown key; did you mean 'n_clients'?") for line in lines
    )
    assert any(
        line.startswith("training.epochs: input should be a valid integer, got 'many'") for line in lines
    )
    assert any("training.optimizer.name: unknown name 'adamm'; did you mean 'adam'" in line for line in lines)
    assert any("aggregator.name: unknown name 'kurm'; did you mean 'krum'?" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("task.model.embeding_dim=3", "task.model.embeding_dim: unknown key; did you mean 'embedding_dim'?"),
        ("federation.n_malicious=6", "n_malicious=6 and n_clients=5"),
        ("federation.clients_per_round=9", "clients_per_round=9 and n_clients=5"),
        ("federation.rounds=0", "federation.rounds: input should be greater than or equal to 1, got 0"),
        ("attack.poison.rate=1.5", "attack.poison.rate: must lie between 0 and 1, got 1.5"),
        ("attack.poison.words=[1]", "attack.poison.words.0: input should be a valid string"),
        ("training.optimizer.lr=-1.0", "training.optimizer.lr: must be above 0, got -1.0"),
        ("training.precision=half", "training.precision"),
        ("engine.name=rya", "engine.name: input should be 'ray', 'inline' or 'flower', got 'rya'"),
        ("engine.client_timeout_s=0", "engine.client_timeout_s: input should be greater than 0"),
        ("name=a/b", "name: string should match pattern"),
        ("aggregator=[1]", "aggregator"),
        ("aggregator.n_malicious=1.5", "aggregator.n_malicious: input should be a valid integer, got 1.5"),
        ('aggregator.before=["nmm"]', "unknown name 'nmm'"),
        ('training.plugins=["fedproxx"]', "unknown name 'fedproxx'; did you mean 'fedprox'?"),
        ("nothing", "must look like a.b=value"),
        ("task.model.dropout=2020-01-01", "task.model.dropout: input should be a valid number"),
        ("task.max_length=3", "task.max_length: must be at least 5 tokens, got 3"),
        ('aggregator.before="nnm"', "aggregator.before: must be a list of names or tables, got 'nnm'"),
        (
            'attack.tamper={name="sos", scale="x"}',
            "attack.tamper.scale: input should be a valid number or 'clients', got 'x'",
        ),
        (
            'task.model={name="pretrained", lora={rnk=2}}',
            "task.model.lora.rnk: unknown key; did you mean 'rank'?",
        ),
        (
            'task.model={name="pretrained", lora={rank=0}}',
            "task.model.lora.rank: must be at least 1, got 0",
        ),
        (
            'task.model={name="pretrained", path="embedded:minilm"}',
            "task.model.path: unknown 'embedded:minilm'",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_its_key(tables, change, message):
    with pytest.raises(SpecError) as caught:
        parse(tables, [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_malicious_for_the_rule_is_refused_with_both_numbers(tables):
    with pytest.raises(SpecError, match="f=2 and n_clients=5"):
        parse(tables, ["aggregator.name=krum", "aggregator.n_malicious=2"])


def test_what_does_not_fit_is_told_beside_the_other_mistakes(tables):
    """A section with mistakes hides only what cannot be said without it."""
    tables["aggregator"] = {"name": "krum", "n_malicious": 2}
    tables["training"] = {"epochs": "many"}
    tables["repairs"] = ["fine_tuning"]
    with pytest.raises(SpecError) as caught:
        parse(tables)
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        "training.epochs", "aggregator", "repairs",
    ]  # fmt: skip
    assert "f=2 and n_clients=5" in str(caught.value)
    with pytest.raises(SpecError) as caught:
        parse(tables, ["federation.rounds=0"])
    assert "f=2" not in str(caught.value)


def test_the_objects_of_a_spec_are_built_once(tables):
    spec = parse(tables)
    assert spec.parts is spec.parts
    assert spec.parts.attack.poison.target == 1
    assert spec == parse(tables)
    assert "parts" not in spec.model_dump()


def test_what_is_required_is_named():
    with pytest.raises(SpecError) as caught:
        parse({"name": "x"})
    assert {line.split(":")[0] for line in str(caught.value).splitlines()} == {
        "task",
        "federation",
        "aggregator",
    }


def test_set_creates_tables_and_turns_a_bare_name_into_one(tables):
    tables["aggregator"] = "krum"
    spec = parse(tables, ["aggregator.n_malicious=0", "server.clean.n_examples=4", "training.epochs=2"])
    assert spec.aggregator.n_malicious == 0
    assert spec.server.clean.n_examples == 4
    assert spec.training.epochs == 2


def test_one_file_serves_rules_with_and_without_n_malicious(tables):
    tables["aggregator"] = {"name": "krum", "n_malicious": 1}
    assert parse(tables, ["aggregator.name=median"]).parts.aggregator is not None
    assert parse(tables).parts.aggregator.n_malicious == 1


@pytest.mark.parametrize(
    "change", ["name=other", "engine.name=ray", "engine.workers=2", "engine.client_timeout_s=5"]
)
def test_the_hash_leaves_out_the_name_and_where_it_runs(tables, change):
    assert parse(tables, [change]).hash == parse(tables).hash


@pytest.mark.parametrize(
    "change", ["seed=1", "aggregator.name=median", "engine.threads_per_client=2", "server.threads=2"]
)
def test_the_hash_names_what_is_computed(tables, change):
    assert parse(tables, [change]).hash != parse(tables).hash


def test_an_attack_without_parts_is_refused(tables):
    tables["attack"] = {"keep_plugins": True}
    with pytest.raises(SpecError, match="at least one of poison, tamper and forge"):
        parse(tables)


def test_a_tamper_does_not_keep_a_plugin_that_replaces_its_batches(tables):
    pytest.importorskip("opacus", reason="opacus is not installed: pip install 'hauberk[privacy]'")
    tables["training"] = {"plugins": ["differential_privacy"]}
    tables["attack"]["keep_plugins"] = True
    parse(tables)
    message = (
        "attack.keep_plugins: differential_privacy replaces the batches that a tamper trains on, got true and "
        "tamper = 'neurotoxin'"
    )
    with pytest.raises(SpecError, match=f"^{message}$"):
        parse(tables, ["attack.tamper=neurotoxin"])
    parse(tables, ["attack.tamper=neurotoxin", "attack.keep_plugins=false"])
