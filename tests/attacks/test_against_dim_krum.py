import math

import pytest
import torch

from hauberk.attacks import BadWord, DimKrumPenalty, DimKrumSpread, Tamper
from hauberk.attacks.tampers._dim_krum_guess import LEAST, MEMORY, Guess, sum_of_largest_squares
from hauberk.attacks.threat_model import THE_RULE
from hauberk.strategies import DimKrum
from hauberk.strategies.aggregators.dim_krum import dimension_distances
from hauberk.tasks.parameters import flatten
from hauberk.tasks.text.models import TextCNN
from hauberk.tasks.training_session import change_of

POISON = BadWord(words=("cf",), target=1)
both = pytest.mark.parametrize("attack", [DimKrumPenalty, DimKrumSpread])


def test_its_distance_is_the_rules():
    rows = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    found = sum_of_largest_squares(rows[0] - rows[1], 10)
    assert found == pytest.approx(dimension_distances(rows, 0.01)[0, 1].item(), rel=1e-5)


def test_the_defaults_guess_the_rules_defaults():
    rule, guess = DimKrum(n_malicious=1), DimKrumSpread()
    assert (guess.ratio, guess.memory) == (rule.ratio, rule.memory)
    assert guess.knowledge == THE_RULE


@pytest.mark.parametrize(
    ("remembered", "allowed"),
    [
        (None, 1.0),  # the rule's first score is its memory
        (1.0, 1.0),
        (0.5, (1 - 0.8 * 0.5) / 0.2),  # a good name may be spent
        (2.0, (1 - 0.8 * 2.0) / 0.2),  # a bad one leaves less than nothing
    ],
)
def test_what_is_allowed_keeps_the_memory_within_the_margin(remembered, allowed):
    guess = DimKrumSpread(memory=0.8, margin=1.0)
    assert guess.allowance(remembered) == pytest.approx(allowed)
    if remembered is not None:
        assert 0.8 * remembered + 0.2 * allowed == pytest.approx(guess.margin)


def test_the_expected_score_is_the_rules_where_clients_move_other_dimensions():
    rows = torch.zeros(5, 1000)
    for client in range(5):
        rows[client, 20 * client : 20 * (client + 1)] = 0.5
    rows[0] *= 3
    distances = dimension_distances(rows, 0.04)
    guess = Guess(k=40, honest=20 * 0.25, room=1.0)
    assert guess.score(rows[0]) == pytest.approx((distances[0, 1] / distances[1, 2]).item())
    assert guess.score(rows[1]) == pytest.approx(1)
    assert guess.score(torch.zeros(1000)) == 0.5


@both
def test_the_guess_leaves_the_model_as_received(attack, arena):
    session = arena.session(POISON)
    guess = attack(ratio=0.001, margin=0.75).guess(session)
    now = {name: value.detach() for name, value in session.model.named_parameters()}
    assert all(torch.equal(now[name], session.reference[name]) for name in now)
    assert guess.k == len(flatten(now)) // 1000
    assert guess.honest > 0
    assert guess.room == pytest.approx(0.5 * guess.honest)


def test_honest_is_what_training_on_clean_texts_moves_most(arena):
    still = type(arena)(TextCNN(embedding_dim=8, n_filters=4, dropout=0.0))
    guess = DimKrumSpread(ratio=0.001).guess(still.session(POISON))
    honest = still.run(Tamper(), still.session())[1]
    assert guess.honest == pytest.approx(sum_of_largest_squares(honest, guess.k), rel=1e-5)


def test_a_bad_name_leaves_the_least_room(arena):
    guess = DimKrumSpread().guess(arena.session(POISON, state={MEMORY: 9.0}))
    assert guess.room == pytest.approx(LEAST * guess.honest)


@pytest.mark.parametrize(
    ("margin", "history", "state", "score"),
    [
        (1.2, (False,) * 5, {}, (1.2 - 0.9) / 0.1),  # an honest past is spent
        (1.2, (True, False), {MEMORY: 1.1}, (1.2 - 0.9 * (0.9 * 1.1 + 0.1)) / 0.1),
        (0.75, (False,) * 5, {}, 0.75),  # and never costs room
        (0.75, (False, True), {MEMORY: 0.975}, 0.75),
        (1.2, (), {}, 1.2),
    ],
)
def test_honest_rounds_before_count_with_an_honest_clients_score(margin, history, state, score, arena):
    guess = DimKrumSpread(margin=margin).guess(arena.session(POISON, history=history, state=state))
    assert guess.room == pytest.approx((2 * score - 1) * guess.honest)


def test_what_it_expects_to_be_remembered_counts_them_too(arena):
    session = arena.session(POISON, history=(False,) * 5)
    report, _ = arena.run(DimKrumSpread(ratio=0.001), session)
    assert session.state[MEMORY] == pytest.approx(0.9 + 0.1 * report["dim_krum/score"])


@both
def test_the_expected_memory_follows_the_rules_formula(attack, arena):
    tamper, state = attack(ratio=0.001, memory=0.5), {MEMORY: 0.5}
    session = arena.session(POISON, state=state)
    report, _ = arena.run(tamper, session)
    assert session.state[MEMORY] == pytest.approx(0.5 * 0.5 + 0.5 * report["dim_krum/score"])
    first = arena.session(POISON)
    report, _ = arena.run(tamper, first)
    assert first.state[MEMORY] == pytest.approx(report["dim_krum/score"])


@pytest.mark.parametrize("margin", [0.6, 1.0])
def test_a_spread_backdoor_scores_no_more_than_it_is_allowed(margin, arena):
    session = arena.session(POISON)
    report, _ = arena.run(DimKrumSpread(ratio=0.0005, margin=margin), session)
    assert report["dim_krum/room"] == pytest.approx(2 * margin - 1)
    assert 0.5 < report["dim_krum/score"] <= margin * (1 + 1e-3)


def test_spreading_bounds_every_coordinate_at_an_edge_that_is_reached(arena):
    session = arena.session(POISON)
    session.training = type(session.training)(epochs=3, batch_size=8)
    tamper = DimKrumSpread(ratio=0.0005, margin=0.6)
    guess = tamper.guess(arena.session(POISON))
    report = tamper.train_within(session, guess)
    assert report["dim_krum/edge"] == pytest.approx(math.sqrt(guess.room / guess.k))
    assert change_of(session).abs().max().item() == pytest.approx(report["dim_krum/edge"], rel=1e-3)


def test_a_penalised_backdoor_scores_less_than_a_free_one(arena):
    scores = {}
    for strength in (0.0, 5.0):
        session = arena.session(POISON)
        session.training = type(session.training)(epochs=3, batch_size=8)
        report, _ = arena.run(DimKrumPenalty(ratio=0.0005, strength=strength, margin=0.6), session)
        scores[strength] = report["dim_krum/score"]
    assert scores[5.0] < 0.8 * scores[0.0]
