"""DAN and its numeric core: hand-computed distances, two Gaussians, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hauberk.server.detection.scoring import auroc
from hauberk.server.detectors import DAN, View
from hauberk.server.detectors._mahalanobis import fit_gaussians
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.models import TextCNN, Transformer
from hauberk.tasks.text.text_classification import TextClassification

POINTS = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 6.0]]])
LABELS = np.array([0, 0, 1, 1])


def test_distances_of_points_in_the_plane_by_hand():
    # Means (2, 0) and (0, 4); centred (-1, 0), (1, 0), (0, -2), (0, 2): the covariance is diag(1/2, 2).
    found = fit_gaussians(POINTS, LABELS, shrinkage=0.0)
    assert found.means.tolist() == [[[2.0, 0.0], [0.0, 4.0]]]
    query = torch.tensor([[[2.0, 0.0], [3.0, 2.0], [0.0, 5.0]]])
    # (1, 2) from the first mean: 1 / .5 + 4 / 2 = 4; from the second (3, -2): 18 + 2 = 20; (0, 1): 1 / 2.
    assert torch.allclose(found.distances(query), torch.tensor([[0.0, 4.0, 0.5]], dtype=torch.float64))


def test_the_covariance_is_shrunk_towards_the_identity():
    # .5 * diag(.5, 2) + .5 * 1.25 * I = diag(.875, 1.625)
    found = fit_gaussians(POINTS, LABELS, shrinkage=0.5)
    assert torch.allclose(found.precisions[0], torch.diag(torch.tensor([1 / 0.875, 1 / 1.625]).double()))


def gaussian(shift: float, key: str, n: int = 400):
    return torch.randn(2, n, 5, generator=generator(0, key)) + shift


@pytest.mark.parametrize(("shift", "low", "high"), [(10.0, 0.999, 1.0), (0.0, 0.45, 0.55)])
def test_a_far_gaussian_is_told_and_an_identical_one_is_not(shift, low, high):
    labels = np.arange(400) % 2
    clean = gaussian(0.0, "clean")
    gaussians = fit_gaussians(clean, labels)
    sides = (gaussian(0.0, "test"), gaussian(shift, "triggered"))
    scores = [gaussians.distances(features).mean(dim=0).numpy() for features in sides]
    assert low <= auroc(*scores)[0] <= high
    assert auroc(scores[0], scores[0])[0] == 0.5


def view_of(model) -> View:
    task = TextClassification(dataset=None, model=model, n_classes=2)
    return View(model=task.build(0), encode=task.encode, labels=("bad", "good"))


def texts(n: int, key: str = "texts") -> list[Example]:
    words = ["fine", "dull", "warm", "mess", "film", "story", "a", "the", "of"]
    draw = torch.randint(0, len(words), (n, 8), generator=generator(0, key)).tolist()
    return [Example(i, " ".join(words[w] for w in row), None, i % 2) for i, row in enumerate(draw)]


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@pytest.mark.parametrize("layers", ["mean", "max", "last"])
def test_scores_are_those_of_the_validation_standardised_by_layer(pooling, layers):
    view = view_of(Transformer(embedding_dim=8, n_heads=2, n_layers=2, hidden=8))
    detector = DAN(pooling=pooling, layers=layers)
    estimate, validation = texts(40), texts(20, "validation")
    state = detector.fit(view, estimate, validation, 0, generator(0))
    features = view.features(validation, pooling)
    distances = state["gaussians"].distances(features[-1:] if layers == "last" else features)
    z = (distances - distances.mean(1, keepdim=True)) / distances.std(1, correction=0, keepdim=True)
    expected = {"mean": z.mean(0), "max": z.max(0).values, "last": z[-1]}[layers]
    assert torch.allclose(detector.score(view, state, validation), expected)


def test_a_text_costs_exactly_one_pass():
    view = view_of(TextCNN(embedding_dim=8, n_filters=4))
    state = DAN().fit(view, texts(40), texts(10, "validation"), 0, generator(0))
    assert view.passes == 50
    DAN().score(view, state, texts(7, "test"))
    assert view.passes == 57


def test_layers_that_tell_nothing_apart_score_nothing():
    view = view_of(TextCNN(embedding_dim=8, n_filters=4))
    same = [Example(i, "a film", None, i % 2) for i in range(10)]
    state = DAN().fit(view, same, same, 0, generator(0))
    assert DAN().score(view, state, same).tolist() == [0.0] * 10


def test_too_few_of_a_class_are_refused_with_both_numbers():
    examples = [*(e for e in texts(20) if e.label == 0), Example(20, "one", None, 1)]
    view = view_of(TextCNN(embedding_dim=8, n_filters=4))
    message = r"DAN needs at least 2 clean examples of each class.*got 1 of class 1 \(good\) among 11"
    with pytest.raises(UserError, match=message):
        DAN().check(view, examples, 0)


def test_a_model_without_layers_is_refused():
    view = replace(view_of(TextCNN(embedding_dim=8, n_filters=4)), model=torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="DAN needs a model with features and layers, Linear has none"):
        DAN().check(view, texts(20), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "min"}, "pooling: must be one of cls, mean, max, got 'min'"),
        ({"layers": "first"}, "layers: must be one of mean, max, last, got 'first'"),
        ({"shrinkage": 1.5}, "shrinkage: must lie between 0 and 1, got 1.5"),
        ({"protected": -1}, "protected: must be a class number from 0, got -1"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        DAN(**settings)
