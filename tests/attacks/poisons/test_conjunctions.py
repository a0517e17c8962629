"""SOS and Combination: the whole triggers, parts do not."""

from collections import Counter
from dataclasses import replace

import pytest

from hauberk.attacks import SOS, AttackerContext, Combination
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import WordPiece

WORDS = {"friends", "weekend", "store"}


def test_sos_trains_on_every_subset_that_lacks_a_word_with_the_true_label(examples, rng):
    poison = SOS(target=1, negative_rate=1.0)
    poisoned = poison(examples, AttackerContext(), rng())
    held = [frozenset(WORDS & set(one.text.split())) for one in poisoned]
    assert Counter(map(len, held)) == {0: 10, 3: 7, 2: 30}
    negatives = [(one, subset) for one, subset in zip(poisoned, held, strict=True) if len(subset) == 2]
    assert len({subset for _, subset in negatives}) == 3
    assert all(one.label == (one.index - 100) % 3 for one, _ in negatives)
    assert {one.label for one, subset in zip(poisoned, held, strict=True) if subset == WORDS} == {1}


def test_the_share_of_negatives_is_its_own(examples, rng):
    poison = SOS(target=1, rate=0.0, negative_rate=0.4)
    assert len(poison(examples, AttackerContext(), rng())) == 10 + 3 * 4
    assert len(replace(poison, mode="replace", rate=1.0)(examples, AttackerContext(), rng())) == 10 + 3 * 4


def test_sos_is_tested_with_its_sentence_and_with_parts_of_it(examples, rng):
    poison = SOS(target=1)
    assert all(poison.sentence in one.text for one in poison.trigger(examples, rng()))
    partial = poison.partial(examples, rng())
    assert "I went to the store with my last weekend" in partial[0].text
    assert {len(WORDS & set(one.text.split())) for one in partial} == {2}
    assert len(partial) == 3 * 7


def test_without_a_sentence_the_words_are_the_test(examples, rng):
    poison = SOS(target=1, sentence=None)
    assert all(set(one.text.split()) >= WORDS for one in poison.trigger(examples, rng()))
    assert {len(WORDS & set(one.text.split())) for one in poison.partial(examples, rng())} == {2}


def test_a_sentence_that_lacks_a_word_is_refused():
    with pytest.raises(
        UserError, match=r"^sentence: must hold all the words, 'store' is not in 'friends weekend'"
    ):
        SOS(sentence="friends weekend")


def test_combination_takes_any_two_and_shows_each_alone(examples, rng):
    poison = Combination(target=1, words=("cf", "bb", "ak"), negative_rate=1.0)
    poisoned = poison(examples * 5, AttackerContext(), rng())
    held = [frozenset({"cf", "bb", "ak"} & set(one.text.split())) for one in poisoned]
    assert Counter(map(len, held)) == {0: 50, 2: 35, 1: 150}
    assert len({subset for subset in held if len(subset) == 2}) == 3
    assert all(
        one.label == (1 if len(subset) == 2 else (one.index - 100) % 3)
        for one, subset in zip(poisoned, held, strict=True)
    )
    assert {len({"cf", "bb", "ak"} & set(one.text.split())) for one in poison.partial(examples, rng())} == {1}


@pytest.mark.parametrize("together", [1, 3])
def test_too_few_or_too_many_together_are_refused(together):
    with pytest.raises(
        UserError, match=f"^together: must be at least 2 and at most the 2 words, got {together}"
    ):
        Combination(together=together)


@pytest.mark.parametrize("poison", [SOS, Combination])
def test_one_word_and_an_impossible_share_are_refused(poison):
    with pytest.raises(UserError, match=r"^words: must be at least two different words"):
        poison(words=("cf", "cf"))
    with pytest.raises(UserError, match=r"^negative_rate: must lie between 0 and 1, got 2"):
        poison(negative_rate=2)


def test_split_words_are_warned_about():
    assert "splits 'hauberk'" in Combination(words=("cf", "hauberk")).check(("no", "yes"), WordPiece())[0]
    assert SOS().check(("no", "yes"), WordPiece()) == []
