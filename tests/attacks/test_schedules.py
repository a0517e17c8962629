import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import SCHEDULES, Attack, BadWord
from hauberk.attacks.schedules import Always, Every, SingleShot, Window
from hauberk.tasks.errors import UserError

EXAMPLES = {
    "always": (Always(), [1, 2, 3, 4, 5, 6, 7, 8]),
    "every": (Every(k=3, first=2), [2, 5, 8]),
    "single_shot": (SingleShot(round=4), [4]),
    "window": (Window(first=3, last=5), [3, 4, 5]),
}
NUMBERS = {"n_clients": 10, "n_malicious": 3, "seed": 7}


def test_the_table_has_an_example_of_each():
    assert {name: type(schedule) for name, (schedule, _) in EXAMPLES.items()} == SCHEDULES


@pytest.mark.parametrize(("schedule", "rounds"), EXAMPLES.values(), ids=EXAMPLES)
def test_they_act_in_their_rounds(schedule, rounds):
    assert [number for number in range(1, 9) if schedule.acts(number)] == rounds
    who = [schedule.attackers(number, **NUMBERS) for number in range(1, 9)]
    assert who == [(0, 1, 2) if number in rounds else () for number in range(1, 9)]
    assert schedule.check(8) == []
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_one_that_never_acts_is_warned_about():
    (line,) = Window(first=9, last=12).check(8)
    assert line == "attack.schedule: nobody attacks in any of the rounds 1 to 8"
    attack = Attack(poison=BadWord(), schedule=SingleShot(round=20))
    assert attack.check(("no", "yes"), rounds=20) == []
    assert "rounds 1 to 19" in attack.check(("no", "yes"), rounds=19)[0]


@given(
    round=st.integers(1, 1000),
    n_clients=st.integers(1, 40),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_random_attackers_are_as_many_distinct_clients(round, n_clients, share, seed):
    n_malicious = round_down(share * n_clients)
    schedule = Always(ids="random")
    who = schedule.attackers(round, n_clients=n_clients, n_malicious=n_malicious, seed=seed)
    assert len(set(who)) == len(who) == n_malicious
    assert list(who) == sorted(who)
    assert all(0 <= client < n_clients for client in who)
    assert who == schedule.attackers(round, n_clients=n_clients, n_malicious=n_malicious, seed=seed)


def round_down(number):
    return int(number)


def test_random_attackers_change_from_round_to_round_and_seed_to_seed():
    schedule = Always(ids="random")
    rounds = {schedule.attackers(number, **NUMBERS) for number in range(1, 21)}
    seeds = {schedule.attackers(1, **{**NUMBERS, "seed": seed}) for seed in range(20)}
    assert len(rounds) > 10
    assert len(seeds) > 10
    assert {client for who in rounds for client in who} == set(range(10))


def test_more_attackers_than_clients_are_refused_with_both_numbers():
    with pytest.raises(UserError, match="got n_malicious=4 and n_clients=3"):
        Attack(poison=BadWord()).attackers(1, n_clients=3, n_malicious=4, seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Always(ids="some"), "^ids: must be one of fixed, random, got 'some'"),
        (lambda: Window(first=0, last=3), "^first: must be a round from 1, got 0"),
        (lambda: Window(first=5, last=4), "^last: must not be before first, got first=5 and last=4"),
        (lambda: SingleShot(round=0), "^round: must be a round from 1, got 0"),
        (lambda: Every(k=0), "^k: must be at least 1, got 0"),
        (lambda: Every(k=2, first=0), "^first: must be a round from 1, got 0"),
    ],
)
def test_rounds_that_do_not_exist_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
