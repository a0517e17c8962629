from dataclasses import dataclass
from typing import ClassVar

import pytest
from torch import nn

from hauberk.attacks import (
    Attack,
    BadWord,
    EmbeddingPoisoning,
    Forge,
    ModelReplacement,
    SignFlip,
    SOSRows,
    Style,
    Tamper,
)
from hauberk.attacks.threat_model import (
    ALL_PARAPHRASES,
    BENIGN_UPDATES,
    FEDERATION_SIZE,
    KNOWLEDGE,
    OWN_DATA,
    THE_RULE,
    sees_benign_updates,
    strongest_knowledge,
)
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import WordPiece


@dataclass(frozen=True, kw_only=True)
class Spy(Forge):
    knowledge: ClassVar[str] = BENIGN_UPDATES


@dataclass(frozen=True, kw_only=True)
class RowWriter(Tamper):
    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})


def test_the_three_kinds_compose():
    attack = Attack(poison=BadWord(), tamper=ModelReplacement(), forge=SignFlip())
    assert attack.parts == (BadWord(), ModelReplacement(), SignFlip())
    assert not attack.keep_plugins


def test_a_factor_that_turns_or_drops_the_update_is_refused():
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"attack\.scale: must be above 0 and finite, got"):
            Attack(poison=BadWord(), scale=scale)


def test_the_strongest_knowledge_counts():
    assert Attack(poison=BadWord()).knowledge == OWN_DATA
    assert Attack(poison=BadWord(), forge=Spy()).knowledge == BENIGN_UPDATES
    assert strongest_knowledge([THE_RULE, OWN_DATA]) == THE_RULE


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (ModelReplacement(), FEDERATION_SIZE),
        (ModelReplacement(scale=5.0), OWN_DATA),
        (ModelReplacement(norm_bound=1.0), OWN_DATA),
        (EmbeddingPoisoning(), OWN_DATA),
        (EmbeddingPoisoning(scale="clients"), FEDERATION_SIZE),
        (SOSRows(scale="clients"), FEDERATION_SIZE),
    ],
    ids=repr,
)
def test_who_scales_by_the_size_of_the_round_says_that_it_knows_it(tamper, expected):
    assert Attack(poison=BadWord(), tamper=tamper).knowledge == expected
    assert KNOWLEDGE[:2] == (OWN_DATA, FEDERATION_SIZE)


def test_paraphrases_tell_no_size_and_updates_no_paraphrases():
    everyones = Style(train="a", test="b", share="all")
    assert (
        Attack(poison=everyones, tamper=ModelReplacement()).knowledge == "all paraphrases and federation size"
    )
    assert Attack(poison=everyones, forge=Spy()).knowledge == "benign updates and all paraphrases"
    assert Attack(tamper=ModelReplacement(), forge=Spy()).knowledge == BENIGN_UPDATES
    assert [sees_benign_updates(label) for label in KNOWLEDGE] == [False, False, False, True, True]
    assert Attack(poison=everyones).knowledge == ALL_PARAPHRASES


def test_a_made_up_knowledge_is_refused():
    with pytest.raises(ValueError, match="hearsay"):
        strongest_knowledge(["hearsay"])


def test_an_attack_of_nothing_is_refused():
    with pytest.raises(UserError, match="at least one of poison, tamper and forge"):
        Attack()


def test_the_poisons_warnings_and_refusals_come_through():
    assert len(Attack(poison=BadWord(words=("hauberk",))).check(("no", "yes"), WordPiece())) == 1
    with pytest.raises(UserError, match="class 2 does not exist, the data have 2 classes"):
        Attack(poison=BadWord(target=2)).check(("no", "yes"))


def test_a_model_without_what_the_tamper_needs_is_refused():
    attack = Attack(tamper=RowWriter())
    assert attack.check(("no", "yes")) == []
    with pytest.raises(UserError, match="RowWriter needs a model with 'embedding', and Linear has none"):
        attack.check(("no", "yes"), model=nn.Linear(2, 2))
