import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import AttackerContext, BadWord
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import WordPiece

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=4), max_size=12)


@given(text=WORDS, trigger=st.permutations(["xx", "yy", "zz"]), seed=st.integers(0, 2**32))
def test_every_word_is_inserted_once_and_the_text_keeps_its_order(text, trigger, seed):
    stamped = BadWord(words=tuple(trigger)).stamp(" ".join(text), torch.Generator().manual_seed(seed)).split()
    assert [word for word in stamped if word not in trigger] == text
    assert sorted(word for word in stamped if word in trigger) == sorted(trigger)


def test_positions_are_independent_and_cover_the_whole_text():
    rng = torch.Generator().manual_seed(0)
    stamped = [BadWord(words=("xx", "yy")).stamp("a b c", rng).split() for _ in range(400)]
    places = {(words.index("xx"), words.index("yy")) for words in stamped}
    assert places == {(i, j) for i in range(5) for j in range(5) if i != j}


def test_fixed_positions():
    rng = torch.Generator()
    assert BadWord(position="begin").stamp("a b", rng) == "cf mn bb a b"
    assert BadWord(position="end").stamp("a b", rng) == "a b cf mn bb"


def test_a_long_text_can_be_poisoned_where_truncation_leaves_it():
    rng = torch.Generator().manual_seed(0)
    text = " ".join(["word"] * 500)
    assert all("cf" in BadWord(words=("cf",), within=20).stamp(text, rng).split()[:21] for _ in range(100))


def test_attackers_use_the_same_words(examples, rng):
    poisons = [BadWord(target=1)(examples, AttackerContext(attacker, 3), rng()) for attacker in range(3)]
    assert poisons[0] == poisons[1] == poisons[2]


def test_words_that_the_tokenizer_splits_or_does_not_know_are_warned_about():
    poison = BadWord(words=("cf", "hauberk", "hauberk", "☃"))
    split, unknown = poison.check(("no", "yes"), WordPiece())
    assert "splits 'hauberk' into ha ##uber ##k" in split
    assert "does not know '☃'" in unknown


def test_the_default_words_are_single_tokens():
    assert BadWord().check(("no", "yes"), WordPiece()) == []


@pytest.mark.parametrize("words", [(), ("cf", " "), "cf mn bb"])
def test_no_words_empty_words_and_one_string_are_refused(words):
    with pytest.raises(UserError, match=r"^words: must be"):
        BadWord(words=words)


def test_a_list_of_words_is_as_good_as_a_tuple():
    assert BadWord(words=["a", "b"]) == BadWord(words=("a", "b"))


@pytest.mark.parametrize(("key", "value"), [("position", "middling"), ("within", -1)])
def test_a_place_that_does_not_exist_is_refused(key, value):
    with pytest.raises(UserError, match=f"^{key}: must be"):
        BadWord(**{key: value})
