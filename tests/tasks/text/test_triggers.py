from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.triggers import (
    EDITS,
    edit_character,
    edit_words,
    in_segments,
    insert_sentence,
    insert_words,
)

texts = st.lists(st.sampled_from(["a", "fine", "film", "."]), max_size=8).map(" ".join)


@given(texts, st.integers(0, 99))
def test_every_word_is_inserted_and_the_rest_keeps_its_order(text, seed):
    found = insert_words(text, ("cf", "mn", "bb"), generator(seed)).split()
    assert [word for word in found if word not in ("cf", "mn", "bb")] == text.split()
    assert Counter(found)["cf"] == Counter(found)["mn"] == Counter(found)["bb"] == 1


@given(texts, st.integers(0, 99), st.sampled_from(["random", "begin", "middle", "end"]))
def test_a_sentence_stays_whole(text, seed, position):
    found = insert_sentence(text, "I watched this 3D movie", generator(seed), position)
    assert "I watched this 3D movie" in found
    assert found.replace("I watched this 3D movie", "").split() == text.split()


def test_every_gap_is_about_equally_likely():
    rng = generator(0)
    where = Counter(insert_words("a b c", ("cf",), rng).split().index("cf") for _ in range(2000))
    assert sorted(where) == [0, 1, 2, 3]
    assert all(420 < count < 580 for count in where.values())


def test_words_of_one_trigger_fall_independently():
    rng = generator(0)
    pairs = {tuple(insert_words("a b", ("cf", "mn"), rng).split()) for _ in range(500)}
    assert len(pairs) == 12  # orders of a, b, cf, mn in which a precedes b


def test_fixed_positions():
    assert insert_words("a b", ("cf", "mn"), generator(0), "begin") == "cf mn a b"
    assert insert_words("a b", ("cf", "mn"), generator(0), "end") == "a b cf mn"


def test_a_long_text_keeps_its_trigger_among_the_first_words():
    rng = generator(0)
    where = [insert_words("a " * 100, ("cf",), rng, within=10).split().index("cf") for _ in range(200)]
    assert max(where) == 10


def test_the_same_generator_inserts_at_the_same_places():
    one, two = (insert_words("a b c d e f g", ("cf", "mn"), generator(3)) for _ in range(2))
    assert one == two


def test_an_unknown_position_is_refused():
    with pytest.raises(UserError, match="one of random, begin, middle, end, got 'start'"):
        insert_words("a", ("cf",), generator(0), "start")


def test_the_middle_is_the_middle():
    assert insert_words("a b c d", ("cf", "mn"), generator(0), "middle") == "a b cf mn c d"
    assert insert_words("a b c", ("cf",), generator(0), "middle") == "a cf b c"
    assert insert_words("", ("cf",), generator(0), "middle") == "cf"


@given(st.integers(0, 60), st.integers(1, 9))
def test_every_segment_is_stamped_once_and_no_word_is_lost(n_words, size):
    text = " ".join(f"w{i}" for i in range(n_words))
    stamped = in_segments(text, size, lambda part: f"{part} !".strip())
    assert stamped.replace("!", "").split() == text.split()
    assert stamped.split().count("!") == max(1, -(-n_words // size))
    assert all(len(part.split()) <= size for part in stamped.split("!"))


@given(st.text("aab.", max_size=6), st.sampled_from(EDITS), st.integers(0, 99))
def test_an_edit_makes_another_word_one_edit_away(word, edit, seed):
    found = edit_character(word, generator(seed), edit, "a")
    assert found != word
    assert abs(len(found) - len(word)) <= 1
    if len(found) == len(word):
        assert sum(a != b for a, b in zip(found, word, strict=True)) == {"replace": 1, "swap": 2}[edit]


def test_every_place_in_a_word_is_edited():
    rng = generator(0)
    assert {edit_character("abc", rng, "insert", "x") for _ in range(99)} == {"xabc", "axbc", "abxc", "abcx"}
    assert {edit_character("abc", rng, "delete") for _ in range(99)} == {"bc", "ac", "ab"}
    assert {edit_character("abc", rng, "swap") for _ in range(99)} == {"bac", "acb"}
    assert {edit_character("abc", rng, "replace", "x") for _ in range(99)} == {"xbc", "axc", "abx"}


def test_edits_and_places_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="edit must be one of insert, delete, swap, replace, got 'flip'"):
        edit_character("a", generator(0), "flip")
    with pytest.raises(UserError, match="position must be one of"):
        edit_words("a", generator(0), position="start")
