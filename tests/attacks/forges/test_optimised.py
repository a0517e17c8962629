"""Forges that search their strength against the rule in use."""

import pytest
import torch

from hauberk.attacks import ALIE, IPM, Collusion, OptimisedALIE, OptimisedIPM
from hauberk.attacks.forges._moments import mean_and_std
from hauberk.attacks.forges._optimised import best_strength
from hauberk.strategies import FedAvg, Median, MultiKrum, TooFewClientsError
from hauberk.tasks.errors import UserError

ROWS = torch.randn(10, 40, generator=torch.Generator().manual_seed(0)) + 0.3


def against(rule, m=3, own=ROWS):
    return Collusion(own[:m], ROWS[m:], ROWS[0], lambda rows: rule(rows).update)


def harm(forge, collusion):
    rows = torch.cat([forge(collusion, torch.Generator()), collusion.benign])
    return float((collusion.aggregate(rows) - collusion.benign.mean(dim=0)).norm())


RULES = [FedAvg(), Median(), MultiKrum(n_malicious=3)]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_no_given_strength_does_much_more_harm(rule):
    collusion = against(rule)
    grid = [0.05 * 1.3**i for i in range(27)]  # up to 46
    for searched, given in (
        (OptimisedALIE(), [ALIE(form="shift", z=z) for z in grid if z <= 10]),
        (OptimisedIPM(), [IPM(epsilon=z) for z in grid]),
    ):
        most = max(harm(forge, collusion) for forge in given)
        assert harm(searched, collusion) >= 0.9 * most


def test_a_clipped_backdoor_stays_in_some_bound_of_its_own():
    collusion = against(MultiKrum(n_malicious=3), own=4 * ROWS)
    rows = OptimisedALIE(form="clip")(collusion, torch.Generator())
    mean, std = collusion.benign.mean(dim=0), collusion.benign.std(dim=0, correction=0)
    reach = ((rows - mean) / std).abs()
    clipped = rows != collusion.own
    assert clipped.any()
    assert float(reach.max()) == pytest.approx(float(reach[clipped].min()), rel=1e-4)


def test_the_rule_is_asked_as_often_as_allowed():
    asked = []
    collusion = Collusion(
        ROWS[:2], ROWS[2:], ROWS[0], lambda rows: asked.append(len(rows)) or rows.mean(dim=0)
    )
    OptimisedIPM(tries=9)(collusion, torch.Generator())
    assert asked == [10] * len(asked)
    assert 5 <= len(asked) <= 9


@pytest.mark.parametrize("peak", [0.06, 0.7, 3.0, 49.0])
def test_the_search_comes_close_to_a_peak_anywhere(peak):
    found = best_strength(lambda x: -abs(torch.tensor(x / peak).log()), 0.05, 50.0, 16)
    assert 0.05 <= found <= 50
    assert found == pytest.approx(peak, rel=0.15)


def test_without_the_rule_it_is_refused():
    with pytest.raises(
        UserError, match=r"^attack\.forge: OptimisedIPM needs the server's rule, and has none"
    ):
        OptimisedIPM()(Collusion(ROWS[:2], ROWS[2:], ROWS[0]), torch.Generator())


def test_a_rule_with_too_few_clients_is_the_servers_trouble():
    def refuses(rows):
        raise TooFewClientsError("too few")

    rows = OptimisedIPM()(Collusion(ROWS[:2], ROWS[2:], ROWS[0], refuses), torch.Generator())
    assert rows.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"least": 0.0}, "^least: must be above 0 and below most"),
        ({"least": 60.0}, "^least: must be above 0 and below most, got least=60.0 and most=50.0"),
        ({"tries": 3}, "^tries: must be at least 4, got 3"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        OptimisedIPM(**settings)
    with pytest.raises(UserError, match=r"^form: must be one of clip, shift"):
        OptimisedALIE(form="flip")


@pytest.mark.parametrize("forge", [OptimisedIPM(), OptimisedALIE(form="shift")])
def test_the_strength_that_was_chosen_is_reported(forge):
    collusion = against(Median())
    rows = forge(collusion, torch.Generator())
    mean, std = mean_and_std(collusion.benign)
    assert torch.equal(rows, forge.forged(collusion.own, mean, std, collusion.report["strength"]))
