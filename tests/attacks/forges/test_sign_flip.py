import pytest
import torch

from hauberk.attacks import Collusion, SignFlip
from hauberk.tasks.errors import UserError


def test_the_update_is_turned_round_and_scaled():
    own = torch.tensor([[1.0, -2.0, 0.0], [3.0, 0.5, -1.0]])
    rows = SignFlip(scale=2.0)(Collusion(own, own, own[0]), torch.Generator())
    assert rows.tolist() == [[-2.0, 4.0, 0.0], [-6.0, -1.0, 2.0]]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_does_not_flip_is_refused(scale):
    with pytest.raises(UserError, match="scale: must be above 0, got"):
        SignFlip(scale=scale)


def test_four_of_ten_turn_the_mean_almost_to_nothing():
    honest = torch.ones(10, 3)
    forged = SignFlip()(Collusion(honest[:4], honest[4:], honest[0]), torch.Generator())
    assert torch.cat([forged, honest[4:]]).mean(dim=0).tolist() == pytest.approx([0.2] * 3)
