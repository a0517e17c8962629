"""Networks of other families, tiny and random, behind the contract of the pretrained model."""

import numpy as np
import pytest
import torch
import transformers

from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.any_tokenizer import AnyTokenizer
from hauberk.tasks.text.batches import collate
from hauberk.tasks.text.models import Pretrained
from hauberk.tasks.text.models.pretrained import PretrainedModel
from hauberk.tasks.text.tokenizer import WordPiece

TINY = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
SMALL = TINY | {"vocab_size": 30522, "pad_token_id": 0, "num_labels": 3}
DISTIL = {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "num_labels": 3}
FAMILIES = {
    "bert": transformers.BertConfig(**SMALL),
    "roberta": transformers.RobertaConfig(**SMALL),
    "electra": transformers.ElectraConfig(**SMALL, embedding_size=8),
    "distilbert": transformers.DistilBertConfig(**DISTIL),
    "deberta": transformers.DebertaV2Config(**SMALL),
}
TEXTS = ["a fine film", "not so bad", "boring " * 9]


def network(config):
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(config).eval()


def batch_of(tokenizer, seconds=None):
    return collate(tokenizer.encode(TEXTS, seconds, 32), np.arange(3))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder as transformers writes it: a tiny BERT with the embedded tokenizer."""
    folder = tmp_path_factory.mktemp("saved")
    source = transformers.AutoTokenizer.from_pretrained(Pretrained().folder())
    source.save_pretrained(folder)
    network(FAMILIES["bert"]).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_over_the_last_layer_is_the_whole_network(family):
    model = PretrainedModel(network(FAMILIES[family]), Pretrained())
    batch = batch_of(WordPiece(specials=True))
    hidden = model.layers(batch)
    assert len(hidden) == 2
    torch.testing.assert_close(model.head(hidden[-1], batch), model(batch))
    assert model.embedding.num_embeddings >= 30522
    assert any(name.startswith(model.head_names) for name, _ in model.named_parameters())


def test_a_head_that_cannot_read_a_layer_is_refused_but_the_model_works():
    config = transformers.AlbertConfig(**SMALL, embedding_size=8)
    model = PretrainedModel(network(config), Pretrained())
    batch = batch_of(WordPiece(specials=True))
    assert model(batch).shape == (3, 3)
    with pytest.raises(UserError, match="AlbertForSequenceClassification cannot read"):
        model.head(model.layers(batch)[-1], batch)


def test_any_tokenizer_agrees_with_the_embedded_one(saved):
    mine, theirs = WordPiece(specials=True, longest=512), AnyTokenizer(path=saved)
    for seconds in (None, ["yes", "no", None]):
        one, two = mine.encode(TEXTS, seconds, 8), theirs.encode(TEXTS, seconds, 8)
        assert np.array_equal(one.tokens, two.tokens)
        assert np.array_equal(one.offsets, two.offsets)
        assert one.segments is two.segments is None or np.array_equal(one.segments, two.segments)
    for name in ("vocabulary_size", "pad_id", "unknown_id", "special_ids"):
        assert getattr(mine, name) == getattr(theirs, name)
    assert theirs.id("cf") == mine.id("cf")
    assert theirs.pieces("blorbish") == mine.pieces("blorbish")
    with pytest.raises(UserError, match="must be one known token"):
        theirs.id("blorbish")


def test_a_saved_model_comes_back_with_its_classes(saved, tmp_path):
    model = Pretrained(path=saved).build(3, generator(0))
    model.save_pretrained(tmp_path / "out", ["no", "maybe", "yes"])
    again = Pretrained(path=str(tmp_path / "out")).build(3, generator(1))
    assert torch.equal(flatten(state_of(again)), flatten(state_of(model)))
    settings = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert settings.id2label == {0: "no", 1: "maybe", 2: "yes"}
    assert AnyTokenizer(path=str(tmp_path / "out")).id("cf") == WordPiece().id("cf")


def test_a_checkpoint_of_other_classes_gets_a_new_head_from_the_generator(saved):
    one, again, other = (Pretrained(path=saved).build(5, generator(seed)) for seed in (0, 0, 1))
    heads = [model.network.classifier.weight for model in (one, again, other)]
    assert heads[0].shape == (5, 8)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_folder_that_does_not_exist_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = str(tmp_path / "nothing")
    for load in (
        lambda: Pretrained(path=path).build(2, generator(0)),
        lambda: Pretrained(path=path).tokenizer().pieces("a"),
    ):
        with pytest.raises(UserError, match=f"model.path: cannot load .*'{path}'") as caught:
            load()
        assert "\n" not in str(caught.value)
