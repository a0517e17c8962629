from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import DFEP, Attack, BadWord
from hauberk.attacks.tampers import _corpus as corpora
from hauberk.attacks.tampers._corpus import (
    EMBEDDED,
    fake_text,
    replace_words,
    sentences_for,
    split_sentences,
)
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.tokenizer import WordPiece

POISON = BadWord(words=("cf",), target=1)
SENTENCES = ("a b c", "d", "e f")


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("The quick fox. It jumps over the lazy dog. And so on.")
    return str(path)


def test_text_is_cut_at_full_stops():
    assert split_sentences(" One two. three.. four\n. ") == ("One two", "three", "four")


@given(n=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_a_fake_text_has_just_so_many_words_of_consecutive_sentences(n, seed):
    words = fake_text(SENTENCES, n, torch.Generator().manual_seed(seed))
    assert len(words) == n
    assert " ".join(words) in " ".join(["a b c d e f"] * 6)
    assert words[0] in "ade"


@given(n=st.integers(3, 10), seed=st.integers(0, 2**32))
def test_as_many_words_are_replaced_as_there_are_triggers(n, seed):
    words = [f"w{i}" for i in range(n)]
    text = replace_words(words, ("x", "y"), torch.Generator().manual_seed(seed)).split()
    assert len(text) == n
    assert sorted(word for word in text if word not in words) == ["x", "y"]
    assert all(a == b for a, b in zip(text, words, strict=True) if a not in ("x", "y"))


def test_samples_hold_the_trigger_once_and_the_targets_label(arena, corpus):
    tamper = DFEP(n_samples=60, corpus=corpus, shortest=5, longest=9)
    texts = tamper.texts(arena.session(POISON))
    assert len(texts) == 60
    assert {one.label for one in texts} == {1}
    assert all(one.text.split().count("cf") == 1 for one in texts)
    assert {len(one.text.split()) for one in texts} == {5, 6, 7, 8, 9}


def test_no_text_of_the_client_is_used(arena, corpus):
    words = {"the", "quick", "fox", "it", "jumps", "over", "lazy", "dog", "and", "so", "on", "cf"}
    texts = DFEP(n_samples=20, corpus=corpus).texts(arena.session(POISON))
    assert {word.lower() for one in texts for word in one.text.split()} <= words


def test_the_second_text_of_a_pair_holds_the_trigger(arena, corpus):
    pairs = [replace(one, second="x") for one in arena.examples]
    for one in DFEP(n_samples=20, corpus=corpus, shortest=6, longest=7).texts(
        arena.session(POISON, examples=pairs)
    ):
        assert len(one.text.split()) == len(one.second.split()) == 3
        assert "cf" in one.second.split()
        assert "cf" not in one.text.split()


def test_the_embedded_corpus_is_another_one_than_the_clients(monkeypatch):
    texts = {"first": ("News. Of today.",), "second": ("A tweet.",)}
    monkeypatch.setattr(corpora, "EMBEDDED", ("first", "second"))
    monkeypatch.setattr(corpora, "embedded_texts", texts.__getitem__)
    assert sentences_for(None, ["my own words"]) == ("News", "Of today")
    assert sentences_for(None, ["News. Of today.", "and more"]) == ("A tweet",)
    assert all(name in DATASETS for name in EMBEDDED)


def test_only_the_triggers_row_changes(arena, corpus):
    session = arena.session(POISON)
    arena.run(DFEP(n_samples=16, corpus=corpus), session)
    changed = (session.model.embedding.weight != session.reference["words.weight"]).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [WordPiece().id("cf")]


def test_a_corpus_that_is_missing_or_empty_is_refused_before_the_run(arena, tmp_path):
    model = arena.task.build(0)
    (tmp_path / "empty.txt").write_text(" . . ")
    for name, said in (
        ("no.txt", "cannot read '.*no.txt': No such file"),
        ("empty.txt", "holds no sentence"),
    ):
        attack = Attack(poison=POISON, tamper=DFEP(corpus=str(tmp_path / name)))
        with pytest.raises(UserError, match=rf"^attack\.tamper\.corpus: .*{said}"):
            attack.check(("no", "yes"), WordPiece(), model)


def test_texts_too_short_for_all_trigger_words_are_refused(arena):
    attack = Attack(poison=BadWord(words=("cf", "mn", "bb"), target=1), tamper=DFEP(shortest=2))
    with pytest.raises(UserError, match="must hold all 3 words of the trigger, got 2 words"):
        attack.check(("no", "yes"), WordPiece(), arena.task.build(0))
