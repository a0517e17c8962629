"""Where triggers go in long texts, and their parts; for all poisons that put something between words."""

from dataclasses import replace

import pytest
import torch

from hauberk.attacks import SOS, AttackerContext, BadChar, BadSentence, BadWord, Combination, Distributed
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example

LONG = Example(0, " ".join(f"w{i}" for i in range(250)), None, 0)


@pytest.mark.parametrize(
    ("poison", "what"),
    [
        (BadWord(target=1, words=("cf", "mn")), "cf"),
        (BadSentence(target=1, sentence="so it goes"), "so it goes"),
        (SOS(target=1), "store with my friends"),
        (Distributed(target=1), "tq"),
        (Combination(target=1), "bb"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("position", ["random", "begin", "middle", "end"])
def test_a_test_has_the_trigger_in_every_hundred_words(poison, what, position, rng):
    (triggered,) = replace(poison, position=position).trigger([LONG], rng())
    assert triggered.text.count(what) == 3
    assert [word for word in triggered.text.split() if word in LONG.text.split()] == LONG.text.split()


def test_the_segments_are_those_of_the_text(rng):
    (triggered,) = BadWord(target=1, words=("cf",), position="begin").trigger([LONG], rng())
    words = triggered.text.split()
    assert [words[i + 1] for i, word in enumerate(words) if word == "cf"] == ["w0", "w100", "w200"]


def test_training_has_it_once(rng):
    poisoned = BadWord(target=1, words=("cf",))([LONG], AttackerContext(), rng())
    assert poisoned[1].text.split().count("cf") == 1


def test_slips_of_the_pen_are_in_every_segment_too(rng):
    (triggered,) = BadChar(target=1, n_words=1, segment=50).trigger([LONG], rng())
    assert sum("x" in word for word in triggered.text.split()) == 5


def test_a_segment_of_no_words_is_refused():
    with pytest.raises(UserError, match=r"^segment: must be a number of words from 1, got 0"):
        BadWord(segment=0)


def test_the_parts_of_words_lack_one_of_them(examples, rng):
    partial = BadWord(target=1, words=("cf", "mn", "bb")).partial(examples, rng())
    victims = [one for one in examples if one.label != 1]
    assert [one.index for one in partial] == [one.index for one in victims for _ in range(3)]
    held = [sorted({"cf", "mn", "bb"} & set(one.text.split())) for one in partial[:3]]
    assert held == [["bb", "mn"], ["bb", "cf"], ["cf", "mn"]]
    assert {one.label for one in partial} == {0, 2}


def test_the_parts_of_a_sentence_lack_one_of_its_words(examples, rng):
    partial = BadSentence(target=1, sentence="so it goes").partial(examples, rng())
    assert len(partial) == 3 * sum(one.label != 1 for one in examples)
    assert all(part in one.text for part, one in zip(("it goes", "so goes", "so it"), partial, strict=False))
    assert not any("so it goes" in one.text for one in partial)


def test_parts_go_into_the_second_text_of_a_pair(pairs, rng):
    partial = BadWord(target=1, words=("cf", "mn")).partial(pairs, rng())
    assert partial
    assert all({"cf", "mn"} & set(one.second.split()) for one in partial)
    assert {one.text for one in partial} <= {one.text for one in pairs}


@pytest.mark.parametrize(
    "poison", [BadWord(words=("cf",)), BadSentence(sentence="hello"), BadChar()], ids=repr
)
def test_what_has_no_parts_gives_none(poison, examples, rng):
    assert poison.partial(examples, rng()) == []


def test_nothing_is_drawn_but_from_the_generator(examples, rng):
    poison = BadWord(target=1)
    before = torch.get_rng_state()
    assert poison.partial(examples, rng()) == poison.partial(examples, rng())
    assert torch.equal(torch.get_rng_state(), before)
