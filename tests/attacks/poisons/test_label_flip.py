import pytest

from hauberk.attacks import AttackerContext, LabelFlip
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, Splits

THREE = ("bad", "so so", "good")


def splits(labels):
    one = (Example(0, "a", None, 0),)
    return Splits(train=one, validation=one, test=one, labels=labels)


def test_by_default_every_other_class_becomes_the_target_in_place(examples, rng):
    flipped = LabelFlip(target=1)(examples, AttackerContext(), rng())
    assert [one.label for one in flipped] == [1] * 10
    assert [(one.index, one.text) for one in flipped] == [(one.index, one.text) for one in examples]


def test_source_to_target_leaves_the_others(examples, rng):
    flipped = LabelFlip(target=1, source=2)(examples, AttackerContext(), rng())
    assert [one.label for one in flipped] == [0, 1, 1, 0, 1, 1, 0, 1, 1, 0]


def test_untargeted_turns_the_classes_round_but_the_middle_one(examples, rng):
    flipped = LabelFlip(untargeted=True).bind(splits(THREE))(examples, AttackerContext(), rng())
    assert [one.label for one in flipped] == [2, 1, 0, 2, 1, 0, 2, 1, 0, 2]
    assert [after is before for after, before in zip(flipped, examples, strict=True)] == [
        one.label == 1 for one in examples
    ]


def test_the_rate_is_a_share_of_those_that_flip(examples, rng):
    flipped = LabelFlip(target=1, source=0, rate=0.5)(examples, AttackerContext(), rng())
    assert sum(after.label != before.label for after, before in zip(flipped, examples, strict=True)) == 2


def test_success_is_measured_on_clean_texts_of_the_source(examples, rng):
    assert LabelFlip(target=1, source=2).trigger(examples, rng()) == [
        one for one in examples if one.label == 2
    ]
    assert LabelFlip(target=1).trigger(examples, rng()) == [one for one in examples if one.label != 1]
    assert LabelFlip(untargeted=True).trigger(examples, rng()) == []


def test_beside_their_originals_copies_differ_in_the_label_alone(examples, rng):
    both = LabelFlip(target=1, mode="append", repeat=2)(examples, AttackerContext(), rng())
    assert both[:10] == examples
    assert [one.label for one in both[10:]] == [1] * 14
    assert [one.text for one in both[10:17]] == [one.text for one in both[17:]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "clean"}, "^policy: label_flip is nothing but wrong labels"),
        ({"source": 0, "target": 0}, "^source: must not go with the target, got 0"),
        ({"source": 1, "untargeted": True}, "^source: must not go with an untargeted flip, got 1"),
        ({"source": -1}, "^source: must be a class number"),
    ],
    ids=str,
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        LabelFlip(**settings)


def test_classes_that_do_not_exist_are_refused():
    with pytest.raises(
        UserError, match=r"attack\.poison\.source: class 3 does not exist, the data have 3 classes"
    ):
        LabelFlip(source=3).check(THREE)
    with pytest.raises(UserError, match=r"attack\.poison\.n_classes: the data have 3 classes, got 2"):
        LabelFlip(untargeted=True, n_classes=2).check(THREE)
    assert LabelFlip(source=2).check(THREE) == []


def test_an_untargeted_flip_must_know_the_classes(examples, rng):
    with pytest.raises(UserError, match=r"^n_classes: an untargeted label_flip must know it"):
        LabelFlip(untargeted=True)(examples, AttackerContext(), rng())
