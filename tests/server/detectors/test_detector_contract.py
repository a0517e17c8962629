"""What every detector must keep to: one battery over the table, on a small model with a backdoor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hauberk.experiments.runner.finished import read_finished
from hauberk.server.detection.fitting import fit_detector
from hauberk.server.detectors import DETECTORS
from hauberk.tasks.parameters import flatten, state_of

NAMES = sorted(DETECTORS)


@pytest.fixture
def finished(backdoored):
    return read_finished(backdoored)


def fitted(name, finished, seed=0):
    return fit_detector(DETECTORS[name](), finished.view, finished.clean, 1, seed)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_bit_by_bit_as_it_was(name, training, finished):
    model = finished.view.model.train(training)
    before = flatten(state_of(model)).clone()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    fitted(name, finished).score(finished.view, finished.prepared.test[:20])
    assert torch.equal(flatten(state_of(model)), before)
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(part.training == training for part in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits(name, finished):
    texts = finished.prepared.test[:20]
    runs = [fitted(name, finished, seed=3) for _ in range(2)]
    first, second = (each.score(finished.view, texts) for each in runs)
    assert first.dtype == np.float64
    assert first.shape == (20,)
    assert np.isfinite(first).all()
    assert (first == second).all()
    assert (runs[0].calibration == runs[1].calibration).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_score_belongs_to_its_text_alone(name, finished):
    ready, texts = fitted(name, finished), list(finished.prepared.test[:12])
    scores = ready.score(finished.view, texts)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).tolist()
    permuted = ready.score(finished.view, [texts[row] for row in order])
    assert np.allclose(permuted, scores[order], rtol=1e-6, atol=1e-6)
    assert np.allclose(ready.score(finished.view, texts[:1]), scores[:1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_indices_are_not_read(name, finished):
    ready, texts = fitted(name, finished), list(finished.prepared.test[:12])
    unknown = [replace(example, label=-1, index=-1) for example in texts]
    assert (ready.score(finished.view, unknown) == ready.score(finished.view, texts)).all()


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_allowed_and_the_docstring_names_a_source(name):
    detector = DETECTORS[name]()
    assert repr(detector).startswith(type(detector).__name__)
    assert detector.calibrates_on in ("all", "protected")
    assert "Source" in __import__(type(detector).__module__, fromlist=["_"]).__doc__
