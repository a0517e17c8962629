"""The JSON Schema knows every key and name that a spec can have, and no others."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from hauberk.experiments.cli import _main
from hauberk.experiments.spec.loader import parse
from hauberk.experiments.spec.overrides import assign

CONFIGS = sorted((Path(__file__).parents[3] / "experiments" / "configs").glob("*.toml"))


@pytest.fixture(scope="module")
def validator():
    from hauberk.experiments.spec.schema import spec_schema

    schema = json.loads(json.dumps(spec_schema()))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_spec_is_valid(validator, path):
    assert list(validator.iter_errors(tomllib.loads(path.read_text()))) == []


def test_a_resolved_spec_is_valid(validator, tables):
    assert list(validator.iter_errors(parse(tables).to_dict())) == []


@pytest.mark.parametrize(
    "change",
    [
        "sead=1",
        "federation.n_client=5",
        "federation.rounds='many'",
        "task.model.embeding_dim=3",
        "task.model={name='pretrained', lora={rnk=2}}",
        "aggregator.name=kurm",
        "aggregator.trim=2",
        "aggregator.before=[{name='nnm', f=2}]",
        "attack.poison.rate='high'",
        "attack.tamper={name='sos', scale='x'}",
        "training.optimizer.betas=[0.9]",
        "training.optimizer={momentum=0.9}",
        "repairs=[{name='fine_mixing', kept=0.5}]",
        "engine.name=rya",
    ],
)
def test_a_wrong_key_name_or_kind_is_not(validator, tables, change):
    assign(tables, change)
    assert len(list(validator.iter_errors(tables))) == 1


@pytest.mark.parametrize(
    "change",
    [
        "aggregator=krum",
        "aggregator={name='median', n_malicious=2, before=['nnm', {name='clip', threshold=1.0}]}",
        "attack.tamper={name='sos', scale='clients'}",
        "training.optimizer={lr=0.1}",
        "training.plugins=['fedprox', {name='gradient_clip', max_norm=1.0}]",
        "task.model={name='pretrained', lora={rank=2}}",
    ],
)
def test_what_a_spec_may_say_is_valid(validator, tables, change):
    assign(tables, change)
    parse(tables)
    assert list(validator.iter_errors(tables)) == []


def test_an_editor_is_told_what_a_parameter_means(validator):
    rules = validator.schema["properties"]["aggregator"]["anyOf"][1]["oneOf"]
    (krum,) = (rule for rule in rules if rule["properties"]["name"]["enum"] == ["dim_krum"])
    assert krum["properties"]["ratio"]["description"]
    assert krum["properties"]["ratio"]["type"] == "number"
    assert krum["additionalProperties"] is False


def test_the_command_prints_it(capsys):
    assert _main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].startswith("http://json-schema.org/")
