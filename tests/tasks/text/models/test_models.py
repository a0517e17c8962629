"""Every model of the table passes all of these; a new model is a line in MODELS and one in CONFIGS."""

import copy
import pickle

import numpy as np
import pytest
import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.precision import autocast
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.batches import collate
from hauberk.tasks.text.metrics import predict
from hauberk.tasks.text.models import MODELS, Pretrained, TextCNN, Transformer
from hauberk.tasks.text.models._embeddings import narrowed_vectors

CONFIGS = {
    "text_cnn": MODELS["text_cnn"](embedding_dim=12, n_filters=5),
    "gru": MODELS["gru"](embedding_dim=12, hidden=7),
    "lstm": MODELS["lstm"](embedding_dim=12, hidden=7),
    "transformer": MODELS["transformer"](embedding_dim=12, hidden=16),
    "pretrained": MODELS["pretrained"](),
}
TEXTS = ["good", "a fine film about two people and their dog", "", "not so bad", "boring " * 9]
SECONDS = ["yes", "", None, "it is bad", "exciting"]


@pytest.fixture(scope="module", params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def built(config):
    return config.build(3, generator(0, "model"))


@pytest.fixture
def model(built):
    return copy.deepcopy(built).eval()


def batch_of(config, rows=(0, 1, 2, 3, 4), seconds=None):
    return collate(config.tokenizer().encode(TEXTS, seconds, 32), np.array(rows))


def test_the_table_and_the_battery_name_the_same_models():
    assert set(CONFIGS) == set(MODELS)


def test_logits_are_the_head_over_the_last_layer(config, model):
    for seconds in (None, SECONDS):
        batch = batch_of(config, seconds=seconds)
        hidden = model.layers(batch)
        assert all(layer.shape == hidden[0].shape for layer in hidden)
        assert hidden[-1].shape[:2] == batch.tokens.shape
        assert model.features(hidden[-1], batch).dim() == 2
        assert model(batch).shape == (5, 3)
        torch.testing.assert_close(model.head(hidden[-1], batch), model(batch))


def test_padding_and_neighbours_do_not_change_a_texts_logits(config, model):
    for seconds in (None, SECONDS):
        together = model(batch_of(config, seconds=seconds))
        alone = torch.cat([model(batch_of(config, [row], seconds)) for row in range(5)])
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


def test_a_pair_reads_otherwise_than_its_first_text(config, model):
    single, pair = (model(batch_of(config, [3], seconds)) for seconds in (None, SECONDS))
    assert not torch.allclose(single, pair)


def test_weights_are_a_function_of_the_generator_alone(config, built):
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again, other = (config.build(3, generator(seed, "model")) for seed in (0, 1))
    assert torch.equal(flatten(state_of(again)), flatten(state_of(built)))
    assert not torch.equal(flatten(state_of(other)), flatten(state_of(built)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_parameter_learns(config, model):
    batch = batch_of(config, seconds=SECONDS)
    torch.nn.functional.cross_entropy(model(batch), torch.tensor([0, 1, 2, 0, 1])).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_dropout_is_drawn_from_the_global_generator_and_off_in_eval(config, model):
    batch = batch_of(config)
    assert torch.equal(model(batch), model(batch))
    model.train()
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(model(batch))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_bfloat16_trains_and_predicts(config, model):
    batch = batch_of(config)
    with autocast("bfloat16"):
        loss = torch.nn.functional.cross_entropy(model(batch), torch.tensor([0, 1, 2, 0, 1]))
    loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for _, p in used(model))
    encoded = config.tokenizer().encode(TEXTS, None, 32)
    exact, rounded = (predict(model, encoded, precision=precision) for precision in ("float32", "bfloat16"))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.1, rtol=0.1)


def used(model):
    return [(name, p) for name, p in model.named_parameters() if p.grad is not None]


def test_the_head_is_named_and_reads_every_class(config, model):
    heads = [name for name, _ in model.named_parameters() if name.startswith(model.head_names)]
    bodies = [name for name, _ in model.named_parameters() if not name.startswith(model.head_names)]
    assert heads
    assert bodies
    assert model.state_dict()[heads[-1]].shape[0] == 3


def test_the_word_table_is_the_tokenizers_and_moves_the_output(config, model):
    assert model.embedding.num_embeddings == config.tokenizer().vocabulary_size
    batch = batch_of(config, [0])
    before = model(batch)
    with torch.no_grad():
        row = model.embedding.weight[config.tokenizer().id("good")]
        row += torch.randn(len(row), generator=generator(5))
    assert not torch.allclose(model(batch), before)


def test_settings_are_comparable_printable_and_picklable(config):
    twin = pickle.loads(pickle.dumps(config))
    assert twin == config
    assert hash(twin) == hash(config)
    assert repr(twin).startswith(type(config).__name__)
    with pytest.raises(TypeError, match="hiden"):
        type(config)(hiden=1)


@pytest.mark.parametrize("start", ["pretrained", "glove"])
@pytest.mark.parametrize("name", ["text_cnn", "gru", "lstm", "transformer"])
def test_words_may_start_from_ones_that_were_learned_before(name, start):
    config = MODELS[name](embedding_dim=12, embedding=start)
    model, words = config.build(2, generator(0)), config.tokenizer()
    assert len(model.embedding.weight) == words.vocabulary_size
    vectors = torch.nn.functional.normalize(model.embedding.weight)
    good, great, table = (vectors[words.id(word)] for word in ("good", "great", "table"))
    assert good @ great > good @ table
    assert not model.embedding.weight[0].any()


def test_narrowed_vectors_keep_the_axes_of_most_variance():
    axes = torch.linalg.qr(torch.randn(6, 6, generator=generator(0))).Q
    vectors = torch.randn(500, 6, generator=generator(1)) * torch.tensor([9.0, 5, 1, 0.1, 0.1, 0.1]) @ axes
    narrow = narrowed_vectors(vectors, 2)
    assert narrow.square().mean() == pytest.approx(1, abs=1e-5)
    full, two = (torch.cdist(each, each) for each in (vectors, narrow))
    assert torch.corrcoef(torch.stack([full.flatten(), two.flatten()]))[0, 1] > 0.97


def test_the_sign_of_a_narrowed_axis_is_not_left_to_the_solver():
    plain = torch.randn(500, 8, generator=generator(1)) * torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2])
    narrow = narrowed_vectors(plain, 8)
    assert all(torch.dot(narrow[:, axis], plain[:, axis]) > 0 for axis in range(8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextCNN(widths=(3, 6)), r"widths must lie between 1 and 5 tokens, got \(3, 6\)"),
        (lambda: TextCNN(embedding="golve"), "one of random, pretrained, glove, got 'golve'"),
        (lambda: Transformer(embedding_dim=10), "embedding_dim = 10 must be a multiple of n_heads = 4"),
        (
            lambda: Pretrained(path="embedded:minilm"),
            "unknown 'embedded:minilm'; did you mean 'embedded:minilm-l6'",
        ),
        (
            lambda: TextCNN(embedding_dim=500, embedding="pretrained").build(2, generator(0)),
            "'pretrained' has 384 dimensions, got 500",
        ),
        (
            lambda: TextCNN(embedding="glove").build(2, generator(0)),
            "'glove' has 50 dimensions, got 100",
        ),
    ],
)
def test_an_impossible_setting_is_refused_in_a_line(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_lists_of_a_spec_file_are_as_good_as_tuples():
    assert TextCNN(widths=[2, 3]) == TextCNN(widths=(2, 3))
