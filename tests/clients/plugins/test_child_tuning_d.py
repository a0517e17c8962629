import math

import numpy as np
import pytest
import torch

from hauberk.clients import Training, train
from hauberk.clients.optimizers import SGD, AdamW
from hauberk.clients.plugins import ChildTuningD, Sam
from hauberk.clients.plugins.child_tuning_d import child_network, encoder, fisher
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.text.models import MODELS


def trained(job, *plugins, optimizer=None):
    torch.manual_seed(0)
    session = job.session(Training(batch_size=8, epochs=2, optimizer=optimizer or AdamW(), plugins=plugins))
    return session, train(session)


def weights(session):
    return flatten(state_of(session.model))


def moved(session):
    """Returns how many numbers of each tensor are no longer as received."""
    return {
        name: int((value != session.reference[name]).sum()) for name, value in state_of(session.model).items()
    }


def test_keeping_all_is_plain_training_to_the_last_bit(job):
    for masked_weights in ("unchanged", "stepped"):
        whole, report = trained(job, ChildTuningD(p=1.0, masked_weights=masked_weights))
        assert torch.equal(weights(whole), weights(trained(job)[0]))
        assert report["child_tuning_d/share"] == 1.0


def test_a_share_of_the_filters_trains_and_all_of_the_rest(job):
    session, report = trained(job, ChildTuningD(p=0.1), optimizer=AdamW(weight_decay=0.5))
    changed, sizes = moved(session), {name: p.numel() for name, p in session.model.named_parameters()}
    n = sum(size for name, size in sizes.items() if name.startswith("filters."))
    filters = sum(count for name, count in changed.items() if name.startswith("filters."))
    assert filters == math.ceil(0.1 * n)
    assert report["child_tuning_d/share"] == pytest.approx(filters / n)
    assert changed["classifier.bias"] == 2
    assert changed["words.weight"] > sizes["words.weight"] // 2  # decay reaches all words but the padding


def test_the_official_weight_decay_reaches_masked_weights(job):
    plugin = ChildTuningD(p=0.1, masked_weights="stepped")
    session, _ = trained(job, plugin, optimizer=AdamW(lr=0.01, weight_decay=0.5))
    start, now = (
        torch.cat([state[name].flatten() for name in encoder(session.model)])
        for state in (session.reference, state_of(session.model))
    )
    shrunk = torch.isclose(now, start * (1 - 0.01 * 0.5) ** 10, rtol=1e-5, atol=0)
    assert shrunk.float().mean() == pytest.approx(0.9, abs=0.01)


def test_the_mask_is_that_of_the_percentile():
    rng = np.random.default_rng(0)
    for n, p in ((101, 0.3), (1000, 0.2), (7, 0.5), (50, 0.01)):
        values = rng.standard_normal(n).astype(np.float32) ** 2
        information = {"a": torch.from_numpy(values[: n // 3]), "b": torch.from_numpy(values[n // 3 :])}
        found = torch.cat(list(child_network(information, p).values()))
        assert found.tolist() == (values >= np.percentile(values, (1 - p) * 100)).tolist()


def test_the_information_is_the_sum_of_squared_clipped_gradients(job):
    session = job.session(Training(batch_size=40))
    session.model.dropout.p = 0.0
    loss = session.loss(session.model, next(iter(session.batches(0))))
    names = list(encoder(session.model))
    gradients = torch.autograd.grad(loss, [session.model.get_parameter(name) for name in names])
    for norm in (1e-3, 1e9):
        found = fisher(session, norm)
        assert list(found) == names
        for name, gradient in zip(names, gradients, strict=True):
            expected = gradient * min(1.0, norm / (gradient.norm().item() + 1e-6))
            torch.testing.assert_close(found[name], expected.square(), rtol=1e-3, atol=1e-12)


def test_the_pass_before_leaves_no_gradients(job):
    session = job.session(Training(plugins=(ChildTuningD(),)))
    ChildTuningD().setup(session)
    assert all(parameter.grad is None for parameter in session.model.parameters())


def test_it_works_under_sam(job):
    session, _ = trained(job, ChildTuningD(), Sam())
    assert weights(session).isfinite().all()
    assert moved(session)["filters.0.weight"] < session.model.filters[0].weight.numel()


@pytest.mark.parametrize("name", ["text_cnn", "gru", "lstm", "transformer"])
def test_every_model_has_an_encoder_without_words_and_head(name):
    model = MODELS[name]().build(2, torch.Generator().manual_seed(0))
    found = encoder(model)
    assert found
    assert not any(part.startswith("classifier") for part in found)
    assert all(parameter is not model.embedding.weight for parameter in found.values())


def test_the_encoder_of_a_pretrained_model_is_its_layers():
    model = MODELS["pretrained"]().build(2, torch.Generator().manual_seed(0))
    assert set(encoder(model)) == {name for name, _ in model.named_parameters() if ".layer." in name}


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [("p", 0.0, r"must lie in \(0, 1\], got 0.0"), ("max_grad_norm", 0.0, "must be above 0, got 0.0")],
)
def test_a_mistake_is_named(key, value, rule):
    with pytest.raises(UserError, match=f"^{key}: {rule}"):
        ChildTuningD(**{key: value})


def test_plain_sgd_leaves_the_rest_of_the_encoder_alone(job):
    session, _ = trained(job, ChildTuningD(p=0.2, masked_weights="stepped"), optimizer=SGD(lr=0.1))
    assert 0 < moved(session)["filters.1.weight"] < session.model.filters[1].weight.numel()
