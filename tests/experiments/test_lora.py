"""`model.lora` from the spec to the exported folder."""

import json
import tomllib

import pytest
import torch

from hauberk.experiments import run
from hauberk.experiments.analysis.export import export_model, load_model
from hauberk.experiments.spec.flat import flatten, unflatten
from hauberk.experiments.spec.loader import SpecError, parse
from hauberk.server import checkpoint
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten as flatten_state
from hauberk.tasks.parameters import state_of

LORA = {"name": "pretrained", "path": "embedded:minilm-l6", "lora": {"rank": 4}}


@pytest.fixture
def adapted(tables, tweets, tmp_path):
    """The small spec on forty sentences with two honest clients, a round and adapters."""
    for name, n in (("train", 40), ("test", 10)):
        lines = (tweets / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines[:: len(lines) // n]))
        tables["task"]["dataset"][name] = str(tmp_path / f"{name}.jsonl")
    tables["task"] |= {"model": LORA, "max_length": 16}
    tables["federation"] = {"n_clients": 2, "rounds": 1}
    del tables["attack"]
    return tables


def test_the_spec_is_filled_in_and_comes_back(adapted):
    spec = parse(adapted)
    assert spec.to_dict()["task"]["model"] == {**LORA, "lora": {"rank": 4, "alpha": 16.0, "dropout": 0.0}}
    assert parse(tomllib.loads(spec.to_toml())) == spec
    assert parse(unflatten(flatten(spec.to_dict()))) == spec
    assert parse(adapted, ["task.model.lora.rank=2"]).parts.task.model.lora.rank == 2


def test_without_it_the_spec_is_what_it_was(adapted):
    adapted["task"]["model"] = "pretrained"
    assert parse(adapted).to_dict()["task"]["model"] == {"name": "pretrained", "path": "embedded:minilm-l6"}


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"rank": 0}, "task.model.lora.rank: must be at least 1, got 0"),
        ({"rang": 4}, "task.model.lora.rang: unknown key; did you mean 'rank'?"),
        ({"rank": "a"}, "task.model.lora.rank: input should be a valid integer, got 'a'"),
        (8, "task.model.lora: "),
    ],
)
def test_a_mistake_inside_is_named(adapted, lora, message):
    adapted["task"]["model"] = {**LORA, "lora": lora}
    with pytest.raises(SpecError, match=message.replace("?", r"\?")):
        parse(adapted)


def test_only_the_adapters_and_the_head_travel_and_the_model_is_exported_whole(adapted, tmp_path):
    pytest.importorskip("peft", reason="peft is not installed: pip install 'hauberk[lora]'")
    result = run(adapted, out=tmp_path / "run")
    model = load_model(tmp_path / "run")[-1]
    learned = state_of(model)
    assert all(".lora_" in name or ".classifier." in name for name in learned)
    sent = checkpoint.load(tmp_path / "run" / "checkpoint", result.summary["identity"]).parameters
    assert len(sent) == 6 * 2 * 2 * 4 * 384 + 2 * 384 + 2  # layers, query and value, A and B, rank, width
    assert torch.equal(flatten_state(learned), sent)
    assert any(value.any() for name, value in learned.items() if "lora_B" in name)
    export_model(tmp_path / "run", tmp_path / "exported")
    assert json.loads((tmp_path / "exported" / "config.json").read_text())["num_hidden_layers"] == 6
    assert not (tmp_path / "exported" / "adapter_config.json").exists()


def test_an_attack_on_frozen_word_vectors_is_refused(adapted, tmp_path):
    pytest.importorskip("peft", reason="peft is not installed: pip install 'hauberk[lora]'")
    adapted["federation"]["n_malicious"] = 1
    adapted["attack"] = {"poison": {"name": "bad_word", "target": 1}, "tamper": "embedding_poisoning"}
    with pytest.raises(UserError, match="needs word vectors that are trained, got frozen ones"):
        run(adapted, out=tmp_path / "run")
