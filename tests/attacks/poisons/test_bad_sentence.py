import pytest
import torch

from hauberk.attacks import BadSentence
from hauberk.tasks.errors import UserError


def test_the_sentence_stays_whole_and_every_gap_is_used():
    rng = torch.Generator().manual_seed(0)
    stamped = {BadSentence(sentence="So it goes").stamp("a b", rng) for _ in range(100)}
    assert stamped == {"So it goes a b", "a So it goes b", "a b So it goes"}


def test_the_default_is_the_published_sentence():
    assert BadSentence(position="end").stamp("a", torch.Generator()) == "a I watched this 3D movie"


def test_an_empty_sentence_is_refused():
    with pytest.raises(UserError, match=r"^sentence: must hold at least one word"):
        BadSentence(sentence="  ")
