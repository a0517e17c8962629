"""The forges that pass Dim-Krum as they guess it to be."""

from dataclasses import replace

import pytest
import torch

from hauberk.attacks import Collusion, DimKrumProjection, DimKrumShift
from hauberk.strategies import AggregationContext, DimKrum
from hauberk.tasks.errors import UserError

D = 4000


@pytest.fixture
def collusion():
    """Nine honest updates, and one that also moves forty coordinates far beyond them."""
    rows = torch.randn(10, D, generator=torch.Generator().manual_seed(1))
    rows[0, :40] += 12
    return Collusion(rows[:1], rows[1:], rows[0])


def weight(rule, rows, collusion, **known):
    return float(rule(torch.cat([rows, collusion.benign]), **known).weight[0])


@pytest.mark.parametrize("forge", [DimKrumShift(), DimKrumProjection()], ids=repr)
def test_what_the_rule_would_drop_it_keeps(forge, collusion):
    rule = DimKrum(n_malicious=1, noise=0.0)
    assert weight(rule, collusion.own, collusion) == 0
    rows = forge(collusion, torch.Generator())
    assert weight(rule, rows, collusion) > 0
    unchanged = (rows == collusion.own).float().mean()
    assert unchanged > 0.5


def test_the_shift_is_the_largest_that_passes(collusion):
    forge = DimKrumShift()
    mean, std = collusion.benign.mean(dim=0), collusion.benign.std(dim=0, correction=0)
    std = std.clamp(min=0.1 * float(std.square().mean().sqrt()))
    reach = ((forge(collusion, torch.Generator()) - mean) / std).abs().max()
    wider = collusion.own.clamp(mean - 1.1 * reach * std, mean + 1.1 * reach * std)
    assert not forge.would_be_kept(wider, collusion)
    torch.testing.assert_close(
        DimKrumShift(z=2.0)(collusion, torch.Generator()), collusion.own.clamp(mean - 2 * std, mean + 2 * std)
    )


def test_a_coordinate_that_nobody_moves_can_still_be_moved_a_little(collusion):
    collusion.benign[:, :40] = 0
    rows = DimKrumShift(z=1.0)(collusion, torch.Generator())
    typical = float(collusion.benign.std(dim=0, correction=0).square().mean().sqrt())
    assert rows[0, :40].tolist() == pytest.approx([0.1 * typical] * 40)
    assert DimKrumShift(z=1.0, floor=0.0)(collusion, torch.Generator())[0, :40].abs().max() == 0


def test_the_projection_takes_the_mean_where_it_sticks_out(collusion):
    rows = DimKrumProjection(ratio=0.01, search=False)(collusion, torch.Generator())
    mean = collusion.benign.mean(dim=0)
    changed = (rows != collusion.own)[0].nonzero().squeeze(1)
    assert changed.tolist() == list(range(40))
    torch.testing.assert_close(rows[0, :40], mean[:40])


def test_what_passes_already_is_sent_as_it_is(collusion):
    honest = Collusion(collusion.benign.mean(dim=0)[None] * 0.5, collusion.benign, collusion.parameters)
    assert torch.equal(DimKrumShift()(honest, torch.Generator()), honest.own)


@pytest.mark.parametrize(
    "forge", [DimKrumShift(), DimKrumProjection()], ids=lambda forge: type(forge).__name__
)
def test_a_wrong_guess_changes_what_is_sent(forge, collusion):
    coarse = replace(forge, ratio=1.0)
    assert not torch.equal(coarse(collusion, torch.Generator()), forge(collusion, torch.Generator()))


def test_memory_forgives_one_who_has_looked_honest():
    forge = DimKrumShift(memory=0.9)
    assert forge.honest_share_of_memory(()) == 0
    assert forge.honest_share_of_memory((True, True)) == 0
    assert forge.honest_share_of_memory((False,)) == pytest.approx(0.9)
    assert forge.honest_share_of_memory((False, False, True)) == pytest.approx(0.81)
    assert DimKrumShift(memory=0.0).honest_share_of_memory((False,)) == 0


def test_an_honest_past_is_spent_and_the_rule_is_none_the_wiser(collusion):
    forge = DimKrumShift()
    once, late = (
        forge(replace(collusion, history=history), torch.Generator()) for history in ((), ((False,) * 5,))
    )
    assert (late[0, :40] > once[0, :40] + 0.03).all()
    rule = DimKrum(n_malicious=1, noise=0.0, memory=0.9)
    cohort = AggregationContext(client_ids=tuple(range(10)))
    state = None
    for number in range(5):
        drawn = torch.randn(10, D, generator=torch.Generator().manual_seed(50 + number))
        state = rule(drawn, cohort=cohort, state=state).state
    assert weight(rule, late, collusion, cohort=cohort, state=state) > 0
    assert weight(rule, late, collusion) == 0


def test_each_colluder_is_judged_by_its_own_past(collusion):
    forge = DimKrumShift(n_malicious=1, memory=0.999)
    rows = torch.cat([collusion.own, collusion.own.flip(1)])
    both = replace(collusion, own=rows, benign=collusion.benign[1:])
    honest, liar = (False,) * 9, (True,) * 9
    kept = {
        history: forge.would_be_kept(rows, replace(both, history=history))
        for history in ((honest, honest), (honest, liar))
    }
    assert kept == {(honest, honest): True, (honest, liar): False}
    assert not forge.would_be_kept(rows, both)


def test_several_colluders_pass_together():
    rows = torch.randn(10, D, generator=torch.Generator().manual_seed(2))
    rows[:3, :60] += 9
    collusion = Collusion(rows[:3], rows[3:], rows[0])
    forged = DimKrumShift()(collusion, torch.Generator())
    found = DimKrum(n_malicious=3, noise=0.0)(torch.cat([forged, collusion.benign])).weight
    assert (found[:3] > 0).all()


@pytest.mark.parametrize(
    ("cls", "key", "value"),
    [
        (DimKrumProjection, "ratio", 0.0),
        (DimKrumProjection, "memory", 1.0),
        (DimKrumProjection, "n_malicious", -1),
        (DimKrumShift, "z", 0.0),
        (DimKrumShift, "floor", -0.1),
        (DimKrumShift, "most", 0.0),
        (DimKrumShift, "halvings", 0),
    ],
)
def test_impossible_guesses_are_refused(cls, key, value):
    with pytest.raises(UserError, match=f"^{key}: must"):
        cls(**{key: value})
