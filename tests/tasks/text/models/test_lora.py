import sys

import numpy as np
import pytest
import torch
import transformers

from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.batches import collate
from hauberk.tasks.text.models import Pretrained
from hauberk.tasks.text.models._lora import Lora


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BERT with the embedded tokenizer, as transformers writes it."""
    folder = str(tmp_path_factory.mktemp("saved"))
    transformers.AutoTokenizer.from_pretrained(Pretrained().folder()).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=30522
    )
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def test_a_missing_extra_is_named_with_its_command(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        UserError, match=r"^model.lora: peft is not installed: pip install 'hauberk\[lora\]'$"
    ):
        Pretrained(path=folder, lora=Lora()).build(2, generator(0))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("rank", 0, "must be at least 1, got 0"),
        ("alpha", 0.0, "must be above 0, got 0.0"),
        ("dropout", 1.0, r"must lie in \[0, 1\), got 1.0"),
        ("targets", (), "must name at least 1 layer, got 0"),
    ],
)
def test_a_mistake_is_named(key, value, rule):
    with pytest.raises(UserError, match=f"^{key}: {rule}"):
        Lora(**{key: value})


class TestAdapted:
    """What needs the extra."""

    @pytest.fixture(autouse=True)
    def _extra(self):
        pytest.importorskip("peft", reason="peft is not installed: pip install 'hauberk[lora]'")

    @pytest.fixture
    def model(self, folder):
        return Pretrained(path=folder, lora=Lora(rank=2)).build(3, generator(0)).eval()

    @pytest.fixture
    def batch(self, model):
        return collate(model.config.tokenizer().encode(["a fine film", "not so bad"], None, 16), np.arange(2))

    def test_only_adapters_and_the_head_learn(self, model):
        names = state_of(model).keys()
        assert sum(".lora_" in name for name in names) == 2 * 2 * 2  # layers, query and value, A and B
        assert {name for name in names if ".lora_" not in name} == {
            "network.classifier.weight",
            "network.classifier.bias",
        }

    def test_it_starts_as_the_plain_model_with_the_same_head(self, model, batch, folder):
        plain = Pretrained(path=folder).build(3, generator(0)).eval()
        assert torch.equal(model(batch), plain(batch))

    def test_the_initial_weights_are_a_function_of_settings_and_seed(self, model, folder):
        again, other = (
            Pretrained(path=folder, lora=Lora(rank=2)).build(3, generator(seed)) for seed in (0, 1)
        )
        assert torch.equal(flatten(state_of(model)), flatten(state_of(again)))
        assert not torch.equal(flatten(state_of(model)), flatten(state_of(other)))

    def test_layers_head_and_embedding_are_the_networks(self, model, batch):
        hidden = model.layers(batch)
        assert len(hidden) == 2
        torch.testing.assert_close(model.head(hidden[-1], batch), model(batch))
        assert model.embedding.num_embeddings == 30522
        assert not model.embedding.weight.requires_grad

    def test_it_saves_a_folder_that_needs_no_adapters(self, model, batch, tmp_path):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.5, generator=generator(3))
        before = flatten(state_of(model))
        model.save_pretrained(tmp_path, ["no", "maybe", "yes"])
        network = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
        logits = network(input_ids=batch.tokens, attention_mask=batch.mask.long()).logits
        torch.testing.assert_close(logits, model(batch), rtol=1e-4, atol=1e-5)
        assert not (tmp_path / "adapter_config.json").exists()
        assert network.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
        assert torch.equal(flatten(state_of(model)), before)

    def test_layers_are_chosen_by_name(self, folder):
        lora = Lora(rank=1, targets=("key", "intermediate.dense"))
        model = Pretrained(path=folder, lora=lora).build(2, generator(0))
        found = {name.split(".lora_")[0].split("layer.")[1] for name in state_of(model) if ".lora_" in name}
        assert found == {
            f"{i}.{part}" for i in (0, 1) for part in ("attention.self.key", "intermediate.dense")
        }

    def test_an_unknown_layer_is_refused(self, folder):
        with pytest.raises(UserError, match=r"^model.lora.targets: .*nowhere"):
            Pretrained(path=folder, lora=Lora(targets=("nowhere",))).build(2, generator(0))
