from types import SimpleNamespace

import pytest
import torch

from hauberk.attacks import BadWord, ModelReplacement
from hauberk.clients import Training
from hauberk.tasks.errors import UserError

UPDATE = torch.tensor([1.0, -2.0])


def session(n_clients, n_attackers):
    return SimpleNamespace(n_clients=n_clients, n_attackers=n_attackers)


def test_the_mean_of_the_round_becomes_the_attackers_model():
    sent = ModelReplacement().send(UPDATE, session(10, 1))
    mean = torch.cat([sent[None], torch.zeros(9, 2)]).mean(dim=0)
    torch.testing.assert_close(mean, UPDATE)


def test_attackers_of_one_round_share_the_work():
    assert ModelReplacement().factor(10, 4) == 2.5


def test_a_given_scale_is_used_as_it_is():
    assert ModelReplacement(scale=100.0).send(UPDATE, session(10, 1)).tolist() == [100.0, -200.0]


@pytest.mark.parametrize("scale", [0.0, -3.0])
def test_a_scale_that_hides_the_update_is_refused(scale):
    with pytest.raises(UserError, match="scale: must be above 0, got"):
        ModelReplacement(scale=scale)


def test_train_and_scale_sends_just_the_norm_it_may(arena):
    sent = ModelReplacement(norm_bound=10.0).send(torch.tensor([3.0, -4.0]), session(10, 1))
    assert sent.tolist() == [6.0, -8.0]
    assert ModelReplacement(norm_bound=10.0).send(torch.zeros(2), session(10, 1)).tolist() == [0.0, 0.0]


def test_a_scale_and_a_norm_bound_are_one_too_many():
    with pytest.raises(UserError, match=r"^norm_bound: takes the place of a scale, got both 2.0 and 3.0"):
        ModelReplacement(scale=3.0, norm_bound=2.0)


def test_constrain_and_scale_stays_nearer_to_what_was_received(arena):
    far = {}
    for alpha in (1.0, 0.5, 0.1):
        trained = arena.session(BadWord(words=("cf",), target=1))
        trained.training = Training(epochs=3, batch_size=8)
        far[alpha] = arena.run(ModelReplacement(alpha=alpha), trained)[1].norm().item()
    assert far[0.1] < far[0.5] < far[1.0]


def test_its_loss_is_alpha_times_the_tasks_and_the_rest_the_distance(arena):
    trained, seen = arena.session(), []
    trained.model.eval()
    with torch.no_grad():
        trained.model.classifier.weight += 0.5  # 12 * 2 numbers are 0.5 away
    batch = next(trained.shuffled(trained.data))
    task = trained.loss(trained.model, batch).item()
    trained.train = lambda: seen.append(trained.loss(trained.model, batch).item()) or {}
    ModelReplacement(alpha=0.25).train(trained)
    assert seen == [pytest.approx(0.25 * task + 0.75 * 0.5 * 24**0.5, rel=1e-5)]


def test_the_distance_reads_the_whole_word_table_and_a_factor_does_not():
    assert ModelReplacement(alpha=0.5).whole_table
    assert not ModelReplacement(norm_bound=1.0).whole_table
