import math

import pytest
import torch

from hauberk.attacks import BadWord, DimKrumPenalty, DimKrumSpread, Tamper
from hauberk.attacks.dim_krum_guess import LEAST, MEMORY, difference, strongest
from hauberk.attacks.knowledge import THE_RULE
from hauberk.strategies import DimKrum
from hauberk.strategies.dim_krum import dimension_distances
from hauberk.tasks.parameters import flatten

POISON = BadWord(words=("cf",), target=1)
both = pytest.mark.parametrize("attack", [DimKrumPenalty, DimKrumSpread])


def test_its_distance_is_the_rules():
    rows = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    found = strongest(rows[0] - rows[1], 10)
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
        (0.0, 5.0),
        (2.0, LEAST),  # a bad one leaves next to nothing
    ],
)
def test_what_is_allowed_keeps_the_memory_within_the_margin(remembered, allowed):
    guess = DimKrumSpread(memory=0.8)
    assert guess.allowance(remembered) == pytest.approx(allowed)
    if remembered is not None and allowed > LEAST:
        assert 0.8 * remembered + 0.2 * allowed == pytest.approx(guess.margin)


@both
def test_the_guess_leaves_the_model_as_received(attack, arena):
    session = arena.session(POISON)
    guess = attack(ratio=0.001).guess(session)
    now = {name: value.detach() for name, value in session.model.named_parameters()}
    assert all(torch.equal(now[name], session.reference[name]) for name in now)
    assert guess.honest > 0
    assert guess.k == len(flatten(now)) // 1000
    assert difference(session, guess.centre).any()


@both
def test_the_expected_memory_follows_the_rules_formula(attack, arena):
    tamper, state = attack(ratio=0.001, memory=0.5), {MEMORY: 0.5}
    session = arena.session(POISON, state=state)
    report, _ = arena.run(tamper, session)
    assert session.state[MEMORY] == pytest.approx(0.5 * 0.5 + 0.5 * report["dim_krum/score"])
    first = arena.session(POISON)
    report, _ = arena.run(tamper, first)
    assert first.state[MEMORY] == pytest.approx(report["dim_krum/score"])


@pytest.mark.parametrize("margin", [0.3, 1.0])
def test_a_spread_backdoor_scores_no_more_than_it_is_allowed(margin, arena):
    session = arena.session(POISON)
    report, _ = arena.run(DimKrumSpread(ratio=0.0005, margin=margin), session)
    assert report["dim_krum/allowed"] == margin
    assert 0 < report["dim_krum/score"] <= margin * (1 + 1e-3)


def test_spreading_bounds_every_coordinate(arena, monkeypatch):
    session, tamper, guesses = arena.session(POISON), DimKrumSpread(ratio=0.0005, margin=0.1), []
    against = DimKrumSpread.against
    monkeypatch.setattr(
        DimKrumSpread, "against", lambda self, s, guess: (guesses.append(guess), against(self, s, guess))[1]
    )
    report, _ = arena.run(tamper, session)
    (guess,) = guesses
    assert report["dim_krum/edge"] == pytest.approx(math.sqrt(guess.allowed * guess.honest / guess.k))
    furthest = difference(session, guess.centre).detach().abs().max().item()
    assert furthest == pytest.approx(report["dim_krum/edge"], rel=1e-3)


def test_a_penalised_backdoor_scores_less_than_a_free_one(arena):
    scores = {}
    for strength in (0.0, 3.0):
        session = arena.session(POISON)
        session.training = type(session.training)(epochs=3, batch_size=8)
        report, _ = arena.run(DimKrumPenalty(ratio=0.0005, strength=strength, margin=0.2, refresh=1), session)
        scores[strength] = report["dim_krum/score"]
    assert scores[3.0] < 0.7 * scores[0.0]


def test_a_client_with_one_text_just_trains(arena):
    one = arena.examples[:1]
    plain, against = (
        arena.run(each, arena.session(POISON, examples=one))[1] for each in (Tamper(), DimKrumSpread())
    )
    assert torch.equal(plain, against)
