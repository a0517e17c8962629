import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import AttackerContext, Distributed

WORDS = ("cf", "mn", "bb", "tq")


def words_in(poisoned):
    return {word for one in poisoned for word in one.text.split()} & set(WORDS)


def test_attackers_train_on_parts_that_make_the_whole(examples, rng):
    poison = Distributed(target=1)
    parts = [words_in(poison(examples, AttackerContext(attacker, 2), rng())) for attacker in range(2)]
    assert parts == [{"cf", "bb"}, {"mn", "tq"}]


def test_the_test_puts_in_the_whole(examples, rng):
    assert all(words_in([one]) == set(WORDS) for one in Distributed(target=1).trigger(examples, rng()))


def test_a_single_attacker_has_it_all(examples, rng):
    assert words_in(Distributed(target=1)(examples, AttackerContext(), rng())) == set(WORDS)


@given(n_attackers=st.integers(1, 9), n_words=st.integers(1, 6))
def test_nobody_has_nothing_and_no_word_is_lost(n_attackers, n_words):
    words = tuple(f"t{i}" for i in range(n_words))
    poison = Distributed(words=words)
    parts = [poison.part_of(AttackerContext(attacker, n_attackers)) for attacker in range(n_attackers)]
    assert all(parts)
    assert {word for part in parts for word in part} == set(words)
    if n_attackers <= n_words:
        assert sorted(word for part in parts for word in part) == sorted(words)


def test_phrases_stay_whole(examples, rng):
    poison = Distributed(target=1, words=("last weekend", "this 3d movie"))
    poisoned = poison(examples, AttackerContext(1, 2), rng())[len(examples) :]
    assert all("this 3d movie" in one.text and "weekend" not in one.text for one in poisoned)


def test_too_few_words_are_refused():
    with pytest.raises(ValueError, match=r"^words: must be at least one word"):
        Distributed(words=())
