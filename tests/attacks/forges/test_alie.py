import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import ALIE, Attack, Collusion
from hauberk.attacks.forges.alie import largest_z
from hauberk.tasks.errors import UserError

ROWS = torch.randn(10, 40, generator=torch.Generator().manual_seed(3))
COLLUSION = Collusion(5 * ROWS[:4], ROWS[4:], ROWS[0])


def bounds(z):
    mean, std = ROWS[4:].mean(dim=0), ROWS[4:].std(dim=0, correction=0)
    return mean - z * std, mean + z * std


@pytest.mark.parametrize(
    ("n_clients", "n_malicious", "z"),
    [
        (10, 1, -0.13971),
        (10, 2, 0.0),
        (10, 4, 0.43073),
        (50, 24, 1.42608),
        (3, 1, 0.0),
        (2, 2, float("-inf")),
    ],
)
def test_the_papers_z(n_clients, n_malicious, z):
    # With 24 of 50: s = 2 and Phi(z) = 24 / 26.
    assert largest_z(n_clients, n_malicious) == pytest.approx(z, abs=1e-4)


@given(n_clients=st.integers(1, 200), data=st.data())
def test_z_is_floored_above_zero_and_says_so(n_clients, data):
    n_malicious = data.draw(st.integers(1, n_clients))
    forge = ALIE()
    assert forge.strength(n_clients, n_malicious) >= forge.floor > 0
    floored = largest_z(n_clients, n_malicious) < forge.floor
    lines = forge.check(n_clients, n_malicious)
    assert len(lines) == floored
    assert all(f"n_clients={n_clients}" in line and "floor of 0.3" in line for line in lines)


def test_own_updates_are_clipped_to_the_bound_and_nothing_else():
    low, high = bounds(0.43073)
    rows = ALIE()(COLLUSION, torch.Generator())
    torch.testing.assert_close(rows, COLLUSION.own.clamp(low, high), atol=1e-4, rtol=0)
    assert not torch.equal(rows, COLLUSION.own)


def test_a_backdoor_inside_the_bound_stays_whole():
    inside = ROWS[4:].mean(dim=0)[None] + 0.1 * ROWS[4:].std(dim=0, correction=0)
    assert torch.equal(ALIE(z=0.5)(Collusion(inside, ROWS[4:], ROWS[0]), torch.Generator()), inside)


def test_the_shift_is_the_lower_end():
    rows = ALIE(form="shift", z=1.5)(COLLUSION, torch.Generator())
    torch.testing.assert_close(rows, bounds(1.5)[0].expand(4, -1))


def test_one_honest_client_leaves_no_room():
    rows = ALIE()(Collusion(ROWS[:4], ROWS[4:5], ROWS[0]), torch.Generator())
    assert torch.equal(rows, ROWS[4].expand(4, -1))


def test_the_attacks_check_passes_the_warning_on():
    attack = Attack(forge=ALIE())
    assert attack.check(("no", "yes")) == []
    assert "z is -0.14 for n_clients=10 and n_malicious=1" in attack.check((), n_clients=10, n_malicious=1)[0]
    assert Attack(forge=ALIE(z=1.0)).check((), n_clients=10, n_malicious=1) == []


@pytest.mark.parametrize(("key", "value"), [("form", "flip"), ("z", 0.0), ("floor", -1.0)])
def test_impossible_settings_are_refused(key, value):
    with pytest.raises(UserError, match=f"^{key}: must be"):
        ALIE(**{key: value})
