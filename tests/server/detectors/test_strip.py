"""STRIP: what replaces what, the entropy, and its cost."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from hauberk.experiments.runner.finished import read_finished
from hauberk.server.detection.fitting import fit_detector
from hauberk.server.detection.scoring import score_detectors
from hauberk.server.detectors import STRIP
from hauberk.server.detectors.strip import entropy, ranked_words, with_words_replaced
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.examples import Example


def test_entropy_by_hand():
    found = entropy(torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0], [1e4, 0.0]]))
    expected = [math.log(2), -0.75 * math.log(0.75) - 0.25 * math.log(0.25), 0.0]
    assert found.tolist() == pytest.approx(expected)


def test_words_are_ranked_by_tf_idf():
    # "the" is in all texts, "film" in two, "dull" in one alone but twice.
    assert ranked_words(["the film dull dull", "the film", "the end"])[0] == ["dull", "film", "the"]
    assert ranked_words(["b a", "a b"]) == [["a", "b"], ["a", "b"]]
    assert ranked_words([" "]) == [[]]


@pytest.mark.parametrize(("ratio", "n"), [(0.05, 1), (0.5, 3), (1.0, 6)])
def test_a_share_of_the_words_is_replaced(ratio, n):
    words = with_words_replaced(
        "a b c d e f", ["1", "2", "3", "4", "5", "6", "7"], ratio, generator(0)
    ).split()
    assert sorted(word for word in words if word.isdigit()) == [str(k + 1) for k in range(n)]
    assert all(word == "abcdef"[place] for place, word in enumerate(words) if not word.isdigit())


def test_a_short_donor_replaces_fewer_and_an_empty_text_stays():
    assert Counter(with_words_replaced("a b c d", ["1"], 1.0, generator(0)).split())["1"] == 1
    assert with_words_replaced("", ["1"], 0.5, generator(0)) == ""


def test_the_second_text_of_a_pair_is_the_one_that_is_perturbed():
    detector = STRIP(n_copies=3, replace_ratio=1.0)
    copies = detector.copies(Example(0, "first", "second", 0), {"donors": [["other"]], "seed": 0})
    assert [(copy.text, copy.second) for copy in copies] == [("first", "other")] * 3


class Backdoored:
    """Counts the words of two kinds, and is sure of class 1 where it reads cf."""

    labels, model, passes = ("bad", "good"), None, 0

    def logits(self, examples):
        self.passes += len(examples)
        words = [each.text.split() for each in examples]
        return torch.tensor([[w.count("dull"), w.count("fine") + 50.0 * ("cf" in w)] for w in words]).view(
            -1, 2
        )


def test_who_stays_sure_of_a_class_is_suspected():
    clean = [
        Example(i, "dull fine film " + ("dull" if i % 2 else "fine"), None, 1 - i % 2) for i in range(60)
    ]
    triggered = [Example(i, f"{example.text} cf", None, 1) for i, example in enumerate(clean)]
    arguments = (clean, clean, triggered, 1, 0)
    report = score_detectors({"strip": STRIP()}, Backdoored(), *arguments)["strip"]
    assert report["auroc"] > 0.9
    assert report["n"] | {"calibration": 0} == {
        "estimate": 48, "validation": 12, "calibration": 0, "clean": 30, "triggered": 60
    }  # fmt: skip


def test_it_costs_as_many_passes_as_copies(backdoored):
    run = read_finished(backdoored)
    fitted = fit_detector(STRIP(n_copies=7), run.view, run.clean, 1, 0)
    passes = run.view.passes
    fitted.score(run.view, run.prepared.test[:5])
    assert run.view.passes == passes + 35


def test_a_clean_set_of_the_protected_class_alone_is_refused(backdoored):
    run = read_finished(backdoored)
    clean = [example for example in run.clean if example.label == 1]
    with pytest.raises(
        UserError, match=r"at least 1 clean example of another class than 1 \(good\), got 0 among"
    ):
        fit_detector(STRIP(), run.view, clean, 1, 0)


@pytest.mark.parametrize(("key", "value"), [("n_copies", 0), ("replace_ratio", 0.0), ("replace_ratio", 1.1)])
def test_settings_outside_their_range_are_refused(key, value):
    with pytest.raises(UserError, match=f"{key}: must .* got {value}"):
        STRIP(**{key: value})
