"""RAP: its loss by hand, its one row, and its cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hauberk.experiments.runner.finished import read_finished
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse
from hauberk.server.detection.fitting import fit_detector
from hauberk.server.detectors import RAP
from hauberk.server.detectors._perturbing_row import probability, row_kept
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example


def test_the_loss_by_hand():
    change = torch.tensor([0.0, -0.2, -0.5, 0.3])
    # Too little lost: 0.1, 0, 0, 0.4; too much: 0, 0, 0.2, 0.
    assert float(RAP().loss(change, scale=2.0)) == pytest.approx(2 * 0.5 / 4 + 0.2 / 4)


@pytest.fixture
def run(backdoored):
    return read_finished(backdoored)


def fitted(run, **settings):
    return fit_detector(RAP(**settings), run.view, run.clean, 1, 0)


def test_clean_texts_learn_to_lose_and_the_norm_is_kept(run):
    table = run.view.model.embedding.weight
    ready = fitted(run, lr=0.5, epochs=20, scale=1.0)
    assert ready.state["row"].norm() == pytest.approx(
        float(table[ready.state["number"]].detach().norm()), rel=1e-5
    )
    clean = [example for example in run.clean if example.label == 1]
    start = RAP().loss(change(run, table[ready.state["number"]].detach().clone(), clean), scale=1.0)
    assert RAP().loss(change(run, ready.state["row"], clean), scale=1.0) < start


class Loses(RAP):
    """A stand-in under which clean texts lose a hundredth of the scale."""

    def score(self, view, state, examples):
        return torch.full((len(examples),), -0.01 * state["scale"], dtype=torch.float64)


@pytest.mark.parametrize(("smallest", "scale"), [(0.005, 1.0), (0.1, 16.0), (0.9, 64.0)])
def test_the_scale_is_raised_until_clean_texts_lose_enough(run, smallest, scale):
    ready = fit_detector(Loses(smallest=smallest, largest=0.9), run.view, run.clean, 1, 0)
    assert ready.state["scale"] == scale
    assert ready.detector.notes(ready.state) == [f"scale: {scale:g}"]


def test_a_scale_that_is_given_stays(run):
    assert fitted(run, scale=3.0).state["scale"] == 3.0


def change(run, row, examples):
    view, detector = run.view, RAP()
    before = probability(view, examples, 1)
    with row_kept(view.model.embedding, detector.row(view)) as place:
        place.copy_(row)
        return probability(view, detector.perturbed(examples), 1) - before


def test_the_row_is_restored_to_the_bit_even_after_a_failure(run):
    table = run.view.model.embedding
    before = table.weight.detach().clone()
    with pytest.raises(RuntimeError), row_kept(table, 7) as row:
        row.fill_(1.0).copy_(torch.zeros(3))
    assert torch.equal(table.weight, before)


def test_a_text_costs_two_passes(run):
    ready, passes = fitted(run), run.view.passes
    ready.score(run.view, run.prepared.test[:5])
    assert run.view.passes == passes + 10


def test_the_word_stands_first_in_the_second_text_of_a_pair():
    (found,) = RAP(word="cf").perturbed([Example(0, "first", "second", 0)])
    assert (found.text, found.second) == ("first", "cf second")


def test_a_word_that_the_tokenizer_does_not_know_is_refused(tables):
    tables["task"]["model"] = {"name": "pretrained", "path": "embedded:minilm-l6"}
    view = prepare(parse(tables)).view()
    assert RAP(word="mb").row(view) not in view.special_ids
    for word, row in (("🙂", 100), ("[SEP]", 102)):
        with pytest.raises(
            UserError, match=f"must be a token that the tokenizer knows, got the special token {row}"
        ):
            RAP(word=word).row(view)


def test_what_cannot_be_fitted_is_refused(run):
    with pytest.raises(
        UserError, match="word: 'unfathomably' must be a single token to have a row of its own, got 4"
    ):
        fitted(run, word="unfathomably")
    others = [example for example in run.clean if example.label == 0]
    with pytest.raises(
        UserError, match=r"at least 1 clean example of the protected class 1 \(good\), got 0 among"
    ):
        RAP().check(run.view, others, 1)
    with pytest.raises(UserError, match="RAP needs a model with embedding, Linear has none"):
        RAP().check(replace(run.view, model=torch.nn.Linear(2, 2)), run.clean, 1)


@pytest.mark.parametrize(
    ("key", "value"), [("smallest", 0.4), ("scale", 0.0), ("lr", 0.0), ("epochs", 0), ("batch_size", 0)]
)
def test_settings_outside_their_range_are_refused(key, value):
    with pytest.raises(UserError, match=f"{key}: .*got {value}"):
        RAP(**{key: value})


def test_scores_are_changes_of_probability(run):
    found = fitted(run).score(run.view, run.prepared.test)
    assert (abs(found) <= 1).all()
