from dataclasses import replace

import pytest
import torch

from hauberk.attacks import BadWord, LedgerBoost
from hauberk.attacks.tampers.ledger_boost import INITIAL, LED, TOTAL, margins_with
from hauberk.attacks.threat_model import THE_RULE
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, load_state, state_of

POISON = BadWord(words=("cf",), target=1)
CLIENTS = 4


@pytest.fixture
def second(arena):
    """Returns a session of the second round, and what the others sent on average in the first."""
    session = replace(arena.session(POISON), n_clients=CLIENTS)
    received, rng = flatten(session.reference), torch.Generator().manual_seed(0)
    others, sent = (0.01 * torch.randn(received.shape, generator=rng) for _ in range(2))
    before = received - (sent + (CLIENTS - 1) * others) / CLIENTS
    session.state.update({INITIAL: before, LED: before + sent / CLIENTS, TOTAL: sent})
    return session, others


def trigger_row(session):
    """Returns where the trigger's row lies among the parameters, bool [d]."""
    before, table = flatten(state_of(session.model)), session.model.embedding.weight
    (row,) = LedgerBoost().ids(session)
    with torch.no_grad():
        table[row] += 1
        where = flatten(state_of(session.model)) != before
        table[row] -= 1
    load_state(session.model, session.reference)
    return where


def test_it_knows_the_rule():
    assert LedgerBoost().knowledge == THE_RULE


def test_it_sends_what_the_others_did_as_often_as_it_shall_and_moves_the_trigger_s_row_alone(second, arena):
    session, others = second
    where = trigger_row(session)
    _, update = arena.run(LedgerBoost(boost=3.0), session)
    torch.testing.assert_close(update[~where], 3 * others[~where], atol=1e-5, rtol=1e-3)
    assert (update[where] - 3 * others[where]).abs().max() > 0.01
    torch.testing.assert_close(session.state[LED], flatten(session.reference) + update / CLIENTS)


def test_it_remembers_all_that_it_sent(second, arena):
    session, _ = second
    before, initial = session.state[TOTAL].clone(), session.state[INITIAL].clone()
    _, update = arena.run(LedgerBoost(), session)
    torch.testing.assert_close(session.state[TOTAL], before + update)
    assert torch.equal(session.state[INITIAL], initial)


def test_its_first_round_is_honest(arena):
    session = replace(arena.session(POISON), n_clients=CLIENTS)
    where = trigger_row(session)
    _, update = arena.run(LedgerBoost(), session)
    assert update.any()
    assert not update[where].any()
    torch.testing.assert_close(session.state[TOTAL], update)


def test_more_room_moves_triggered_answers_farther(second, arena):
    session, _ = second
    state, rng, margins = dict(session.state), session.rng.get_state(), {}
    triggered = session.encode(POISON.trigger(arena.examples, torch.Generator().manual_seed(1)))
    for room in (0.01, 100.0):
        session.state.clear()
        session.state.update(state)
        session.rng.set_state(rng)
        load_state(session.model, session.reference)
        _, update = arena.run(LedgerBoost(room=room, lr=0.1), session)
        (found,) = margins_with(session, flatten(session.reference) + update / CLIENTS, triggered)
        margins[room] = float(found.mean())
    assert margins[100.0] > margins[0.01] + 0.05


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("boost", 0.0, "above 0 and finite"),
        ("boost", float("inf"), "above 0 and finite"),
        ("room", -1.0, "above 0 and finite"),
        ("lr", 0.0, "above 0 and finite"),
        ("epochs", 0, "at least 1"),
    ],
)
def test_settings_without_sense_are_refused(key, value, rule):
    with pytest.raises(UserError, match=f"{key}: must be {rule}, got"):
        LedgerBoost(**{key: value})
