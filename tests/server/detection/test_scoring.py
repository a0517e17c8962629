"""Splitting, thresholds, AUROC, FAR and FRR, and what is said where a figure cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from hauberk.experiments.runner.finished import read_finished
from hauberk.server.detection.fitting import check_detector, fit_detector, split
from hauberk.server.detection.scoring import RATES, auroc, error_rates, score_detectors
from hauberk.server.detectors import DAN, Detector
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.examples import Example


@dataclass(frozen=True, kw_only=True)
class Longest(Detector):
    """Suspects long texts; a stand-in whose scores are known."""

    def fit(self, view, estimate, validation, protected, rng):
        return {}

    def score(self, view, state, examples):
        return torch.tensor([float(len(example.text)) for example in examples], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class OfItsClass(Longest):
    calibrates_on: ClassVar[str] = "protected"


class FakeView:
    """Takes texts with an x for class 1."""

    labels, model, passes = ("no", "yes"), None, 0

    def logits(self, examples):
        return torch.tensor([[0.0, 1.0] if "x" in each.text else [1.0, 0.0] for each in examples]).view(-1, 2)


def examples(*texts: str) -> list[Example]:
    return [Example(i, text, None, 0) for i, text in enumerate(texts)]


CLEAN = examples(*["x" * n for n in range(1, 101)])


def test_four_fifths_estimate_and_the_rest_validates():
    estimate, validation = split(CLEAN, generator(0))
    assert (len(estimate), len(validation)) == (80, 20)
    assert sorted([*estimate, *validation], key=lambda e: e.index) == CLEAN
    assert estimate != CLEAN[:80]
    assert split(CLEAN, generator(0)) == (estimate, validation)
    assert [len(part) for part in split(CLEAN[:2], generator(0))] == [1, 1]


def test_a_threshold_is_the_percentile_of_validation_scores():
    fitted = fit_detector(Longest(), FakeView(), CLEAN, 1, seed=0)
    expected = sorted(len(each.text) for each in split(CLEAN, generator(0, "detectors"))[1])
    assert sorted(fitted.calibration) == expected
    assert fitted.threshold(0.1) == pytest.approx(np.percentile(expected, 90))
    assert (fitted.calibration > fitted.threshold(0.05)).mean() == 0.05
    assert fitted.threshold(0.03) is None
    assert "an allowed rate of 0.03 is below 1/20, one of the 20 validation samples" in fitted.reason(0.03)


def test_only_what_is_predicted_as_the_protected_class_calibrates_where_a_detector_says_so():
    clean = examples(*["x" * n for n in range(1, 51)], *["o" * n for n in range(1, 51)])
    everything = fit_detector(Longest(), FakeView(), clean, 1, seed=0)
    protected = fit_detector(OfItsClass(), FakeView(), clean, 1, seed=0)
    validation = split(clean, generator(0, "detectors"))[1]
    assert len(everything.calibration) == 20
    assert len(protected.calibration) == sum("x" in each.text for each in validation)
    assert "predicted as the protected class" in protected.reason(0.005)
    nobody = fit_detector(OfItsClass(), FakeView(), clean[50:], 1, seed=0)
    assert nobody.reason(0.1) == "none of the 10 validation samples is predicted as the protected class"


def test_only_samples_predicted_as_the_protected_class_are_scored():
    test = examples("x" * 30, "x" * 200, "o" * 500)
    triggered = examples("x" * 300, "x" * 20, "x" * 300, "o")
    report = score_detectors({"l": Longest()}, FakeView(), CLEAN, test, triggered, 1, 0)["l"]
    assert report["n"] == {"estimate": 80, "validation": 20, "calibration": 20, "clean": 2, "triggered": 3}
    assert report["auroc"] == pytest.approx((1 + 0 + 1 + 1 + 0 + 1) / 6)
    assert report["frr"]["5%"] == 0.5
    assert report["far"]["5%"] == pytest.approx(1 / 3)
    assert list(report["far"]) == list(RATES)
    assert report["far"]["1%"] is None
    assert set(report["reasons"]) == {"0.5%", "1%", "3%"}
    assert report["protected"] == "yes"


@pytest.mark.parametrize(("test", "triggered", "side"), [("x", "o", "triggered"), ("o", "x", "clean")])
def test_a_side_without_samples_gives_null_and_the_reason(test, triggered, side):
    view = FakeView()
    report = score_detectors({"l": Longest()}, view, CLEAN, examples(test), examples(triggered), 1, 0)["l"]
    assert report["auroc"] is None
    assert report["reasons"]["auroc"] == f"no {side} test sample is predicted as the protected class"
    assert report["far" if side == "triggered" else "frr"]["10%"] is None


def test_a_model_whose_outputs_are_no_numbers_gives_null_and_the_reason():
    view = FakeView()
    view.logits = lambda examples: torch.full((len(examples), 2), torch.nan)
    report = score_detectors({"l": Longest()}, view, CLEAN, CLEAN, [], 1, 0)["l"]
    assert report["auroc"] is None
    assert report["reasons"]["auroc"] == "the model's outputs are not finite"


def test_auroc_is_the_chance_to_rank_a_pair_rightly():
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == (1.0, None)
    assert auroc(np.array([1.0, 3.0]), np.array([2.0, 2.0])) == (0.5, None)
    assert auroc(np.array([1.0]), np.array([np.nan])) == (
        None,
        "scores of triggered test samples are not finite",
    )


def test_a_score_that_is_no_number_is_rejected():
    fitted = fit_detector(Longest(), FakeView(), CLEAN, 1, seed=0)
    found = error_rates(fitted, np.array([1.0, np.nan]), np.array([np.nan]))
    assert found["frr"]["10%"] == 0.5
    assert found["far"]["10%"] == 0.0


def test_a_detector_that_names_its_class_protects_that_one():
    assert fit_detector(Longest(protected=0), FakeView(), CLEAN, 1, seed=0).protected == 0


@pytest.mark.parametrize(
    ("detector", "clean", "protected", "message"),
    [
        (Longest(), CLEAN, None, r"Longest must be told which class to protect.*0 \(no\), 1 \(yes\)"),
        (Longest(), CLEAN[:1], 1, "server.clean.n_examples: .*at least 2 clean examples.*got 1"),
        (
            Longest(protected=2),
            CLEAN,
            1,
            r"class 2 does not exist, the data have 2 classes, 0 to 1 \(no, yes\)",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(detector, clean, protected, message):
    with pytest.raises(UserError, match=message):
        check_detector(detector, FakeView(), clean, protected, 0)


def test_a_whole_report_on_a_real_model(backdoored):
    run = read_finished(backdoored)
    test = list(run.prepared.test)
    arguments = (run.clean, test, run.triggered(), run.target, run.spec.seed)
    first, second = (score_detectors({"dan": DAN()}, run.view, *arguments)["dan"] for _ in range(2))
    assert first["auroc"] > 0.75
    assert first["passes"] == 1
    assert first["milliseconds"] > 0
    # Predictions of 20 validation samples are not part of it: DAN needs none.
    assert first["fit"]["passes"] == 80 + 20 + 20
    for key in ("auroc", "far", "frr", "threshold", "n"):
        assert first[key] == second[key]
