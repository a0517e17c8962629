"""Gaussian, zero, mimic and inner product manipulation."""

import pytest
import torch

from hauberk.attacks import IPM, Collusion, Gaussian, Mimic, Zero
from hauberk.tasks.errors import UserError

ROWS = torch.randn(6, 30, generator=torch.Generator().manual_seed(0))
COLLUSION = Collusion(ROWS[:2], ROWS[2:], ROWS[0])


def test_noise_has_its_deviation_and_differs_between_colluders():
    wide = Collusion(torch.zeros(2, 20_000), torch.zeros(1, 20_000), torch.zeros(20_000))
    rows = Gaussian(std=200.0)(wide, torch.Generator().manual_seed(0))
    assert float(rows.std()) == pytest.approx(200, rel=0.02)
    assert float(rows.mean()) == pytest.approx(0, abs=4)
    assert not torch.equal(rows[0], rows[1])


def test_zero_sends_nothing():
    assert torch.equal(Zero()(COLLUSION, torch.Generator()), torch.zeros(2, 30))


@pytest.mark.parametrize(("which", "row"), [(0, 2), (3, 5), (4, 2)])
def test_mimic_repeats_one_honest_client(which, row):
    assert torch.equal(Mimic(which=which)(COLLUSION, torch.Generator()), ROWS[row].expand(2, -1))


def test_ipm_turns_the_mean_round():
    rows = IPM(epsilon=0.5)(COLLUSION, torch.Generator())
    torch.testing.assert_close(rows, (-0.5 * ROWS[2:].mean(dim=0)).expand(2, -1))
    aggregate = torch.cat([IPM(epsilon=2.1)(COLLUSION, torch.Generator()), ROWS[2:]]).mean(dim=0)
    assert float(aggregate @ ROWS[2:].mean(dim=0)) < 0


@pytest.mark.parametrize(
    ("cls", "key", "value"),
    [
        (Gaussian, "std", 0.0),
        (Gaussian, "std", float("inf")),
        (Mimic, "which", -1),
        (Mimic, "which", True),
        (IPM, "epsilon", 0.0),
    ],
)
def test_impossible_settings_are_refused(cls, key, value):
    with pytest.raises(UserError, match=f"^{key}: must be"):
        cls(**{key: value})
