import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import BadSentence, BadWord, LabelFlip
from hauberk.attacks.stealth import false_trigger_rate, rank_stealth, text_stealth, update_stealth
from hauberk.strategies.kernels.distances import gram_matrix, squared_distances
from hauberk.strategies.kernels.selections import dimension_distances
from hauberk.tasks.text.trigram import fit

BENIGN = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)) + 0.5


def measured(measure, malicious, benign=BENIGN):
    rows = torch.cat([malicious, benign])
    gram = gram_matrix(rows)
    distances = {"krum": squared_distances(rows, gram), "dim_krum": dimension_distances(rows, 1e-3)}
    of = gram if measure is update_stealth else distances
    return measure(of, torch.arange(len(rows)) < len(malicious))


def cosine(first, second):
    return float(torch.cosine_similarity(first.double(), second.double(), dim=0))


def test_norms_and_cosines_are_what_their_names_say():
    malicious = torch.stack([3 * BENIGN.mean(dim=0), -BENIGN.mean(dim=0)])
    report = measured(update_stealth, malicious)
    assert report["stealth/norm"] == pytest.approx(2 * float(BENIGN.mean(dim=0).norm()))
    assert report["stealth/benign_norm"] == pytest.approx(float(BENIGN.norm(dim=1).mean()))
    assert report["stealth/cosine"] == pytest.approx(0, abs=1e-7)
    assert measured(update_stealth, malicious[:1])["stealth/cosine"] == pytest.approx(1)
    others = [
        cosine(row, torch.cat([BENIGN[:i], BENIGN[i + 1 :]]).mean(dim=0)) for i, row in enumerate(BENIGN)
    ]
    assert report["stealth/benign_cosine"] == pytest.approx(sum(others) / 6)


def test_nothing_has_no_direction_and_one_has_no_others():
    report = measured(update_stealth, torch.zeros(1, 50), BENIGN[:1])
    assert report == {
        "stealth/norm": 0.0,
        "stealth/benign_norm": pytest.approx(float(BENIGN[0].norm())),
        "stealth/cosine": 0.0,
    }


def test_ranks_go_from_the_most_trusted_to_the_least():
    centre, far = BENIGN.mean(dim=0)[None], BENIGN[:1] + 50
    assert measured(rank_stealth, centre) == {"stealth/krum_rank": 1.0, "stealth/dim_krum_rank": 1.0}
    assert measured(rank_stealth, far) == {"stealth/krum_rank": 7.0, "stealth/dim_krum_rank": 7.0}
    assert measured(rank_stealth, torch.cat([far, centre]))["stealth/krum_rank"] == 1.0


def test_a_rank_among_two_is_refused():
    with pytest.raises(ValueError, match="at least 3 updates, got 2"):
        measured(rank_stealth, BENIGN[:1], BENIGN[1:2])


def test_a_hand_calculation_of_the_trigram():
    model = fit(["a b", "a c"])
    # Known words: a, b, c and the end. "b" stands once among 6, follows "a" once of 2 and "<s> a" once of 2.
    one = (1 + 1) / (6 + 4 + 1)
    assert model.probability("<s>", "a", "b") == pytest.approx(0.2 * one + 0.3 * 0.5 + 0.5 * 0.5)
    # "b a" was never seen, so its weight goes to "a" and to no context.
    assert model.probability("b", "a", "b") == pytest.approx((0.2 * one + 0.3 * 0.5) / 0.5)
    assert model.probability("x", "y", "b") == pytest.approx(one)


@given(first=st.sampled_from("abcxy"), second=st.sampled_from("abcxy"))
def test_probabilities_sum_to_one_over_known_words_and_one_unknown(first, second):
    model = fit(["a b c", "a c", "b b a"])
    total = sum(model.probability(first, second, word) for word in ("a", "b", "c", "</s>", "unknown"))
    assert total == pytest.approx(1)


def test_perplexity_is_the_geometric_mean():
    model = fit(["a b", "a c"])
    steps = [("<s>", "<s>", "a"), ("<s>", "a", "b"), ("a", "b", "</s>")]
    expected = math.prod(model.probability(*step) for step in steps) ** (-1 / 3)
    assert model.perplexity(["A b"]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least one text"):
        model.perplexity([])


def test_read_texts_surprise_less_than_shuffled_ones():
    texts = [f"the {a} film was {b} ." for a in ("new", "long", "old") for b in ("good", "bad", "odd")]
    model = fit(texts)
    assert model.perplexity(texts) < 0.5 * model.perplexity(
        [" ".join(reversed(text.split())) for text in texts]
    )


def test_a_trigger_surprises_and_a_natural_sentence_less(examples, rng):
    model = fit([*(one.text for one in examples), "I watched this 3D movie and I liked this movie"])
    words, sentence = (
        text_stealth(poison, examples, model, rng())
        for poison in (BadWord(target=1, words=("cf", "mn", "bb", "tq", "mb")), BadSentence(target=1))
    )
    assert words["stealth/clean_perplexity"] == sentence["stealth/clean_perplexity"]
    assert words["stealth/clean_perplexity"] < sentence["stealth/perplexity"] < words["stealth/perplexity"]
    assert text_stealth(LabelFlip(untargeted=True, n_classes=3), examples, model, rng()) == {}


def test_the_false_trigger_rate_counts_parts_taken_for_the_target(examples, rng):
    asked = []

    def logits_of(partial):
        asked.extend(partial)
        return torch.tensor(
            [[0.0, 1.0, 0.0] if "cf" in one.text.split() else [1.0, 0.0, 0.0] for one in partial]
        )

    poison = BadWord(target=1, words=("cf", "mn"))
    assert false_trigger_rate(poison, examples, logits_of, rng()) == pytest.approx(0.5)
    assert len(asked) == 14
    assert false_trigger_rate(BadWord(words=("cf",)), examples, logits_of, rng()) is None
