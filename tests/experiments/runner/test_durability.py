"""How long a backdoor lives after its attackers have left."""

from __future__ import annotations

import pytest

from hauberk.experiments.runner.durability import durability


def rounds(rates, natural=0.1, floor=0.2):
    return [
        {
            "round": number,
            "attack_success_rate": rate,
            "attack_success_natural": natural,
            "attack_success_floor": floor,
        }
        for number, rate in enumerate(rates, start=1)
    ]


def test_by_hand():
    # .8 above natural at the last attack, .6 and .2 after it: .4 lies halfway between rounds 3 and 4.
    found = durability(rounds([0.5, 0.9, 0.7, 0.3]), last_attack=2)
    assert found == {"half_life": pytest.approx(1.5), "lifespan": 2.0, "rounds_after": 2.0}


def test_without_a_natural_rate_it_is_read_above_the_floor():
    # .5 above the floor, then .25.
    assert durability(rounds([0.75, 0.5], natural=None, floor=0.25), 1)["half_life"] == pytest.approx(1.0)


def test_rounds_that_were_not_measured_are_passed_over():
    # .8 above natural, then, three rounds later, 0: half of it after a round and a half.
    assert durability(rounds([0.9, None, None, 0.1]), 1) == {
        "half_life": pytest.approx(1.5), "lifespan": 3.0, "rounds_after": 3.0,
    }  # fmt: skip


def test_what_did_not_happen_has_no_value():
    assert durability(rounds([0.9, 0.9, 0.8]), 1) == {
        "half_life": None,
        "lifespan": None,
        "rounds_after": 2.0,
    }
    weak = durability(rounds([0.12, 0.1]), 1)
    assert (weak["half_life"], weak["lifespan"]) == (None, 0.0)


@pytest.mark.parametrize(("rates", "last_attack"), [([0.9, 0.9], 2), ([0.9, 0.9], 0), ([None, None], 1)])
def test_where_nobody_left_or_nothing_was_measured_there_is_nothing(rates, last_attack):
    assert durability(rounds(rates), last_attack) == {}
